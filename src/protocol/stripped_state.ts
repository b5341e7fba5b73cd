/**
 * The few state events shown to someone who may join a room: with invitations and knocks, and in room summaries.
 * Spec: client-server API, "Stripped state"; between servers they are whole events (server-server API, "Inviting to a room").
 */
import type { RoomEvent } from "./event.ts";
import { parseUserId } from "./ids.ts";
import { isJsonObject } from "./json.ts";
import type { JsonObject } from "./json.ts";

/** The state, all with an empty state key, that the spec lists for stripped state. */
export const STRIPPED_STATE_TYPES: readonly string[] = [
  "m.room.create",
  "m.room.join_rules",
  "m.room.name",
  "m.room.avatar",
  "m.room.topic",
  "m.room.canonical_alias",
  "m.room.encryption",
];

/** More stripped events than this in one invitation or knock are cut off. */
export const MAX_STRIPPED_EVENTS = 100;

/** Returns the stripped form of a state event. */
export function stripEvent(event: RoomEvent): JsonObject {
  return { type: event.type, state_key: event.stateKey ?? "", sender: event.sender, content: event.content };
}

/** Returns the stripped form of what another server sent as a state event, stripped or whole; null when it is not one. */
export function stripReceived(value: unknown): JsonObject | null {
  if (!isJsonObject(value)) return null;
  const { type, state_key: stateKey, sender, content } = value;
  if (typeof type !== "string" || typeof stateKey !== "string" || typeof sender !== "string") return null;
  if (parseUserId(sender) === null || !isJsonObject(content)) return null;
  const { origin_server_ts: ts } = value;
  const extra: JsonObject = type === "m.room.create" && typeof ts === "number" ? { origin_server_ts: ts } : {};
  return { ...extra, type, state_key: stateKey, sender, content };
}

/** Returns the usable entries of `invite_room_state` or `knock_room_state` as received, in stripped form. */
export function stripReceivedList(value: unknown): JsonObject[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_STRIPPED_EVENTS).map(stripReceived).filter((event) => event !== null);
}

/** Returns the same state for another server: whole events, so that it can check signatures and, since v12, the room id. */
export function federationRoomState(events: readonly RoomEvent[]): JsonObject[] {
  return events.map((event) => event.pdu);
}
