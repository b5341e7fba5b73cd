/** Where an event goes that a policy server has signed: the place that it was built for, be that the room's end still or not. */
import { canonicalJson } from "../protocol/canonical_json.ts";
import { authorizeEvent } from "../protocol/auth_rules.ts";
import { selectAuthKeys } from "../protocol/auth_events.ts";
import { forbidden } from "../protocol/errors.ts";
import type { BuiltEvent } from "../protocol/event_builder.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "../protocol/event.ts";
import { verifyThirdPartyInvite } from "../protocol/membership_invite_signature.ts";
import type { RoomBatch } from "./batch.ts";
import type { EventTemplate } from "./build.ts";
import type { StoredEvent } from "./types.ts";

/** A signed event with its place. */
export interface PlacedEvent extends BuiltEvent {
  readonly prev: readonly StoredEvent[];
  readonly auth: readonly StoredEvent[];
}

/**
 * Takes the signed event that says what the template says. Null when there is none, or when what it builds on was given
 * up since. Throws `M_FORBIDDEN` when the room has come to refuse it.
 */
export async function takeSigned(batch: RoomBatch, template: EventTemplate): Promise<PlacedEvent | null> {
  const index = batch.signedByPolicy.findIndex(({ event }) => isOf(event, template));
  const [signed] = index < 0 ? [] : batch.signedByPolicy.splice(index, 1);
  if (signed === undefined) return null;
  const { prevEvents, authEvents } = signed.event;
  const known = await batch.byId([...prevEvents, ...authEvents]);
  const prev = prevEvents.map((id) => known.get(id)).filter((stored) => stored !== undefined);
  const auth = authEvents.map((id) => known.get(id)).filter((stored) => stored !== undefined);
  if (prev.length < prevEvents.length || auth.length < authEvents.length) return null;
  await assertAllowedNow(batch, signed.event);
  return { ...signed, prev, auth };
}

function isOf({ type, stateKey, sender, content, redacts }: RoomEvent, template: EventTemplate): boolean {
  return type === template.type && stateKey === template.stateKey && sender === template.sender &&
    redacts === (template.redacts ?? null) && contentText(content) === contentText(template.content);
}

/** Since version 11 the content of a redaction also holds what it redacts. */
function contentText({ redacts: _, ...content }: RoomEvent["content"]): string {
  return canonicalJson(content, { lax: true });
}

async function assertAllowedNow(batch: RoomBatch, event: RoomEvent): Promise<void> {
  const state = new Map<StateKey, RoomEvent>();
  for (const key of selectAuthKeys(event.rules, event)) {
    const stored = await batch.currentByKey(key);
    if (stored !== null) state.set(key, stored.event);
  }
  const decision = authorizeEvent({
    event,
    create: (await batch.current("m.room.create", ""))?.event ?? null,
    authState: (type, stateKey) => state.get(stateKeyOf(type, stateKey)),
    verifyThirdPartyInvite,
  });
  if (!decision.allowed) throw forbidden(decision.reason);
}
