/** Synapse's admin API for rooms. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ADMIN = "/_synapse/admin/v1";

async function messages(client: TestClient, roomId: string): Promise<string[]> {
  const { chunk } = await client.get(path`/rooms/${roomId}/messages`, { dir: "f", limit: 100 });
  return chunk.flatMap(({ type, content }: Json) => type === "m.room.message" ? [content.body] : []);
}

/** Waits until a purge has ended. */
async function ended(admin: TestClient, id: string): Promise<string> {
  const end = performance.now() + 20_000;
  while (true) {
    const { status } = await admin.get(`${ADMIN}/purge_history_status/${id}`);
    if (status !== "active") return status;
    assert.ok(performance.now() < end, "The purge does not end");
  }
}

testEachServer("rooms are administered by administrators", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const room = path`/_synapse/admin/v1/rooms/${roomId}`;
  const unknown = "!nowhere:hs.test";
  const operations: readonly (readonly [string, string])[] = [
    ["GET", `${ADMIN}/rooms`],
    ["GET", room],
    ["GET", `${room}/members`],
    ["GET", `${room}/state`],
    ["POST", path`/_synapse/admin/v1/purge_history/${roomId}`],
    ["GET", `${ADMIN}/purge_history_status/x`],
  ];
  for (const [method, target] of operations) {
    await hs.anyone.fails(method, target, { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails(method, target, { status: 403, errcode: "M_FORBIDDEN" });
    if (!target.includes(encodeURIComponent(roomId))) continue;
    const missing = { status: 404, errcode: "M_NOT_FOUND" };
    const body = method === "POST" ? { body: { purge_up_to_ts: 1 } } : {};
    const elsewhere = target.replace(encodeURIComponent(roomId), encodeURIComponent(unknown));
    await admin.fails(method, elsewhere, { ...missing, ...body });
    await admin.fails(method, target.replace(encodeURIComponent(roomId), "nonsense"), { ...missing, ...body });
  }
  await admin.fails("GET", `${ADMIN}/purge_history_status/x`, { status: 404, errcode: "M_NOT_FOUND" });
  for (const query of [{ order_by: "age" }, { dir: "x" }, { search_term: "" }, { public_rooms: "perhaps" }]) {
    await admin.fails("GET", `${ADMIN}/rooms`, { query, status: 400, errcode: "M_INVALID_PARAM" });
  }
});

testEachServer("rooms are listed, and shown with members and state", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const options = { preset: "public_chat", name: "Beta", topic: "talk", room_alias_name: "beta", visibility: "public" };
  const beta = await alice.createRoom(options);
  await bob.join(beta);
  const alpha = await alice.createRoom({ name: "Alpha" });
  const empty = await bob.createRoom();
  await bob.leave(empty);
  const list = async (query: Record<string, string | number | boolean> = {}) =>
    await admin.get(`${ADMIN}/rooms`, query);
  const ids = async (query: Record<string, string | number | boolean>) =>
    (await list(query)).rooms.map(({ room_id: id }: Json) => id);
  assert.deepEqual(await ids({}), [alpha, beta, empty]);
  assert.deepEqual((await ids({ dir: "b" })).slice(0, 2), [beta, alpha]);
  assert.deepEqual(await ids({ order_by: "joined_members" }), [beta, alpha, empty]);
  assert.deepEqual(await ids({ public_rooms: true }), [beta]);
  assert.deepEqual(await ids({ empty_rooms: true }), [empty]);
  assert.deepEqual(await ids({ search_term: "ALPH" }), [alpha]);
  assert.deepEqual(await ids({ search_term: "#beta" }), [beta]);
  assert.deepEqual(await ids({ search_term: "hs.test" }), [], "of an alias the local part counts");
  const page = await list({ limit: 2 });
  assert.deepEqual([page.offset, page.total_rooms, page.next_batch, page.prev_batch], [0, 3, 2, undefined]);
  const last = await list({ limit: 2, from: 2 });
  assert.deepEqual([last.rooms.length, last.next_batch, last.prev_batch], [1, undefined, 0]);

  const { state_events, joined_local_devices, version, ...room } = await admin.get(
    path`/_synapse/admin/v1/rooms/${beta}`,
  );
  assert.ok(state_events >= 8 && typeof version === "string");
  assert.equal(joined_local_devices, 2);
  assert.deepEqual(room, {
    ...{ room_id: beta, name: "Beta", canonical_alias: "#beta:hs.test", joined_members: 2, joined_local_members: 2 },
    ...{ creator: alice.userId, encryption: null, federatable: true, public: true, join_rules: "public" },
    ...{ guest_access: null, history_visibility: "shared", room_type: null, avatar: null, topic: "talk" },
    ...{ forgotten: false, tombstoned: false, replacement_room: null },
  });
  const target = path`/_synapse/admin/v1/rooms/${beta}`;
  assert.deepEqual(await admin.get(`${target}/members`), { members: [alice.userId, bob.userId], total: 2 });
  const { state } = await admin.get(`${target}/state`, { type: "m.room.name" });
  assert.deepEqual(state.map(({ type, content }: Json) => [type, content.name]), [["m.room.name", "Beta"]]);
  assert.equal((await admin.get(`${target}/state`)).state.length, state_events);
});

