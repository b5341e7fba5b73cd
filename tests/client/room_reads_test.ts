/** State, members, search by time and filters through real HTTP. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("state is that of now for members and that of their leaving for those who left", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, eve] = await hs.register("alice", "bob", "eve");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "before" });
  await bob.join(roomId);
  await bob.leave(roomId);
  await alice.setState(roomId, { type: "m.room.name", content: { name: "after" } });
  await alice.setState(roomId, { type: "org.test", stateKey: "a/b", content: { key: "slash" } });
  assert.deepEqual(await alice.state(roomId, { type: "m.room.name" }), { name: "after" });
  assert.deepEqual(await bob.state(roomId, { type: "m.room.name" }), { name: "before" });
  assert.deepEqual(await alice.state(roomId, { type: "org.test", stateKey: "a/b" }), { key: "slash" });
  assert.deepEqual(await alice.get(path`/rooms/${roomId}/state/m.room.name`), { name: "after" });
  const whole = await alice.get(path`/rooms/${roomId}/state/m.room.name`, { format: "event" });
  assert.deepEqual([whole.sender, whole.room_id, whole.content.name], [alice.userId, roomId, "after"]);
  assert.equal(whole.unsigned.prev_content.name, "before");
  const all = await bob.get(path`/rooms/${roomId}/state`);
  assert.equal(all.find((event: Json) => event.type === "m.room.name").content.name, "before");
  assert.equal(all.some((event: Json) => event.type === "org.test"), false);
  await alice.fails("GET", path`/rooms/${roomId}/state/org.none`, { status: 404, errcode: "M_NOT_FOUND" });
  await eve.fails("GET", path`/rooms/${roomId}/state`, { status: 403, errcode: "M_FORBIDDEN" });
  await eve.fails("GET", path`/rooms/${roomId}/state/m.room.name`, { status: 403, errcode: "M_FORBIDDEN" });
});

testEachServer("who was in a room reads up to the end of that stay, whatever they were since", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, eve] = await hs.register("alice", "bob", "eve");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "then" });
  await bob.join(roomId);
  await alice.sendText(roomId, "hello");
  await alice.invite(roomId, eve.userId);
  await eve.leave(roomId);
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId });
  const readsItsPart = async () => {
    const { chunk } = await bob.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 3 });
    assert.deepEqual(chunk[0].content.membership, "leave");
    assert.equal(chunk.some((event: Json) => event.content.body === "later"), false);
    assert.deepEqual(await bob.state(roomId, { type: "m.room.name" }), { name: "then" });
    await eve.fails("GET", path`/rooms/${roomId}/messages?dir=b`, { status: 403, errcode: "M_FORBIDDEN" });
  };
  await readsItsPart();
  await alice.sendText(roomId, "later");
  await alice.setState(roomId, { type: "m.room.name", content: { name: "now" } });
  for (const action of ["ban", "unban"]) {
    await alice.post(path`/rooms/${roomId}/${action}`, { user_id: bob.userId });
    await readsItsPart();
  }
  await alice.invite(roomId, bob.userId);
  await bob.leave(roomId);
  await readsItsPart();
});

testEachServer("members are listed by membership and at a point in time", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const begin = (await alice.sync()).rooms.join[roomId].timeline.prev_batch;
  await bob.join(roomId);
  const at = (await alice.sync()).next_batch;
  await bob.leave(roomId);
  await carol.join(roomId);
  const list = async (query: Record<string, string>) => {
    const { chunk } = await alice.get(path`/rooms/${roomId}/members`, query);
    assert.ok(chunk.every((event: Json) => event.room_id === roomId));
    return chunk.map((event: Json) => `${event.state_key} ${event.content.membership}`).sort();
  };
  assert.deepEqual(await list({}), [`${alice.userId} join`, `${bob.userId} leave`, `${carol.userId} join`]);
  assert.deepEqual(await list({ membership: "leave" }), [`${bob.userId} leave`]);
  assert.deepEqual(await list({ not_membership: "leave" }), [`${alice.userId} join`, `${carol.userId} join`]);
  assert.deepEqual(await list({ at }), [`${alice.userId} join`, `${bob.userId} join`]);
  assert.deepEqual(await list({ at: begin }), [`${alice.userId} join`]);
  const { joined } = await alice.get(path`/rooms/${roomId}/joined_members`);
  assert.deepEqual(Object.keys(joined).sort(), [alice.userId, carol.userId]);
  await bob.fails("GET", path`/rooms/${roomId}/joined_members`, { status: 403, errcode: "M_FORBIDDEN" });
  assert.deepEqual((await alice.get("/joined_rooms")).joined_rooms, [roomId]);
  assert.deepEqual((await bob.get("/joined_rooms")).joined_rooms, []);
});

testEachServer("timestamp_to_event finds the nearest event in a direction", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, eve] = await hs.register("alice", "eve");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const eventId = await alice.sendText(roomId, "here");
  const { origin_server_ts: ts } = await alice.get(path`/rooms/${roomId}/event/${eventId}`);
  const target = path`/_matrix/client/v1/rooms/${roomId}/timestamp_to_event`;
  assert.equal((await alice.get(target, { ts, dir: "b" })).event_id, eventId);
  assert.equal((await alice.get(target, { ts: ts + 60_000, dir: "b" })).event_id, eventId);
  await alice.fails("GET", target, { query: { ts: ts + 60_000, dir: "f" }, status: 404, errcode: "M_NOT_FOUND" });
  await alice.fails("GET", target, { query: { ts: 1, dir: "b" }, status: 404, errcode: "M_NOT_FOUND" });
  await alice.fails("GET", target, { query: { dir: "b" }, status: 400, errcode: "M_MISSING_PARAM" });
  await eve.fails("GET", target, { query: { ts, dir: "b" }, status: 403, errcode: "M_FORBIDDEN" });
});

testEachServer("filters are stored, returned, used by id, and belong to one user", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({});
  for (let index = 0; index < 5; index++) await alice.sendText(roomId, `m${index}`);
  const filters = path`/user/${alice.userId}/filter`;
  const body = { room: { timeline: { limit: 2 } }, event_fields: ["content.body", "event_id"] };
  const { filter_id: id } = await alice.post(filters, body);
  assert.equal((await alice.post(filters, body)).filter_id, id);
  assert.deepEqual(await alice.get(`${filters}/${id}`), body);
  const { timeline } = (await alice.get("/sync", { filter: id })).rooms.join[roomId];
  assert.deepEqual(timeline.events.map((event: Json) => event.content.body), ["m3", "m4"]);
  assert.deepEqual(Object.keys(timeline.events[0]).sort(), ["content", "event_id"]);
  await alice.fails("GET", `${filters}/99`, { status: 404, errcode: "M_NOT_FOUND" });
  await bob.fails("GET", `${filters}/${id}`, { status: 403, errcode: "M_FORBIDDEN" });
  await bob.fails("POST", filters, { body, status: 403, errcode: "M_FORBIDDEN" });
  await alice.fails("POST", filters, { body: { room: { timeline: [] } }, status: 400, errcode: "M_BAD_JSON" });
});
