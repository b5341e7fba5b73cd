/**
 * Events as the server works on them. Spec: server-server API, "PDUs", and the event format of each room version.
 *
 * `Pdu` is the wire object exactly as hashed and signed; `RoomEvent` is the parsed, immutable view that the engine,
 * the authorization rules and state resolution share. A `RoomEvent` never changes: redaction makes another one.
 */
import type { EventId, RoomId, UserId } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** A persistent data unit as it travels between servers, in the format of its room version. */
export interface Pdu extends JsonObject {
  type: string;
  sender: string;
  content: JsonObject;
  depth: number;
  origin_server_ts: number;
}

/** One event of a room. */
export interface RoomEvent {
  readonly eventId: EventId;
  readonly roomId: RoomId;
  readonly rules: RoomVersionRules;
  readonly type: string;
  /** Null for message events; state events have a string, often empty. */
  readonly stateKey: string | null;
  readonly sender: UserId;
  readonly content: Readonly<JsonObject>;
  readonly depth: number;
  readonly originServerTs: number;
  readonly prevEvents: readonly EventId[];
  /** As listed on the wire; in version 12 that excludes the create event. */
  readonly authEvents: readonly EventId[];
  /** The event redacted by this one, wherever its version keeps it; null for other types. */
  readonly redacts: EventId | null;
  /** The wire object. Not to be changed. */
  readonly pdu: Readonly<Pdu>;
}

/** `type` and `state_key` of a state event, joined into one map key. */
export type StateKey = string & { readonly __brand: "StateKey" };

/** Returns the map key for a piece of state. NUL cannot be confused: types with NUL are refused at the door. */
export function stateKeyOf(type: string, stateKey: string): StateKey {
  return `${type}\u0000${stateKey}` as StateKey;
}

/** Splits what `stateKeyOf` joined. */
export function splitStateKey(key: StateKey): { type: string; stateKey: string } {
  const cut = key.indexOf("\u0000");
  return { type: key.slice(0, cut), stateKey: key.slice(cut + 1) };
}

/** Room state by key. */
export type StateMap<V> = ReadonlyMap<StateKey, V>;
