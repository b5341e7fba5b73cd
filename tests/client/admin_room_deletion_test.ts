/** Synapse's admin API: deleting and blocking rooms. */
import assert from "node:assert/strict";
import type { RoomId } from "../../src/protocol/ids.ts";
import { endOfTask } from "../harness/admin_tasks.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { tablesOfRoom } from "../harness/room_rows.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_synapse/admin/v1";
const V2 = "/_synapse/admin/v2";
const v1Room = (roomId: string) => path`/_synapse/admin/v1/rooms/${roomId}`;
const v2Room = (roomId: string) => path`/_synapse/admin/v2/rooms/${roomId}`;
const deletion = (id: string) => `${V2}/rooms/delete_status/${id}`;
const UNKNOWN = "!unknown:hs.test";

async function nidOf(hs: TestServer, roomId: string): Promise<number> {
  return (await hs.parts.rooms.events.roomById(roomId as RoomId))?.roomNid ?? 0;
}

async function assertGone(hs: TestServer, room: { roomNid: number; roomId: string }): Promise<void> {
  assert.notEqual(room.roomNid, 0);
  assert.deepEqual(await tablesOfRoom(hs.parts.core.db, room), []);
  assert.equal(await hs.parts.rooms.events.roomById(room.roomId as RoomId), null);
}

async function texts(client: TestClient, roomId: string): Promise<string[]> {
  const { chunk } = await client.get(path`/rooms/${roomId}/messages`, { dir: "f", limit: 100 });
  return chunk.flatMap(({ type, content }: Json) => type === "m.room.message" ? [content.body] : []);
}

