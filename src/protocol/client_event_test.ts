import assert from "node:assert/strict";
import { clientEvent, clientEventBase, finishClientEvent } from "./client_event.ts";
import { viewPdu } from "./event_format.ts";
import type { Pdu, RoomEvent } from "./event.ts";
import type { EventId, RoomId } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import { getRoomVersion } from "./room_versions.ts";
import type { RoomVersionRules } from "./room_versions.ts";
import { stripEvent, stripReceived, stripReceivedList } from "./stripped_state.ts";

const roomId = "!r:b" as RoomId;

function eventOf(changes: JsonObject, version = "11"): RoomEvent {
  const pdu = {
    auth_events: [],
    content: { body: "x" },
    depth: 1,
    hashes: { sha256: "x" },
    origin: "b",
    origin_server_ts: 5,
    prev_events: [],
    room_id: roomId,
    sender: "@a:b",
    signatures: {},
    type: "m.room.message",
    ...changes,
  } as Pdu;
  return viewPdu(pdu, { rules: getRoomVersion(version) as RoomVersionRules, eventId: "$e" as EventId, roomId });
}

Deno.test("a client event has the client's fields only, and the text says the same as the object", () => {
  const plain = { content: { body: "x" }, event_id: "$e", origin_server_ts: 5, sender: "@a:b", type: "m.room.message" };
  const event = eventOf({});
  const base = clientEventBase(event);
  const unsigned = { age: 1 };
  assert.deepEqual(JSON.parse(finishClientEvent(base, {})), plain);
  assert.deepEqual(JSON.parse(finishClientEvent(base, { roomId })), { ...plain, room_id: roomId });
  const whole = JSON.parse(finishClientEvent(base, { roomId, unsigned: JSON.stringify(unsigned) }));
  assert.deepEqual(whole, { ...plain, room_id: roomId, unsigned });
  assert.deepEqual(clientEvent(event, { roomId, unsigned }), whole);
  const state = eventOf({ state_key: 'é"' });
  assert.equal(JSON.parse(finishClientEvent(clientEventBase(state), {})).state_key, 'é"');
  assert.equal(clientEvent(state)["state_key"], 'é"');
});

Deno.test("redactions carry `redacts` at the top and in the content, in every room version", () => {
  const old = eventOf({ type: "m.room.redaction", redacts: "$t:b", content: { reason: "r", redacts: "$junk" } }, "10");
  const recent = eventOf({ type: "m.room.redaction", content: { reason: "r", redacts: "$t:b" } }, "11");
  for (const event of [old, recent]) {
    const client = JSON.parse(finishClientEvent(clientEventBase(event), {}));
    assert.equal(client.redacts, "$t:b");
    assert.deepEqual(client.content, { reason: "r", redacts: "$t:b" });
    assert.deepEqual(clientEvent(event), client);
  }
  assert.equal(clientEvent(eventOf({ redacts: "$t:b" }, "10"))["redacts"], undefined);
});

Deno.test("stripped state has four fields, whatever was received", () => {
  const stripped = { type: "m.room.name", state_key: "", sender: "@a:b", content: { name: "n" } };
  const event = eventOf({ type: "m.room.name", state_key: "", content: { name: "n" } });
  assert.deepEqual(stripEvent(event), stripped);
  assert.deepEqual(stripReceived(event.pdu), stripped);
  assert.deepEqual(stripReceived({ ...stripped, event_id: "$x", unsigned: {} }), stripped);
  for (const changes of [{ type: 1 }, { state_key: null }, { sender: "a" }, { content: [] }]) {
    assert.equal(stripReceived({ ...stripped, ...changes }), null);
  }
  assert.deepEqual(stripReceivedList([stripped, null, 1, { ...stripped, sender: "x" }]), [stripped]);
  assert.deepEqual(stripReceivedList("x"), []);
  assert.equal(stripReceivedList(Array(1000).fill(stripped)).length, 100);
});
