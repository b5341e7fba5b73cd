/**
 * Reading PDUs: from other servers with every check of the format, from our own database without. Spec: "Event format" of
 * each room version; client-server API, "Size limits".
 */
import {
  canonicalJson,
  CanonicalJsonError,
  isExactNumber,
  parseJsonStrict,
  toPlainJson,
  utf8Length,
} from "./canonical_json.ts";
import type { Pdu, RoomEvent } from "./event.ts";
import { eventIdOf } from "./hashes.ts";
import { isStorable, MAX_ID_BYTES, parseEventId, parseRoomId, parseUserId, serverNameOf } from "./ids.ts";
import type { EventId, RoomId, UserId } from "./ids.ts";
import { isJsonObject } from "./json.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** The most bytes of canonical JSON an event may take, signatures included. */
export const MAX_EVENT_BYTES = 65536;
/** The most parents an event may list. */
export const MAX_PREV_EVENTS = 20;
/** The most auth events an event may list. */
export const MAX_AUTH_EVENTS = 10;
/** The most bytes of `type` and of `state_key`. */
export const MAX_TYPE_BYTES = 255;
/** The depth that events no longer exceed: 2^53 - 1, also where the room version allows more on the wire. */
export const MAX_DEPTH = Number.MAX_SAFE_INTEGER;

const HASH_ROOM_ID = /^![A-Za-z0-9_-]{43}$/;
const MAX_UTF8_BYTES = 4;
const MAX_LAX_INTEGER = 2n ** 63n - 1n;

/**
 * An event that keeps to the format, or why it does not. `json` is the text to store; `unsigned` is what the sender put
 * there, which nothing vouches for and which is not in the event.
 */
export type ParsedPdu =
  | { readonly ok: true; readonly event: RoomEvent; readonly json: string; readonly unsigned: JsonObject }
  | { readonly ok: false; readonly reason: string };

/**
 * Checks the format and size of a PDU and computes its event id; hashes and signatures are the caller's to check.
 * Parse the text it came in with `parseJsonStrict(text, { numbers: "exact" })`.
 */
export function parsePdu(json: unknown, rules: RoomVersionRules): ParsedPdu {
  if (!isJsonObject(json)) return { ok: false, reason: "Event is not an object" };
  const { unsigned, ...rest } = json;
  const reason = checkFields(rest, rules) ?? checkReferences(rest, rules) ?? checkRoomId(rest, rules);
  if (reason !== null) return { ok: false, reason };
  const pdu = rest as Pdu;
  try {
    const text = canonicalJson(pdu, { lax: !rules.strictCanonicalJson });
    if (utf8Length(text) > MAX_EVENT_BYTES) return { ok: false, reason: "Event is too large" };
    const eventId = eventIdOf(pdu, rules);
    const roomId = isCreateWithoutRoomId(pdu, rules) ? roomIdOfCreate(eventId) : pdu["room_id"] as RoomId;
    const event = viewPdu(pdu, { rules, eventId, roomId });
    return { ok: true, event, json: text, unsigned: isJsonObject(unsigned) ? unsigned : {} };
  } catch (error) {
    if (error instanceof CanonicalJsonError) return { ok: false, reason: error.message };
    throw error;
  }
}

/** Returns an event from the text stored for it, which is trusted. */
export function roomEventFromJson(
  text: string,
  { rules, eventId, roomId }: { rules: RoomVersionRules; eventId: EventId; roomId: RoomId },
): RoomEvent {
  const pdu = rules.strictCanonicalJson ? JSON.parse(text) : parseJsonStrict(text, { numbers: "exact" });
  return viewPdu(pdu as Pdu, { rules, eventId, roomId });
}

/** Returns the text to store and send for an event, as after redaction. */
export function pduJson(event: RoomEvent): string {
  return canonicalJson(event.pdu, { lax: !event.rules.strictCanonicalJson });
}

/** Returns the parsed view of a PDU that is known to keep to the format. */
export function viewPdu(
  pdu: Readonly<Pdu>,
  { rules, eventId, roomId }: { rules: RoomVersionRules; eventId: EventId; roomId: RoomId },
): RoomEvent {
  const content = rules.strictCanonicalJson ? pdu.content : toPlainJson(pdu.content);
  return {
    eventId,
    roomId,
    rules,
    type: pdu.type,
    stateKey: typeof pdu["state_key"] === "string" ? pdu["state_key"] : null,
    sender: pdu.sender as UserId,
    content,
    depth: clampInteger(pdu.depth),
    originServerTs: clampInteger(pdu.origin_server_ts),
    prevEvents: referencedIds(pdu["prev_events"], rules),
    authEvents: referencedIds(pdu["auth_events"], rules),
    redacts: redactsOf(pdu, rules),
    pdu,
  };
}

/** Returns the id of the room that a create event of version 12 or later makes. */
export function roomIdOfCreate(eventId: EventId): RoomId {
  return `!${eventId.slice(1)}` as RoomId;
}

/** Tells whether references are `[event id, hashes]` pairs and the event id is in the event (versions 1 and 2). */
export function hasReferencePairs(rules: RoomVersionRules): boolean {
  return rules.eventIdFormat === "server_assigned";
}

