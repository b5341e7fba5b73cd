/** Synapse's admin API: joining rooms for others, power, and the ends of rooms' graphs. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const joinOf = (room: string) => path`/_synapse/admin/v1/join/${room}`;
const adminOf = (room: string) => path`/_synapse/admin/v1/rooms/${room}/make_room_admin`;
const endsOf = (room: string) => path`/_synapse/admin/v1/rooms/${room}/forward_extremities`;

testEachServer("what is done in rooms is for administrators, with rooms and users that exist", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const unknown = "!unknown:hs.test";
  const operations: readonly (readonly [string, (room: string) => string])[] = [
    ["POST", joinOf],
    ["POST", adminOf],
    ["GET", endsOf],
    ["DELETE", endsOf],
  ];
  for (const [method, targetOf] of operations) {
    const body = method === "POST" ? { body: { user_id: alice.userId } } : {};
    await hs.anyone.fails(method, targetOf(roomId), { status: 401, errcode: "M_MISSING_TOKEN", ...body });
    await alice.fails(method, targetOf(roomId), { status: 403, errcode: "M_FORBIDDEN", ...body });
    const illegal = await admin.fails(method, targetOf("nonsense"), { status: 400, errcode: "M_UNKNOWN", ...body });
    assert.equal(illegal.error, "nonsense was not legal room ID or room alias");
    await admin.fails(method, targetOf("#unknown:hs.test"), { status: 404, errcode: "M_NOT_FOUND", ...body });
  }
  for (const target of [joinOf(roomId), adminOf(roomId)]) {
    await admin.fails("POST", target, { status: 400, errcode: "M_BAD_JSON", body: { user_id: 1 } });
    await admin.fails("POST", target, { status: 400, errcode: "M_INVALID_PARAM", body: { user_id: "alice" } });
    await admin.fails("POST", target, { status: 400, errcode: "M_NOT_JSON", body: "{" });
  }
  await admin.fails("POST", joinOf(roomId), { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  const foreign = { status: 400, errcode: "M_UNKNOWN", body: { user_id: "@alice:elsewhere" } };
  const { error } = await admin.fails("POST", joinOf(roomId), foreign);
  assert.equal(error, "This endpoint can only be used with local users");
  const nobody = { status: 404, errcode: "M_NOT_FOUND", body: { user_id: "@nobody:hs.test" } };
  await admin.fails("POST", joinOf(roomId), nobody);
  const nowhere = await admin.fails("POST", adminOf(unknown), { status: 400, errcode: "M_UNKNOWN", body: {} });
  assert.equal(nowhere.error, "Server not in room");
  assert.deepEqual(await admin.get(endsOf(unknown)), { count: 0, results: [] });
  await admin.fails("DELETE", endsOf(unknown), { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("an administrator lets users join, by an invitation where that is needed", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const open = await alice.createRoom({ preset: "public_chat", room_alias_name: "open" });
  assert.deepEqual(await admin.post(joinOf("#open:hs.test"), { user_id: bob.userId }), { room_id: open });
  const closed = await alice.createRoom();
  // The administrator is not in the room and cannot invite.
  await admin.fails("POST", joinOf(closed), { status: 403, errcode: "M_FORBIDDEN", body: { user_id: bob.userId } });
  await alice.invite(closed, admin.userId);
  await admin.join(closed);
  assert.deepEqual(await admin.post(joinOf(closed), { user_id: bob.userId }), { room_id: closed });
  assert.deepEqual((await bob.get("/joined_rooms")).joined_rooms.sort(), [open, closed].sort());
  // Once more changes nothing.
  await admin.post(joinOf(closed), { user_id: bob.userId });
});

testEachServer("power is given by the alias of a room too", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "mine", room_version: "11" });
  assert.deepEqual(await admin.post(adminOf("#mine:hs.test")), {});
  await admin.join(roomId);
  assert.equal((await alice.state(roomId, { type: "m.room.power_levels" })).users[admin.userId], 100);
});

testEachServer("the ends of a room's graph are shown and made one", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "ends" });
  const last = await alice.sendText(roomId, "last");
  const { count, results } = await admin.get(endsOf("#ends:hs.test"));
  assert.equal(count, 1);
  assert.equal(results[0].event_id, last);
  assert.deepEqual(Object.keys(results[0]).sort(), ["depth", "event_id", "received_ts", "state_group"]);
  assert.ok(Object.values(results[0]).every((value: Json) => value !== null));
  assert.deepEqual(await admin.delete(endsOf(roomId)), { deleted: 0 });
  assert.equal((await admin.get(endsOf(roomId))).results[0].event_id, last);
});
