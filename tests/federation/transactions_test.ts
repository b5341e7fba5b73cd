/** Transactions as good and bad servers send them: each event has its own result. */
import assert from "node:assert/strict";
import type { RoomId } from "../../src/protocol/ids.ts";
import { signingKeyFromSeed } from "../../src/protocol/signatures.ts";
import type { Database } from "../../src/storage/database.ts";
import { raw, sql } from "../../src/storage/sql.ts";
import { path } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

testEachServer("good events arrive, and bad ones beside them do not spoil them", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const good = await make(resident, { roomId, content: { body: "good" } });
  const forged = await make(resident, {
    roomId,
    content: { body: "forged" },
    signer: { ...resident.signer, key: signingKeyFromSeed("1", new Uint8Array(32).fill(7)) },
  });
  const foreign = await make(resident, { roomId, content: { body: "foreign" }, sender: "@eve:elsewhere.test" });
  const results = await send(resident, {
    pdus: [
      wire(forged),
      wire(good),
      wire(foreign),
      { room_id: roomId, type: 5 } as never,
    ],
  });
  assert.deepEqual(results[good.eventId], {});
  assert.match(results[forged.eventId].error, /signature/);
  assert.match(results[foreign.eventId].error, /signature/);
  assert.equal(Object.keys(results).length, 3);
  const page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: "10" });
  const bodies = page.chunk.flatMap(({ content }: { content: { body?: string } }) => content.body ?? []);
  assert.deepEqual(bodies, ["good"]);
});

/** Has the database refuse whatever holds the word. */
async function refuse(db: Database, word: string): Promise<void> {
  const pattern = `%${word}%`;
  await db.transaction(async (tx) => {
    if (tx.dialect === "postgres") {
      await tx.run(sql`ALTER TABLE event_json ADD CONSTRAINT refused CHECK (json NOT LIKE ${raw(`'${pattern}'`)})`);
      return;
    }
    await tx.run(sql`
      CREATE TRIGGER refused BEFORE INSERT ON event_json WHEN NEW.json LIKE ${raw(`'${pattern}'`)}
      BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: refused'); END`);
  });
}

testEachServer("an event that the database refuses spoils no other one, in its room or elsewhere", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const other = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  await resident.join(other);
  const events = [];
  for (const body of ["before", "refused", "after"]) events.push(await make(resident, { roomId, content: { body } }));
  events.push(await make(resident, { roomId: other, content: { body: "elsewhere" } }));
  await refuse(resident.hs.parts.core.db, "refused");
  const results = await send(resident, { pdus: events.map(wire) });
  const [before, refused, after, elsewhere] = events.map(({ eventId }) => results[eventId]);
  assert.deepEqual([before, after, elsewhere], [{}, {}, {}]);
  assert.match(refused.error, /could not be stored/);
  const bodiesIn = async (room: string) => {
    const page = await alice.get(path`/rooms/${room}/messages`, { dir: "b", limit: "10" });
    return page.chunk.flatMap(({ content }: { content: { body?: string } }) => content.body ?? []).sort();
  };
  assert.deepEqual([await bodiesIn(roomId), await bodiesIn(other)], [["after", "before"], ["elsewhere"]]);
});

testEachServer("an event with a wrong hash loses its content", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const event = await make(resident, { roomId, content: { body: "true" } });
  const results = await send(resident, { pdus: [{ ...wire(event), content: { body: "changed" } }] });
  assert.deepEqual(results, { [event.eventId]: {} });
  const found = await alice.get(path`/rooms/${roomId}/event/${event.eventId}`);
  assert.deepEqual(found.content, {});
});

testEachServer("a transaction that is sent again gets the same answer and changes nothing", async (database) => {
  await using resident = await startResident(database);
  const { roomId } = await openRoom(resident);
  const event = await make(resident, { roomId, content: { body: "once" } });
  const body = { origin: resident.signer.serverName, pdus: [wire(event)], edus: [] };
  const first = await resident.ask("/v1/send/same", body);
  const other = await make(resident, { roomId, content: { body: "another" } });
  const again = await resident.ask("/v1/send/same", { ...body, pdus: [wire(other)] });
  assert.deepEqual(again, first);
  assert.equal(await resident.hs.parts.rooms.events.getById(other.eventId), null);
});

testEachServer("transactions of more than 50 events or 100 EDUs are refused", async (database) => {
  await using resident = await startResident(database);
  const many = (count: number) => Array.from({ length: count }, () => ({ room_id: "!a:b" }));
  for (const body of [{ pdus: many(51), edus: [] }, { pdus: [], edus: many(101) }, { pdus: {}, edus: [] }]) {
    const answer = await resident.ask("/v1/send/large", body as never);
    assert.deepEqual([answer.status, answer.body.errcode], [400, "M_BAD_JSON"]);
  }
});

