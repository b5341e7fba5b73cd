/** What the authorization rules say of events that others made. Spec: "Checks performed on receipt of a PDU". */
import type { AuthDecision } from "../protocol/auth_rules_context.ts";
import { checkAuthEventList } from "../protocol/auth_rules_list.ts";
import { selectAuthKeys } from "../protocol/auth_events.ts";
import { authorizeEvent } from "../protocol/auth_rules.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "../protocol/event.ts";
import { verifyThirdPartyInvite } from "../protocol/membership_invite_signature.ts";
import { roomIdOfCreate } from "../protocol/event_format.ts";
import type { EventId } from "../protocol/ids.ts";
import type { RoomBatch } from "./batch.ts";
import type { StoredEvent } from "./types.ts";

const CREATE = stateKeyOf("m.room.create", "");

/** Returns why the event is rejected, or null: by its auth events, then by the state before it. */
export async function checkRejection(
  batch: RoomBatch,
  { event, auth, before }: { event: RoomEvent; auth: readonly StoredEvent[]; before: number },
): Promise<string | null> {
  return await checkAuthEvents(batch, { event, auth }) ?? await checkState(batch, { event, root: before });
}

/** Returns why the event's own auth events do not allow it, or null: all that can be said of an outlier. */
export async function checkAuthEvents(
  batch: RoomBatch,
  { event, auth }: { event: RoomEvent; auth: readonly StoredEvent[] },
): Promise<string | null> {
  const rejected = new Set(auth.filter(({ isRejected }) => isRejected).map(({ event: { eventId } }) => eventId));
  const list = checkAuthEventList(event, {
    authEvents: auth.map((stored) => stored.event),
    isRejected: ({ eventId }) => rejected.has(eventId),
  });
  if (!list.allowed) return list.reason;
  const byKey = new Map<StateKey, RoomEvent>();
  let create: StoredEvent | null = null;
  for (const stored of auth) {
    if (stored.event.stateKey === null) continue;
    byKey.set(stateKeyOf(stored.event.type, stored.event.stateKey), stored.event);
    if (stored.event.type === "m.room.create") create = stored;
  }
  if (event.rules.roomIdIsCreateHash && event.type !== "m.room.create") create = await impliedCreate(batch, event);
  const decision = decide(event, { create, state: byKey });
  return decision.allowed ? null : decision.reason;
}

/** Since version 12 the room id names the create event. */
async function impliedCreate(batch: RoomBatch, { roomId }: RoomEvent): Promise<StoredEvent | null> {
  const eventId = `$${roomId.slice(1)}` as EventId;
  const create = (await batch.byId([eventId])).get(eventId);
  return create === undefined || roomIdOfCreate(eventId) !== roomId || create.isRejected ? null : create;
}

/** Returns why a state does not allow the event, or null. */
export async function checkState(
  batch: RoomBatch,
  { event, root }: { event: RoomEvent; root: number },
): Promise<string | null> {
  const state = new Map<StateKey, RoomEvent>();
  for (const key of selectAuthKeys(event.rules, event)) {
    const stored = await batch.stateAt(root, key);
    if (stored !== null) state.set(key, stored.event);
  }
  const decision = decide(event, { create: await batch.stateAt(root, CREATE), state });
  return decision.allowed ? null : decision.reason;
}

function decide(
  event: RoomEvent,
  { create, state }: { create: StoredEvent | null; state: ReadonlyMap<StateKey, RoomEvent> },
): AuthDecision {
  return authorizeEvent({
    event,
    create: create?.event ?? null,
    authState: (type, stateKey) => state.get(stateKeyOf(type, stateKey)),
    verifyThirdPartyInvite,
  });
}
