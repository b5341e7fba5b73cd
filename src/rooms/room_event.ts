/** Making the parsed view of an event whose PDU is known to be well-formed: one of our own, or one from the database. */
import type { Pdu, RoomEvent } from "../protocol/event.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonValue } from "../protocol/json.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";

/** Returns the view of a PDU that has passed the checks of its format. */
export function makeRoomEvent(
  pdu: Readonly<Pdu>,
  { eventId, roomId, rules }: { eventId: EventId; roomId: RoomId; rules: RoomVersionRules },
): RoomEvent {
  const stateKey = pdu["state_key"];
  return {
    eventId,
    roomId,
    rules,
    type: pdu.type,
    stateKey: typeof stateKey === "string" ? stateKey : null,
    sender: pdu.sender as UserId,
    content: pdu.content,
    depth: pdu.depth,
    originServerTs: pdu.origin_server_ts,
    prevEvents: readReferences(pdu["prev_events"]),
    authEvents: readReferences(pdu["auth_events"]),
    redacts: readRedacts(pdu, rules),
    pdu,
  };
}

/** References are ids, but in versions 1 and 2 pairs of an id and hashes. */
function readReferences(value: JsonValue | undefined): EventId[] {
  if (!Array.isArray(value)) return [];
  return value.map((item) => (Array.isArray(item) ? item[0] : item) as EventId);
}

function readRedacts(pdu: Readonly<Pdu>, rules: RoomVersionRules): EventId | null {
  if (pdu.type !== "m.room.redaction") return null;
  const value = rules.updatedRedaction ? pdu.content["redacts"] : pdu["redacts"];
  return typeof value === "string" ? value as EventId : null;
}