testEachServer("an event whose parents its sender does not give is not taken", async (database) => {
  await using resident = await startResident(database);
  const { roomId } = await openRoom(resident);
  const hidden = await make(resident, { roomId, content: { body: "hidden" } });
  const event = await make(resident, { roomId, content: { body: "child" }, prev: [hidden.eventId], depth: 99 });
  assert.deepEqual(await send(resident, { pdus: [wire(event)] }), { [event.eventId]: {} });
  assert.equal(await resident.hs.parts.rooms.events.getById(event.eventId), null);
  assert.deepEqual(await send(resident, { pdus: [wire(hidden), wire(event)] }), {
    [hidden.eventId]: {},
    [event.eventId]: {},
  });
});

testEachServer("a gap is filled with the events that the sender gives", async (database) => {
  await using resident = await startResident(database);
  const { roomId } = await openRoom(resident);
  const first = await make(resident, { roomId, content: { body: "first" } });
  const second = await make(resident, { roomId, content: { body: "second" }, prev: [first.eventId], depth: 50 });
  const third = await make(resident, { roomId, content: { body: "third" }, prev: [second.eventId], depth: 51 });
  const keys = resident.peer.handler;
  resident.peer.handler = (request) =>
    request.url.includes("/get_missing_events/") ? { json: { events: [wire(second), wire(first)] } } : keys(request);
  assert.deepEqual(await send(resident, { pdus: [wire(third)] }), { [third.eventId]: {} });
  for (const { eventId } of [first, second, third]) {
    const stored = await resident.hs.parts.rooms.events.getById(eventId);
    assert.equal(stored?.isOutlier, false, "each has its place");
  }
});

testEachServer("servers that are shut out of a room are not heard in it", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const event = await make(resident, { roomId, content: { body: "too late" } });
  await alice.setState(roomId, { type: "m.room.server_acl", content: { allow: ["*"], deny: ["peer.test"] } });
  const typing = { edu_type: "m.typing", content: { room_id: roomId, user_id: event.sender, typing: true } };
  const results = await send(resident, { pdus: [wire(event)], edus: [typing] });
  assert.match(results[event.eventId].error, /banned/);
  assert.deepEqual(resident.hs.parts.userData.typing.typingIn(roomId as RoomId), []);
});

testEachServer(
  "a message to devices is delivered once, and EDUs for others' users are passed over",
  async (database) => {
    await using resident = await startResident(database);
    const { roomId, alice } = await openRoom(resident);
    const sender = `@bob:${resident.signer.serverName}`;
    const messages = { [alice.userId]: { "*": { n: 1 } } };
    const toDevice = (from: string, id: string) => ({
      edu_type: "m.direct_to_device",
      content: { sender: from, type: "org.example", message_id: id, messages },
    });
    const receipt = { [roomId]: { "m.read": { [alice.userId]: { data: { ts: 1 }, event_ids: ["$x"] } } } };
    await send(resident, {
      edus: [
        toDevice(sender, "one"),
        toDevice(sender, "one"),
        toDevice("@eve:elsewhere.test", "two"),
        { edu_type: "m.receipt", content: receipt },
        { edu_type: "org.example.unknown", content: {} },
      ],
    });
    await send(resident, { edus: [toDevice(sender, "one")] });
    const sync = await alice.sync();
    assert.deepEqual(sync.to_device.events, [{ type: "org.example", sender, content: { n: 1 } }]);
  },
);

testEachServer(
  "receipts of events that nobody knows are passed on; of users who are not here they are not",
  async (database) => {
    await using resident = await startResident(database);
    const { roomId, alice } = await openRoom(resident);
    const bob = `@bob:${resident.signer.serverName}`;
    const receipt = (userId: string, eventId: unknown) => ({
      edu_type: "m.receipt",
      content: { [roomId]: { "m.read": { [userId]: { data: { ts: 7 }, event_ids: [eventId] } } } } as never,
    });
    const shown = async () => {
      const sync = await alice.get("/sync");
      const { events } = sync.rooms.join[roomId].ephemeral;
      return events.find(({ type }: { type: string }) => type === "m.receipt")?.content ?? {};
    };
    const odd = ["", "x".repeat(256), "a\u0000b", 5, null, {}];
    await send(resident, { edus: odd.map((eventId) => receipt(bob, eventId)) });
    await send(resident, { edus: [receipt(`@eve:${resident.signer.serverName}`, "$unknown")] });
    assert.deepEqual(await shown(), {});
    await send(resident, { edus: [receipt(bob, "no-id-of-an-event")] });
    assert.deepEqual(await shown(), { "no-id-of-an-event": { "m.read": { [bob]: { ts: 7 } } } });
    await send(resident, { edus: [receipt(bob, "__proto__")] });
    assert.deepEqual(Object.keys(await shown()), ["__proto__"], "as any other text");
  },
);