function redactsOf(pdu: Readonly<Pdu>, rules: RoomVersionRules): EventId | null {
  if (pdu.type !== "m.room.redaction") return null;
  const redacts = rules.updatedRedaction ? pdu.content["redacts"] : pdu["redacts"];
  return typeof redacts === "string" ? parseEventId(redacts) : null;
}

function referencedIds(references: JsonValue | undefined, rules: RoomVersionRules): readonly EventId[] {
  if (!hasReferencePairs(rules)) return references as EventId[];
  return (references as JsonValue[][]).map(([eventId]) => eventId as EventId);
}

function isCreateWithoutRoomId(pdu: Readonly<JsonObject>, rules: RoomVersionRules): boolean {
  return rules.roomIdIsCreateHash && pdu["type"] === "m.room.create";
}

function checkFields(pdu: Readonly<JsonObject>, rules: RoomVersionRules): string | null {
  const { type, state_key: stateKey, sender, content, hashes } = pdu;
  if (typeof type !== "string" || !isShort(type)) return "Invalid type";
  if (stateKey !== undefined && (typeof stateKey !== "string" || !isShort(stateKey))) {
    return "Invalid state_key";
  }
  if (typeof sender !== "string" || parseUserId(sender) === null) return "Invalid sender";
  if (!isPlainObject(content)) return "Invalid content";
  if (!isPlainObject(hashes) || typeof hashes["sha256"] !== "string") return "Invalid hashes";
  if (!areSignatures(pdu["signatures"])) return "Invalid signatures";
  const depth = toInteger(pdu["depth"], rules);
  if (depth === null || depth < 0n) return "Invalid depth";
  if (toInteger(pdu["origin_server_ts"], rules) === null) return "Invalid origin_server_ts";
  return null;
}

/**
 * Tells whether `type` or `state_key` is as long as it may be. The spec counts bytes, but rooms hold events whose servers
 * counted characters, and who refuses those cannot follow the room.
 */
function isShort(text: string): boolean {
  return isStorable(text, MAX_TYPE_BYTES) ||
    (isStorable(text, MAX_TYPE_BYTES * MAX_UTF8_BYTES) && [...text].length <= MAX_TYPE_BYTES);
}

function checkReferences(pdu: Readonly<JsonObject>, rules: RoomVersionRules): string | null {
  if (!areReferences(pdu["prev_events"], rules)) return "Invalid prev_events";
  if (!areReferences(pdu["auth_events"], rules)) return "Invalid auth_events";
  if ((pdu["prev_events"] as JsonValue[]).length > MAX_PREV_EVENTS) return "Too many prev_events";
  if ((pdu["auth_events"] as JsonValue[]).length > MAX_AUTH_EVENTS) return "Too many auth_events";
  if (!hasReferencePairs(rules)) return null;
  const eventId = pdu["event_id"];
  const isValid = typeof eventId === "string" && parseEventId(eventId) !== null && serverNameOf(eventId) !== null;
  return isValid ? null : "Invalid event_id";
}

function checkRoomId(pdu: Readonly<JsonObject>, rules: RoomVersionRules): string | null {
  const roomId = pdu["room_id"];
  if (isCreateWithoutRoomId(pdu, rules)) {
    return roomId === undefined ? null : "A create event of this room version has no room_id";
  }
  if (typeof roomId !== "string") return "Invalid room_id";
  const isValid = rules.roomIdIsCreateHash
    ? HASH_ROOM_ID.test(roomId)
    : parseRoomId(roomId) !== null && serverNameOf(roomId) !== null;
  return isValid ? null : "Invalid room_id";
}

function areReferences(value: JsonValue | undefined, rules: RoomVersionRules): value is JsonValue[] {
  if (!Array.isArray(value)) return false;
  if (!hasReferencePairs(rules)) return value.every(isEventId);
  return value.every((pair) =>
    Array.isArray(pair) && pair.length === 2 && isEventId(pair[0]) && isPlainObject(pair[1])
  );
}

function isEventId(value: JsonValue | undefined): boolean {
  return typeof value === "string" && value.length <= MAX_ID_BYTES && parseEventId(value) !== null;
}

function areSignatures(value: JsonValue | undefined): boolean {
  return isPlainObject(value) &&
    Object.values(value).every((byServer) =>
      isPlainObject(byServer) && Object.values(byServer).every((signature) => typeof signature === "string")
    );
}

/** An exact number is an object to JavaScript but not to JSON. */
function isPlainObject(value: JsonValue | undefined): value is JsonObject {
  return isJsonObject(value) && !isExactNumber(value);
}

/** Reads an integer of 53 bits, or of 64 where the room version does not enforce canonical JSON. */
function toInteger(value: JsonValue | undefined, rules: RoomVersionRules): bigint | null {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (rules.strictCanonicalJson || !isExactNumber(value)) return null;
  const source = String((value as JsonObject)["rawJSON"]);
  if (!/^-?\d{1,19}$/.test(source)) return null;
  const integer = BigInt(source);
  return integer <= MAX_LAX_INTEGER && integer >= -MAX_LAX_INTEGER ? integer : null;
}

function clampInteger(value: JsonValue): number {
  const number = typeof value === "number" ? value : Number((value as JsonObject)["rawJSON"]);
  return Math.max(-MAX_DEPTH, Math.min(MAX_DEPTH, number));
}