testEachServer("an administrator gets the power of a local one, and an invitation", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  for (const version of ["11", "12"]) {
    const roomId = await alice.createRoom({ room_version: version });
    const target = path`/_synapse/admin/v1/rooms/${roomId}/make_room_admin`;
    assert.deepEqual(await admin.post(target), {});
    await admin.join(roomId);
    const { users } = await alice.state(roomId, { type: "m.room.power_levels" });
    assert.equal(users[admin.userId], 100);
    await admin.post(target, { user_id: bob.userId });
    assert.equal((await alice.state(roomId, { type: "m.room.member", stateKey: bob.userId })).membership, "invite");
    await admin.fails("POST", target, { body: { user_id: "bob" }, status: 400, errcode: "M_INVALID_PARAM" });
  }
  const left = await alice.createRoom();
  await alice.leave(left);
  await admin.fails("POST", path`/_synapse/admin/v1/rooms/${left}/make_room_admin`, {
    ...{ body: {}, status: 400, errcode: "M_UNKNOWN" },
  });
});

testEachServer("history is deleted up to an event or a time", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  for (const text of ["one", "two"]) await alice.sendText(roomId, text);
  const third = await alice.sendText(roomId, "three");
  await alice.sendText(roomId, "four");
  const target = path`/_synapse/admin/v1/purge_history/${roomId}`;
  // Events of users of this server are not deleted unless that is asked for.
  const { purge_id: spared } = await admin.post(`${target}/${encodeURIComponent(third)}`);
  assert.equal(await ended(admin, spared), "complete");
  assert.deepEqual(await messages(alice, roomId), ["one", "two", "three", "four"]);
  const local = { delete_local_events: true };
  const { purge_id: id } = await admin.post(target, { ...local, purge_up_to_event_id: third });
  assert.equal(await ended(admin, id), "complete");
  assert.deepEqual(await messages(alice, roomId), ["three", "four"]);
  const { purge_id: all } = await admin.post(target, { ...local, purge_up_to_ts: Date.now() + 60_000 });
  assert.equal(await ended(admin, all), "complete");
  assert.deepEqual(await messages(alice, roomId), ["four"]);
  await alice.sendText(roomId, "five");
  assert.deepEqual(await messages(alice, roomId), ["four", "five"]);

  await admin.fails("POST", target, { body: {}, status: 400, errcode: "M_BAD_JSON" });
  await admin.fails("POST", target, { body: { purge_up_to_ts: "now" }, status: 400, errcode: "M_BAD_JSON" });
  const elsewhere = await alice.sendText(other, "elsewhere");
  const wrongRoom = { body: { purge_up_to_event_id: elsewhere }, status: 400, errcode: "M_UNKNOWN" };
  await admin.fails("POST", target, wrongRoom);
  const unknown = { body: { purge_up_to_event_id: "$nothing" }, status: 404, errcode: "M_NOT_FOUND" };
  await admin.fails("POST", target, unknown);
});
