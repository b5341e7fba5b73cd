/** Synapse's admin API for statistics. */
import assert from "node:assert/strict";
import { Statistics } from "../../src/services/statistics.ts";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const STATISTICS = "/_synapse/admin/v1/statistics";
const MEDIA = `${STATISTICS}/users/media`;
const ROOMS = `${STATISTICS}/database/rooms`;
const INVALID = { status: 400, errcode: "M_INVALID_PARAM" };
const DAY_MS = 86_400_000;

testEachServer("what users have uploaded is counted, in every order and by pages", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  await hs.register("dora");
  for (const [user, files] of [[alice, ["aaaa", "bbbb"]], [bob, ["a"]], [carol, ["a", "b", "c"]]] as const) {
    for (const body of files) await user.ok("POST", "/_matrix/media/v3/upload", { body });
  }
  await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Zoë 100%" });
  const users = async (query: Record<string, string | number> = {}) => (await admin.get(MEDIA, query)).users;
  const names = async (query: Record<string, string | number> = {}) =>
    (await users(query)).map((user: Json) => user.user_id.slice(1, -":hs.test".length));
  assert.deepEqual(await users(), [
    { user_id: alice.userId, displayname: "Zoë 100%", media_count: 2, media_length: 8 },
    { user_id: bob.userId, displayname: "bob", media_count: 1, media_length: 1 },
    { user_id: carol.userId, displayname: "carol", media_count: 3, media_length: 3 },
  ]);
  assert.deepEqual(await names({ dir: "b" }), ["carol", "bob", "alice"]);
  assert.deepEqual(await names({ order_by: "displayname" }), ["alice", "bob", "carol"]);
  assert.deepEqual(await names({ order_by: "media_count" }), ["bob", "alice", "carol"]);
  assert.deepEqual(await names({ order_by: "media_length", dir: "b" }), ["alice", "carol", "bob"]);
  assert.deepEqual(await names({ search_term: "100%" }), ["alice"]);
  assert.deepEqual(await names({ search_term: "LI" }), ["alice"]);
  assert.deepEqual(await names({ search_term: "hs.test" }), []);
  const [before, after] = [Date.now() - DAY_MS, Date.now() + DAY_MS];
  assert.deepEqual(await names({ from_ts: before, until_ts: after }), ["alice", "bob", "carol"]);
  assert.deepEqual([await names({ from_ts: after }), await names({ until_ts: before })], [[], []]);
  const first = await admin.get(MEDIA, { limit: 2 });
  assert.deepEqual([first.users.length, first.total, first.next_token], [2, 3, 2]);
  const second = await admin.get(MEDIA, { limit: 2, from: first.next_token });
  assert.deepEqual([second.users.length, second.total, second.next_token], [1, 3, undefined]);
  const wrong = [{ order_by: "name" }, { dir: "x" }, { limit: -1 }, { from: "a" }, { search_term: "" }, {
    ...{ from_ts: 5, until_ts: 5 },
  }];
  for (const query of wrong) await admin.fails("GET", MEDIA, { ...INVALID, query });
});

testEachServer("the largest rooms are named, with about what they take", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  assert.deepEqual(await admin.get(ROOMS), { rooms: [] });
  const [small, large] = [await alice.createRoom(), await alice.createRoom()];
  const body = "x".repeat(10_000);
  for (let count = 0; count < 3; count++) {
    await alice.send(large, { type: "m.room.message", content: { msgtype: "m.text", body } });
  }
  const { rooms } = await admin.get(ROOMS);
  assert.deepEqual(rooms.map((room: Json) => room.room_id), [large, small]);
  const [first, second] = rooms.map((room: Json) => room.estimated_size);
  assert.ok(first > 30_000 && second > 1_000 && second < first - 30_000, `${first} ${second}`);
  // Of a larger database only some rows are looked at.
  for (let count = 0; count < 20; count++) {
    await alice.send(large, { type: "m.room.message", content: { msgtype: "m.text", body } });
  }
  const [estimated] = await new Statistics({ db: hs.parts.core.db, samples: 10 }).largestRooms();
  assert.equal(estimated?.roomId, large);
  assert.ok((estimated?.bytes ?? 0) > 100_000 && (estimated?.bytes ?? 0) < 400_000, String(estimated?.bytes));
  for (let count = 0; count < 9; count++) await alice.createRoom();
  assert.equal((await admin.get(ROOMS)).rooms.length, 10);
});

testEachServer("statistics are for administrators", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  for (const target of [MEDIA, ROOMS]) {
    await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails("GET", target, { status: 403, errcode: "M_FORBIDDEN" });
  }
});