testEachServer("rooms are deleted and blocked by administrators only, and with a good request", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const operations: readonly (readonly [string, string])[] = [
    ["DELETE", v1Room(roomId)],
    ["DELETE", v2Room(roomId)],
    ["GET", `${v2Room(roomId)}/delete_status`],
    ["GET", deletion("x")],
    ["GET", `${v1Room(roomId)}/block`],
    ["PUT", `${v1Room(roomId)}/block`],
  ];
  for (const [method, target] of operations) {
    const body = method === "GET" ? {} : { body: { block: true } };
    await hs.anyone.fails(method, target, { status: 401, errcode: "M_MISSING_TOKEN", ...body });
    await alice.fails(method, target, { status: 403, errcode: "M_FORBIDDEN", ...body });
    if (!target.includes(encodeURIComponent(roomId))) continue;
    const illegal = target.replace(encodeURIComponent(roomId), "nonsense");
    await admin.fails(method, illegal, { status: 400, errcode: "M_UNKNOWN", ...body });
  }
  for (const target of [v1Room(roomId), v2Room(roomId)]) {
    for (const name of ["block", "purge", "force_purge"]) {
      await admin.fails("DELETE", target, { status: 400, errcode: "M_BAD_JSON", body: { [name]: "yes" } });
    }
    for (const name of ["room_name", "message", "new_room_user_id"]) {
      await admin.fails("DELETE", target, { status: 400, errcode: "M_BAD_JSON", body: { [name]: 1 } });
    }
    await admin.fails("DELETE", target, { status: 400, errcode: "M_BAD_JSON", body: { new_room_user_id: "alice" } });
    await admin.fails("DELETE", target, { status: 400, errcode: "M_NOT_JSON" });
    const foreign = { status: 400, errcode: "M_UNKNOWN", body: { new_room_user_id: "@alice:elsewhere" } };
    assert.equal((await admin.fails("DELETE", target, foreign)).error, "User must be our own: @alice:elsewhere");
    const nobody = { status: 404, errcode: "M_NOT_FOUND", body: { new_room_user_id: "@nobody:hs.test" } };
    await admin.fails("DELETE", target, nobody);
  }
  await admin.fails("GET", deletion("x"), { status: 404, errcode: "M_NOT_FOUND" });
  await admin.fails("GET", `${v2Room(roomId)}/delete_status`, { status: 404, errcode: "M_NOT_FOUND" });
  const block = `${v1Room(roomId)}/block`;
  await admin.fails("PUT", block, { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await admin.fails("PUT", block, { status: 400, errcode: "M_BAD_JSON", body: { block: 1 } });
  assert.deepEqual(await texts(alice, roomId), [], "the room is still there");
});

testEachServer("a room is deleted, and its users are taken to one that says why", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob, carol, dave] = await hs.register("alice", "bob", "carol", "dave");
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "old", name: "Old" });
  await bob.join(roomId);
  await alice.invite(roomId, carol.userId);
  await dave.join(roomId);
  await dave.leave(roomId);
  await alice.sendText(roomId, "hello");
  const roomNid = await nidOf(hs, roomId);
  const body = { new_room_user_id: admin.userId, room_name: "Sorry", message: "It is gone", block: true };
  const { delete_id: id } = await admin.delete(v2Room(roomId), body);
  const { shutdown_room: result, ...status } = await endOfTask(admin, deletion(id));
  assert.deepEqual(status, { delete_id: id, room_id: roomId, status: "complete" });
  const { new_room_id: newRoomId, ...moved } = result;
  assert.deepEqual(moved, {
    kicked_users: [alice.userId, bob.userId, carol.userId],
    failed_to_kick_users: [],
    local_aliases: ["#old:hs.test"],
  });
  await assertGone(hs, { roomNid, roomId });
  const byRoom = await admin.get(`${v2Room(roomId)}/delete_status`);
  assert.deepEqual(byRoom, { results: [{ ...status, shutdown_room: result }] });

  const { joined_rooms: joined } = await bob.get("/joined_rooms");
  assert.deepEqual(joined, [newRoomId]);
  assert.deepEqual((await carol.get("/joined_rooms")).joined_rooms, []);
  const synced = await carol.sync();
  assert.equal(synced.rooms?.invite?.[roomId], undefined);
  assert.deepEqual(await texts(alice, newRoomId), ["It is gone"]);
  assert.equal((await bob.state(newRoomId, { type: "m.room.name" })).name, "Sorry");
  const send = path`/rooms/${newRoomId}/send/m.room.message/1`;
  await bob.fails("PUT", send, { body: { msgtype: "m.text", body: "why" }, status: 403, errcode: "M_FORBIDDEN" });
  const directory = await bob.get(path`/directory/room/${"#old:hs.test"}`);
  assert.equal(directory.room_id, newRoomId);

  await admin.fails("GET", v1Room(roomId), { status: 404, errcode: "M_NOT_FOUND" });
  await bob.fails("GET", path`/rooms/${roomId}/messages`, { status: 403, errcode: "M_FORBIDDEN" });
  await bob.fails("POST", path`/join/${roomId}`, { body: {}, status: 403, errcode: "M_FORBIDDEN" });
  assert.deepEqual(await admin.get(`${v1Room(roomId)}/block`), { block: true, user_id: admin.userId });
});

testEachServer("a room is deleted while the request waits, or only emptied", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "gone" });
  await bob.join(roomId);
  const roomNid = await nidOf(hs, roomId);
  const nothing = { kicked_users: [], failed_to_kick_users: [], local_aliases: [], new_room_id: null };
  assert.deepEqual(await admin.delete(v1Room(roomId), {}), { ...nothing, kicked_users: [alice.userId, bob.userId] });
  await assertGone(hs, { roomNid, roomId });
  await alice.fails("GET", path`/directory/room/${"#gone:hs.test"}`, { status: 404, errcode: "M_NOT_FOUND" });
  assert.deepEqual(await admin.delete(v1Room(UNKNOWN), {}), nothing);

  const emptied = await alice.createRoom({ preset: "public_chat", name: "Emptied" });
  await bob.join(emptied);
  const withNotice = await admin.delete(v1Room(emptied), { purge: false, new_room_user_id: alice.userId });
  assert.deepEqual(withNotice.kicked_users, [alice.userId, bob.userId]);
  const details = await admin.get(v1Room(emptied));
  assert.deepEqual([details.name, details.joined_members, details.forgotten], ["Emptied", 0, true]);
  const newRoom = await admin.get(v1Room(withNotice.new_room_id));
  assert.deepEqual([newRoom.name, newRoom.joined_members], ["Content Violation Notification", 2]);
  assert.equal((await texts(bob, withNotice.new_room_id)).length, 1);
  // What is empty can be deleted later.
  const emptiedNid = await nidOf(hs, emptied);
  assert.deepEqual(await admin.delete(v1Room(emptied), {}), nothing);
  await assertGone(hs, { roomNid: emptiedNid, roomId: emptied });
});

