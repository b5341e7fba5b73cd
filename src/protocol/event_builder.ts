/**
 * Making local events. The canonical text of each part is written once and spliced three times: into the text that is
 * content-hashed, the text that is signed (which is also what the event id is the hash of), and the text that is stored.
 * Keys stand in the templates below in canonical order; the tests compare with the slow way.
 */
import { canonicalJson, CanonicalJsonError, quoteJson, utf8Length } from "./canonical_json.ts";
import { badJson, tooLarge } from "./errors.ts";
import type { Pdu, RoomEvent } from "./event.ts";
import { hasReferencePairs, MAX_EVENT_BYTES, MAX_TYPE_BYTES, roomIdOfCreate, viewPdu } from "./event_format.ts";
import { eventIdOfSignedText, sha256Base64 } from "./hashes.ts";
import { isStorable } from "./ids.ts";
import type { EventId, RoomId, UserId } from "./ids.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import { redactContent } from "./redaction.ts";
import type { RoomVersionRules } from "./room_versions.ts";
import { signText } from "./signatures.ts";
import type { Signer } from "./signatures.ts";
import { STICKY_KEY } from "./sticky.ts";

/** What an event says, before it is hashed and signed. */
export interface EventDraft {
  readonly rules: RoomVersionRules;
  /** Null for the create event of room version 12 and later. */
  readonly roomId: RoomId | null;
  readonly sender: UserId;
  readonly type: string;
  /** Absent or null for message events. */
  readonly stateKey?: string | null;
  readonly content: Readonly<JsonObject>;
  readonly depth: number;
  readonly prevEvents: readonly EventId[];
  /** Without the create event in room version 12 and later. */
  readonly authEvents: readonly EventId[];
  readonly originServerTs: number;
  /** For how long the event is sticky (MSC4354), in milliseconds. */
  readonly stickyMs?: number;
  /** Put where the room version keeps it. */
  readonly redacts?: EventId | null;
  /** Room versions 1 and 2 only: the new event's id, and the reference hashes of parents and auth events. */
  readonly eventId?: EventId;
  readonly referenceHashes?: ReadonlyMap<EventId, string>;
}

/** A local event and the federation JSON to store for it. */
export interface BuiltEvent {
  readonly event: RoomEvent;
  readonly json: string;
}

/** Hashes and signs a new event; throws `M_BAD_JSON` for content without canonical form, `M_TOO_LARGE` past the limits. */
export function buildEvent(draft: EventDraft & Signer): BuiltEvent {
  const { rules, serverName, key } = draft;
  const template = eventTemplate(draft);
  const parts = writeParts(template, rules);
  const hash = sha256Base64(
    parts.head + parts.content + parts.depth + parts.sticky + parts.middle + parts.redacts + parts.tail + parts.end,
  );
  const hashes = `"hashes":{"sha256":"${hash}"},`;
  const signedText = parts.head + parts.redactedContent + parts.depth + hashes + parts.middle + parts.tail + parts.end;
  const signature = signText(signedText, key);
  const signatures = `"signatures":{${quoteJson(serverName)}:{"${key.keyId}":"${signature}"}},`;
  const json = parts.head + parts.content + parts.depth + hashes + parts.sticky + parts.middle + parts.redacts +
    parts.tail +
    signatures +
    parts.end;
  if (utf8Length(json) > MAX_EVENT_BYTES) throw tooLarge("Event is too large");
  const eventId = hasReferencePairs(rules) ? template["event_id"] as EventId : eventIdOfSignedText(signedText, rules);
  const roomId = draft.roomId ?? roomIdOfCreate(eventId);
  template["hashes"] = { sha256: hash };
  template["signatures"] = { [serverName]: { [key.keyId]: signature } };
  return { event: viewPdu(template, { rules, eventId, roomId }), json };
}

