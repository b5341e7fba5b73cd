/** Rooms that everybody here has forgotten are deleted, and can be joined anew. */
import assert from "node:assert/strict";
import type { Database } from "../../src/storage/database.ts";
import { sql } from "../../src/storage/sql.ts";
import { insertSearchDocuments } from "../../src/storage/search.ts";
import { setRoomOpen } from "../../src/storage/user_directory.ts";
import type { EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import { path } from "../harness/client.ts";
import { tablesOfRoom } from "../harness/room_rows.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { testNetwork } from "./network.ts";

const NEVER = new AbortController().signal;

async function count(db: Database): Promise<number[]> {
  const rows = await db.all<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM event_json UNION ALL SELECT COUNT(*) FROM event_auth UNION ALL SELECT COUNT(*) FROM event_prev`);
  return rows.map(({ n }) => n);
}

testEachServer("a room that all have forgotten is deleted with all its rows, others stay", async (database) => {
  const config = { forgotten_room_retention_period: "1h", experimental_features: { msc2836_enabled: true } };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob] = await hs.register("alice", "bob");
  const { db } = hs.parts.core;
  const kept = await alice.createRoom({ preset: "public_chat", name: "Kept" });
  await alice.sendText(kept, "stays");
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "gone", topic: "to go" });
  await bob.join(roomId);
  const first = await alice.sendText(roomId, "hello bob");
  const relation = { "m.relates_to": { rel_type: "m.thread", event_id: first } };
  await bob.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body: "in a thread", ...relation } });
  const relationship = { "m.relationship": { rel_type: "m.reference", event_id: first } };
  await bob.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body: "below", ...relationship } });
  await bob.post(path`/rooms/${roomId}/receipt/m.read/${first}`, {});
  await bob.put(path`/user/${bob.userId}/rooms/${roomId}/tags/m.favourite`, { order: 1 });
  await alice.put(path`/rooms/${roomId}/redact/${first}/${"r"}`, {});
  await bob.sync();
  const roomNid = (await hs.parts.rooms.events.roomById(roomId as RoomId))?.roomNid ?? 0;
  const event = await hs.parts.rooms.events.getById(first as EventId);
  const { nid: eventNid, position } = event ?? { nid: 0, position: 0 };
  for (const user of [alice, bob]) {
    await user.leave(roomId);
    await hs.parts.rooms.engine.purgeForgotten(NEVER);
    await user.post(path`/rooms/${roomId}/forget`);
  }
  await hs.parts.rooms.engine.purgeForgotten(NEVER);
  assert((await tablesOfRoom(db, { roomNid, roomId })).includes("events"), "its time has not come");
  await db.transaction((tx) => tx.run(sql`UPDATE room_purges SET due_ts = 0`));
  await hs.parts.rooms.engine.purgeForgotten(NEVER);
  // The indexers may have read of the room before it went.
  await db.transaction(async (tx) => {
    await setRoomOpen(tx, { roomNid, isOpen: true });
    const { sender, field, words } = {
      sender: event?.event.sender ?? ("" as UserId),
      field: "content.body",
      words: ["hello"],
    };
    await insertSearchDocuments(tx, [{ position: position ?? 0, eventNid, roomNid, sender, field, words }]);
  });
  assert.deepEqual(await tablesOfRoom(db, { roomNid, roomId }), []);
  const events = (await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM events`))?.n;
  assert.equal((await count(db))[0], events, "no event is half there");
  await alice.fails("GET", path`/rooms/${roomId}/messages`, { status: 403, errcode: "M_FORBIDDEN" });
  await alice.fails("GET", path`/directory/room/${"#gone:hs.test"}`, { status: 404, errcode: "M_NOT_FOUND" });
  const page = await alice.get(path`/rooms/${kept}/messages`, { dir: "b" });
  assert.equal(page.chunk[0].content.body, "stays");
  await alice.sendText(kept, "goes on");
});

testEachServer("who comes back in time keeps the room, and without the option nothing is deleted", async (database) => {
  await using hs = await TestServer.start({ database, config: { forgotten_room_retention_period: "1h" } });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.leave(roomId);
  await bob.post(path`/rooms/${roomId}/forget`);
  const { db } = hs.parts.core;
  const planned = async () => (await db.all(sql`SELECT room_nid FROM room_purges LIMIT 10`)).length;
  assert.equal(await planned(), 0, "alice is in the room");
  await alice.leave(roomId);
  await alice.post(path`/rooms/${roomId}/forget`);
  assert.equal(await planned(), 1);
  await db.transaction((tx) => tx.run(sql`UPDATE room_purges SET due_ts = 0`));
  await db.transaction((tx) =>
    tx.run(sql`UPDATE local_memberships SET forgotten = ${false} WHERE user_id = ${bob.userId}`)
  );
  await hs.parts.rooms.engine.purgeForgotten(NEVER);
  assert.equal(await planned(), 0);
  assert(await hs.parts.rooms.events.roomById(roomId as RoomId) !== null);
  await hs.restart({ forgotten_room_retention_period: null });
  const again = hs.again(alice);
  const other = await again.createRoom({});
  await again.leave(other);
  await again.post(path`/rooms/${other}/forget`);
  assert.equal((await hs.parts.core.db.all(sql`SELECT room_nid FROM room_purges LIMIT 10`)).length, 0);
});

testNetwork("a room of another server that was deleted here is joined anew", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  for (let index = 0; index < 20; index++) await alice.sendText(roomId, `message ${index}`);
  const join = path`/join/${roomId}?via=${one.name}`.replaceAll("%3F", "?").replaceAll("%3D", "=");
  await bob.post(join);
  await bob.sendText(roomId, "first stay");
  await bob.leave(roomId);
  await bob.post(path`/rooms/${roomId}/forget`);
  const { db } = two.hs.parts.core;
  const roomNid = (await two.hs.parts.rooms.events.roomById(roomId as RoomId))?.roomNid ?? 0;
  await db.transaction((tx) =>
    tx.run(sql`
    INSERT INTO room_purges (room_nid, room_id, due_ts, is_started) VALUES (${roomNid}, ${roomId}, 0, ${false})`)
  );
  // A stop in the middle leaves it begun: the room cannot come back until it is done.
  const stop = new AbortController();
  const purging = two.hs.parts.rooms.engine.purgeForgotten(stop.signal);
  stop.abort();
  await purging;
  await two.hs.parts.rooms.engine.purgeForgotten(NEVER);
  assert.deepEqual(await tablesOfRoom(db, { roomNid, roomId }), []);
  await bob.post(join);
  await bob.sendText(roomId, "second stay");
  const page = await bob.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 60 });
  const texts = page.chunk.flatMap(({ content }: { content: { body?: string } }) => content.body ?? []);
  assert.deepEqual(texts.slice(0, 3), ["second stay", "first stay", "message 19"]);
  const members = await bob.get(path`/rooms/${roomId}/joined_members`);
  assert.deepEqual(Object.keys(members.joined).sort(), [alice.userId, bob.userId].sort());
});
