/**
 * Events as clients see them. Spec: client-server API, "Room event format"; `redacts` as room version 11 tells.
 *
 * `clientEventBase` is the costly part and depends on nothing but the event: cache it. `finishClientEvent` puts the room id
 * and `unsigned`, which differ by endpoint and reader, behind it.
 */
import { quoteJson } from "./canonical_json.ts";
import type { RoomEvent } from "./event.ts";
import type { RoomId } from "./ids.ts";
import type { JsonObject } from "./json.ts";

/** The JSON text of a client event without its end: `room_id`, `unsigned` and the brace. */
export type ClientEventBase = string & { readonly __brand: "ClientEventBase" };

/** Returns the part of the client format that is the same for everyone. */
export function clientEventBase(event: RoomEvent): ClientEventBase {
  const content = JSON.stringify(clientContent(event));
  const stateKey = event.stateKey === null ? "" : `,"state_key":${quoteJson(event.stateKey)}`;
  const redacts = event.redacts === null ? "" : `,"redacts":${quoteJson(event.redacts)}`;
  return `{"content":${content},"event_id":${quoteJson(event.eventId)},"origin_server_ts":${event.originServerTs},` +
    `"sender":${quoteJson(event.sender)},"type":${quoteJson(event.type)}${stateKey}${redacts}` as ClientEventBase;
}

/** Completes the text; leave out `roomId` in `/sync`. `unsigned` is the text of a JSON object. */
export function finishClientEvent(
  base: ClientEventBase,
  { roomId, unsigned }: { roomId?: RoomId | undefined; unsigned?: string | undefined },
): string {
  const room = roomId === undefined ? "" : `,"room_id":${quoteJson(roomId)}`;
  return unsigned === undefined ? `${base}${room}}` : `${base}${room},"unsigned":${unsigned}}`;
}

/** Returns the client format as an object, for those who look into it: filters, push rules, selected fields. */
export function clientEvent(
  event: RoomEvent,
  { roomId, unsigned }: { roomId?: RoomId | undefined; unsigned?: JsonObject | undefined } = {},
): JsonObject {
  return {
    content: clientContent(event),
    event_id: event.eventId,
    origin_server_ts: event.originServerTs,
    sender: event.sender,
    type: event.type,
    ...(event.stateKey !== null && { state_key: event.stateKey }),
    ...(event.redacts !== null && { redacts: event.redacts }),
    ...(roomId !== undefined && { room_id: roomId }),
    ...(unsigned !== undefined && { unsigned }),
  };
}

/** Newer clients look for `redacts` in the content, in older room versions too. Exact numbers stay exact in the text. */
function clientContent({ pdu, redacts, rules }: RoomEvent): JsonObject {
  return redacts === null || rules.updatedRedaction ? pdu.content : { ...pdu.content, redacts };
}
