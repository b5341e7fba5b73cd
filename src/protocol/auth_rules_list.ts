/**
 * The authorization rule on the list of auth events. Spec: "Room versions", rule 2 of versions 1–11, 3 of version 12.
 */
import { selectAuthKeys } from "./auth_events.ts";
import { ALLOWED, type AuthDecision, reject } from "./auth_rules_context.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "./event.ts";

/** The auth events of an event, all of them loaded. */
export interface AuthEventList {
  readonly authEvents: readonly RoomEvent[];
  /** Tells whether an auth event was rejected. */
  readonly isRejected: (event: RoomEvent) => boolean;
}

/** Decides whether the events that `event` lists in `auth_events` are ones it may list. */
export function checkAuthEventList(event: RoomEvent, { authEvents, isRejected }: AuthEventList): AuthDecision {
  // A create event lists none and is decided by rule 1 alone.
  if (event.type === "m.room.create") return ALLOWED;
  // Rule 2.1: also the same event twice is a duplicate entry.
  if (new Set(event.authEvents).size < event.authEvents.length) return reject("An auth event is listed twice");
  const expected = new Set(selectAuthKeys(event.rules, event));
  const seen = new Set<StateKey>();
  for (const authEvent of authEvents) {
    // Rule 2.2; a message event is never selected.
    if (authEvent.stateKey === null) return reject(`The auth event "${authEvent.eventId}" is not a state event`);
    const key = stateKeyOf(authEvent.type, authEvent.stateKey);
    // Rule 2.1.
    if (seen.has(key)) return reject(`There are two auth events of type "${authEvent.type}" with one state key`);
    seen.add(key);
    // Rule 2.2; since v12 that includes `m.room.create`.
    if (!expected.has(key)) return reject(`An auth event of type "${authEvent.type}" does not authorize the event`);
    // Rule 2.3.
    if (isRejected(authEvent)) return reject(`The auth event "${authEvent.eventId}" was rejected`);
    // Rule 2.5.
    if (authEvent.roomId !== event.roomId) return reject(`The auth event "${authEvent.eventId}" is of another room`);
  }
  // Rule 2.4, v1–v11.
  if (!event.rules.roomIdIsCreateHash && !seen.has(stateKeyOf("m.room.create", ""))) {
    return reject("The create event is not among the auth events");
  }
  return ALLOWED;
}
