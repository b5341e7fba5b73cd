/**
 * Making an event of our own at its place in the graph.
 *
 * It is done in two steps, so that an event that is refused costs no signature: `previewEvent` gives what the
 * authorization rules look at, `buildAt` hashes and signs.
 */
import type { RandomText } from "../lib/random.ts";
import type { Pdu, RoomEvent } from "../protocol/event.ts";
import { buildEvent, type BuiltEvent, type EventDraft, eventTemplate } from "../protocol/event_builder.ts";
import { hasReferencePairs, MAX_DEPTH } from "../protocol/event_format.ts";
import { referenceHash } from "../protocol/hashes.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";
import type { Signer } from "../protocol/signatures.ts";
import type { StoredEvent } from "./types.ts";

/** What the caller wants to say. */
export interface EventTemplate {
  readonly type: string;
  /** Null for message events. */
  readonly stateKey: string | null;
  readonly sender: UserId;
  readonly content: Readonly<JsonObject>;
  /** Of redactions. */
  readonly redacts?: EventId;
  /** Milliseconds; the time of building when absent. */
  readonly originServerTs?: number;
  /** For how long the event is sticky (MSC4354), in milliseconds. */
  readonly stickyMs?: number;
}

/** Where the event stands in the graph. */
export interface EventPlace {
  readonly rules: RoomVersionRules;
  /** Null for a create event whose id becomes the room's. */
  readonly roomId: RoomId | null;
  readonly prev: readonly StoredEvent[];
  readonly auth: readonly StoredEvent[];
  readonly now: number;
  readonly signer: Signer;
  readonly randomText: RandomText;
}

/** The room of a create event whose id is not known yet. */
const UNKNOWN_ROOM = "!" as RoomId;

/** Returns the event as the authorization rules see it, without hash, signature and its final id. */
export function previewEvent(template: EventTemplate, place: Omit<EventPlace, "randomText">): RoomEvent {
  const { rules, roomId } = place;
  const pdu: Pdu = {
    type: template.type,
    sender: template.sender,
    content: template.content as JsonObject,
    depth: depthAfter(place.prev),
    origin_server_ts: template.originServerTs ?? place.now,
  };
  if (roomId !== null) pdu["room_id"] = roomId;
  return {
    // Versions 1 and 2 ask which server made the id.
    eventId: `$:${place.signer.serverName}` as EventId,
    roomId: roomId ?? UNKNOWN_ROOM,
    rules,
    type: template.type,
    stateKey: template.stateKey,
    sender: template.sender,
    content: template.content,
    depth: pdu.depth,
    originServerTs: pdu.origin_server_ts,
    prevEvents: idsOf(place.prev),
    authEvents: idsOf(place.auth),
    redacts: template.redacts ?? null,
    pdu,
  };
}

/** Returns the event, complete. Throws `M_BAD_JSON` or `M_TOO_LARGE` for content that no event may have. */
export function buildAt(template: EventTemplate, place: EventPlace): BuiltEvent {
  const { serverName, key } = place.signer;
  return buildEvent({ ...draftAt(template, place), serverName, key });
}

/** Returns the event without hashes and signatures, for another server to complete. */
export function templateAt(template: EventTemplate, place: EventPlace): Pdu {
  return eventTemplate(draftAt(template, place));
}

function draftAt(
  template: EventTemplate,
  { rules, roomId, prev, auth, now, signer, randomText }: EventPlace,
): EventDraft {
  return {
    rules,
    roomId,
    sender: template.sender,
    type: template.type,
    stateKey: template.stateKey,
    content: template.content,
    depth: depthAfter(prev),
    prevEvents: idsOf(prev),
    authEvents: idsOf(auth),
    originServerTs: template.originServerTs ?? now,
    redacts: template.redacts ?? null,
    ...(template.stickyMs === undefined ? {} : { stickyMs: template.stickyMs }),
    ...(hasReferencePairs(rules) ? oldFormat([...prev, ...auth], { ...signer, randomText }) : {}),
  };
}

/** Versions 1 and 2: the id is made up, references carry hashes. */
function oldFormat(
  referenced: readonly StoredEvent[],
  { serverName, randomText }: Signer & Pick<EventPlace, "randomText">,
): { eventId: EventId; referenceHashes: ReadonlyMap<EventId, string> } {
  return {
    eventId: `$${randomText(24)}:${serverName}` as EventId,
    referenceHashes: new Map(
      referenced.map(({ event }) => [event.eventId, referenceHash(event.pdu, event.rules)]),
    ),
  };
}

function depthAfter(prev: readonly StoredEvent[]): number {
  let depth = 0;
  for (const { event } of prev) if (event.depth > depth) depth = event.depth;
  return Math.min(MAX_DEPTH, depth + 1);
}

function idsOf(events: readonly StoredEvent[]): EventId[] {
  return events.map(({ event }) => event.eventId);
}