/** Returns the event without hashes and signatures, as `make_join` and its kin answer it. */
export function eventTemplate(draft: EventDraft): Pdu {
  const { rules, roomId, type, stateKey = null, redacts = null } = draft;
  checkDraft(draft);
  const content = redacts !== null && rules.updatedRedaction ? { ...draft.content, redacts } : draft.content;
  const pdu: Pdu = {
    auth_events: references(draft.authEvents, draft),
    content,
    depth: draft.depth,
    origin_server_ts: draft.originServerTs,
    prev_events: references(draft.prevEvents, draft),
    sender: draft.sender,
    type,
  };
  if (roomId !== null) pdu["room_id"] = roomId;
  if (stateKey !== null) pdu["state_key"] = stateKey;
  if (redacts !== null && !rules.updatedRedaction) pdu["redacts"] = redacts;
  if (draft.stickyMs !== undefined) pdu[STICKY_KEY] = { duration_ms: draft.stickyMs };
  if (draft.eventId !== undefined && hasReferencePairs(rules)) pdu["event_id"] = draft.eventId;
  return pdu;
}

interface Parts {
  readonly head: string;
  readonly content: string;
  readonly redactedContent: string;
  readonly depth: string;
  readonly sticky: string;
  readonly middle: string;
  readonly redacts: string;
  readonly tail: string;
  readonly end: string;
}

/** Writes the members in canonical order, cut where something is left out or put in between. */
function writeParts(pdu: Readonly<Pdu>, rules: RoomVersionRules): Parts {
  try {
    const content = canonicalJson(pdu.content);
    const redacted = redactContent(pdu, rules);
    return {
      head: `{"auth_events":${canonicalJson(pdu["auth_events"] as JsonValue)},"content":`,
      content,
      redactedContent: redacted === pdu.content ? content : canonicalJson(redacted),
      depth: `,"depth":${pdu.depth},${member("event_id", pdu["event_id"])}`,
      sticky: pdu[STICKY_KEY] === undefined ? "" : `"${STICKY_KEY}":${canonicalJson(pdu[STICKY_KEY])},`,
      middle: `"origin_server_ts":${pdu.origin_server_ts},"prev_events":${
        canonicalJson(pdu["prev_events"] as JsonValue)
      },`,
      redacts: member("redacts", pdu["redacts"]),
      tail: `${member("room_id", pdu["room_id"])}"sender":${quoteJson(pdu.sender)},`,
      end: `${member("state_key", pdu["state_key"])}"type":${quoteJson(pdu.type)}}`,
    };
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw badJson(error.message);
    throw error;
  }
}

function member(key: string, value: JsonValue | undefined): string {
  return typeof value === "string" ? `"${key}":${quoteJson(value)},` : "";
}

function references(eventIds: readonly EventId[], { rules, referenceHashes }: EventDraft): JsonValue[] {
  if (!hasReferencePairs(rules)) return [...eventIds];
  return eventIds.map((eventId) => {
    const sha256 = referenceHashes?.get(eventId);
    if (sha256 === undefined) throw new Error(`No reference hash given for ${eventId}`);
    return [eventId, { sha256 }];
  });
}

function checkDraft({ rules, roomId, type, stateKey = null, eventId, depth, originServerTs }: EventDraft): void {
  if (!isStorable(type, MAX_TYPE_BYTES)) throw tooLarge("type is longer than 255 bytes or not text");
  if (stateKey !== null && !isStorable(stateKey, MAX_TYPE_BYTES)) {
    throw tooLarge("state_key is longer than 255 bytes or not text");
  }
  const hasRoomId = roomId !== null;
  if (hasRoomId === (rules.roomIdIsCreateHash && type === "m.room.create")) {
    throw new Error("Only the create event of room version 12 and later has no room id");
  }
  if (hasReferencePairs(rules) !== (eventId !== undefined)) {
    throw new Error("Events of room versions 1 and 2, and no others, are given their id");
  }
  if (!Number.isSafeInteger(depth) || !Number.isSafeInteger(originServerTs)) {
    throw new Error("depth and origin_server_ts must be integers");
  }
}
