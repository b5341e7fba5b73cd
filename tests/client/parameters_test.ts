/** Parameters that choose what is answered, of endpoints whose own tests leave them out. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_matrix/client/v1";

function texts(events: readonly Json[]): string[] {
  return events.map(({ content }) => content.body);
}

testEachServer("GET /context obeys its filter", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const url = "mxc://hs.test/abc";
  await alice.send(roomId, { type: "m.room.message", content: { body: "image", url } });
  await bob.sendText(roomId, "before");
  const eventId = await alice.sendText(roomId, "here");
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "between" } });
  await bob.sendText(roomId, "after");
  await alice.sendText(roomId, "last");
  const context = (filter: Json) =>
    alice.get(path`/rooms/${roomId}/context/${eventId}`, { limit: 20, filter: JSON.stringify(filter) });
  const messages = await context({ types: ["m.room.message"] });
  assert.deepEqual(texts(messages.events_before), ["before", "image"]);
  assert.deepEqual(texts(messages.events_after), ["after", "last"]);
  const ofBob = await context({ senders: [bob.userId], types: ["m.room.message"] });
  assert.deepEqual([texts(ofBob.events_before), texts(ofBob.events_after)], [["before"], ["after"]]);
  const withUrl = await context({ contains_url: true });
  assert.deepEqual([texts(withUrl.events_before), texts(withUrl.events_after)], [["image"], []]);
  assert.equal(withUrl.event.event_id, eventId, "the event itself is what was asked for");
  const lazy = await alice.get(path`/rooms/${roomId}/context/${eventId}`, {
    limit: 0,
    filter: JSON.stringify({ lazy_load_members: true }),
  });
  const members = lazy.state.filter(({ type }: Json) => type === "m.room.member");
  assert.deepEqual(members.map((member: Json) => member.state_key), [alice.userId]);
});

testEachServer("GET /sync shows left rooms to who wants them, with the state of their leaving", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "then" });
  await bob.join(roomId);
  await alice.sendText(roomId, "hello");
  await bob.leave(roomId);
  await alice.setState(roomId, { type: "m.room.name", content: { name: "now" } });
  const filter = JSON.stringify({ room: { include_leave: true, timeline: { limit: 1 } } });
  assert.equal((await bob.get("/sync")).rooms?.leave, undefined);
  const { leave } = (await bob.get("/sync", { filter })).rooms;
  assert.deepEqual(leave[roomId].timeline.events.map(({ content }: Json) => content.membership), ["leave"]);
  const nameIn = ({ events }: Json) => events.find(({ type }: Json) => type === "m.room.name").content.name;
  assert.equal(nameIn(leave[roomId].state), "then");
  const after = (await bob.get("/sync", { filter, use_state_after: true })).rooms.leave[roomId];
  assert.equal(nameIn(after.state_after), "then");
  assert.equal(after.state, undefined);
  const archived = (await bob.get("/initialSync", { archived: true, limit: 1 })).rooms;
  assert.deepEqual(archived.map((room: Json) => [room.room_id, room.membership]), [[roomId, "leave"]]);
  assert.deepEqual((await bob.get("/initialSync", { limit: 1 })).rooms, []);
});

testEachServer("state is given whole or as its content, also under an empty key", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "Room" });
  const name = path`/rooms/${roomId}/state/m.room.name/`;
  assert.deepEqual(await alice.get(name), { name: "Room" });
  assert.deepEqual(await alice.get(name, { format: "content" }), { name: "Room" });
  const { content, type, state_key, sender, room_id } = await alice.get(name, { format: "event" });
  assert.deepEqual([content, type, state_key, sender, room_id], [
    { name: "Room" },
    "m.room.name",
    "",
    alice.userId,
    roomId,
  ]);
  await alice.fails("GET", name, { query: { format: "both" }, status: 400, errcode: "M_INVALID_PARAM" });
});

testEachServer("summaries of rooms tell all that there is to tell", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const avatar = { type: "m.room.avatar", state_key: "", content: { url: "mxc://hs.test/abc" } };
  const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
  const roomId = await alice.createRoom({
    ...{ preset: "public_chat", name: "N", topic: "T", room_alias_name: "all", room_version: "11" },
    creation_content: { type: "m.space" },
    initial_state: [avatar, encryption],
  });
  const expected = {
    ...{ room_id: roomId, name: "N", topic: "T", canonical_alias: "#all:hs.test", avatar_url: "mxc://hs.test/abc" },
    ...{ room_type: "m.space", encryption: "m.megolm.v1.aes-sha2", room_version: "11", join_rule: "public" },
    ...{ num_joined_members: 1, world_readable: false, guest_can_join: false },
  };
  const picked = (summary: Json) => Object.fromEntries(Object.keys(expected).map((key) => [key, summary[key]]));
  assert.deepEqual(picked(await bob.get(V1 + path`/room_summary/${roomId}`, { via: "hs.test" })), expected);
  const { rooms } = await alice.get(V1 + path`/rooms/${roomId}/hierarchy`);
  assert.deepEqual(picked(rooms[0]), expected);
});

testEachServer("GET /relations goes up to a token, and on from it", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const root = await alice.sendText(roomId, "root");
  const relates = { rel_type: "m.reference", event_id: root };
  const sent: string[] = [];
  for (let n = 0; n < 5; n++) {
    sent.push(await alice.send(roomId, { type: "org.example.ref", content: { n, "m.relates_to": relates } }));
  }
  const all = V1 + path`/rooms/${roomId}/relations/${root}`;
  for (const target of [all, `${all}/m.reference`, `${all}/m.reference/org.example.ref`]) {
    const ids = ({ chunk }: Json) => chunk.map((event: Json) => event.event_id);
    const first = await alice.get(target, { limit: 2, dir: "f" });
    assert.deepEqual(ids(first), sent.slice(0, 2));
    const rest = await alice.get(target, { limit: 2, dir: "f", from: first.next_batch });
    assert.deepEqual(ids(rest), sent.slice(2, 4));
    assert.deepEqual(ids(await alice.get(target, { dir: "f", to: first.next_batch })), sent.slice(0, 2));
    assert.deepEqual(ids(await alice.get(target, { recurse: true })), sent.toReversed());
  }
});

testEachServer("an upgrade names further creators where the new version knows them", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ room_version: "11" });
  const upgrade = path`/rooms/${roomId}/upgrade`;
  for (const additional_creators of [["nobody"], [1], bob.userId]) {
    const body = { new_version: "12", additional_creators };
    const { status } = await alice.request("POST", upgrade, { body });
    assert.equal(status, 400, JSON.stringify(additional_creators));
  }
  const { replacement_room } = await alice.post(upgrade, { new_version: "12", additional_creators: [bob.userId] });
  const create = await alice.state(replacement_room, { type: "m.room.create" });
  assert.deepEqual(create.additional_creators, [bob.userId]);
});