testEachServer("a room whose users cannot leave is deleted by force only", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const roomNid = await nidOf(hs, roomId);
  // A room without an end of its graph takes no events any more.
  const { engine } = hs.parts.rooms;
  const leave = engine.leave.bind(engine);
  engine.leave = () => Promise.reject(new Error("broken"));
  const failed = { status: 400, errcode: "M_UNKNOWN", body: {} };
  const { error } = await admin.fails("DELETE", v1Room(roomId), failed);
  assert.equal(error, "Users are still joined to this room");
  const { delete_id: id } = await admin.delete(v2Room(roomId), {});
  const { status, error: reason, shutdown_room: result } = await endOfTask(admin, deletion(id));
  assert.deepEqual([status, reason], ["failed", "Users are still joined to this room"]);
  assert.deepEqual(result.failed_to_kick_users, [alice.userId]);
  assert.deepEqual(await texts(alice, roomId), []);
  const forced = await admin.delete(v1Room(roomId), { force_purge: true });
  assert.deepEqual(forced.failed_to_kick_users, [alice.userId]);
  engine.leave = leave;
  await assertGone(hs, { roomNid, roomId });
  assert.deepEqual((await alice.get("/joined_rooms")).joined_rooms, []);
  assert.equal((await alice.sync({ full_state: true })).rooms?.join?.[roomId], undefined);
});

testEachServer("nobody comes into a blocked room, which need not be known", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const refused = { status: 403, errcode: "M_FORBIDDEN", body: {} };
  for (const target of [roomId, UNKNOWN]) {
    const block = `${v1Room(target)}/block`;
    assert.deepEqual(await admin.get(block), { block: false });
    assert.deepEqual(await admin.put(block, { block: true }), { block: true });
    assert.deepEqual(await admin.get(block), { block: true, user_id: admin.userId });
    const { error } = await bob.fails("POST", path`/join/${target}`, refused);
    assert.equal(error, "This room has been blocked on this server");
    await bob.fails("POST", path`/knock/${target}`, refused);
  }
  await alice.fails("POST", path`/rooms/${roomId}/invite`, { ...refused, body: { user_id: bob.userId } });
  const member = path`/rooms/${roomId}/state/m.room.member/${bob.userId}`;
  await alice.fails("PUT", member, { ...refused, body: { membership: "invite" } });
  await alice.fails("GET", path`/rooms/${roomId}/initialSync`, { status: 403, errcode: "M_FORBIDDEN" });
  await alice.fails("GET", path`/events?room_id=${roomId}`.replaceAll("%3F", "?"), {
    ...{ status: 403, errcode: "M_FORBIDDEN" },
  });
  await alice.sendText(roomId, "those inside go on");
  await hs.restart();
  const again = hs.again(admin);
  const block = `${v1Room(roomId)}/block`;
  assert.deepEqual(await again.get(block), { block: true, user_id: admin.userId });
  assert.deepEqual(await again.put(block, { block: false }), { block: false });
  assert.deepEqual(await again.get(block), { block: false });
  await hs.again(bob).join(roomId);
  assert.deepEqual(await again.delete(v1Room("!later:hs.test"), { block: true }), {
    ...{ kicked_users: [], failed_to_kick_users: [], local_aliases: [], new_room_id: null },
  });
  assert.deepEqual(await again.get(`${v1Room("!later:hs.test")}/block`), { block: true, user_id: admin.userId });
  assert.equal((await again.get(`${V1}/rooms`)).total_rooms, 1);
});
