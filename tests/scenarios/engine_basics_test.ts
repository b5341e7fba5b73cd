/** Creating, joining and sending through the engine. */
import assert from "node:assert/strict";
import { MatrixError } from "../../src/protocol/errors.ts";
import { listRoomVersions } from "../../src/protocol/room_versions.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, testRequester, testUser } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";

const alice = testRequester("alice");
const bob = testRequester("bob");

function message(body: string): { type: string; stateKey: null; content: { msgtype: string; body: string } } {
  return { type: "m.room.message", stateKey: null, content: { msgtype: "m.text", body } };
}

testEachDatabase(
  "a room of every version can be created, joined and talked in, and is the same after a restart",
  async (db) => {
    const { engine } = await openEngine(db);
    for (const { id } of listRoomVersions()) {
      const roomId = await engine.createRoom(alice, { preset: "public_chat", roomVersion: id, name: `Version ${id}` });
      await engine.join(bob, { roomId });
      const eventId = await engine.sendEvent(bob, { roomId, ...message("hello"), txnId: null });
      const before = await readRoom(await openEngine(db), roomId);
      assert.equal(before.state.get("m.room.create|")?.content["room_version"], id);
      assert.equal(before.state.get(`m.room.member|${bob.userId}`)?.content["membership"], "join");
      assert.deepEqual(before.extremities, [eventId]);
      assert.deepEqual(before.joined, [alice.userId, bob.userId]);
      assert.equal(before.joinedMembers, 2);
    }
  },
);

testEachDatabase("events of a new room come in the order of the spec", async (db) => {
  const { engine, ...parts } = await openEngine(db);
  const roomId = await engine.createRoom(alice, {
    name: "Name",
    topic: "Topic",
    invite: [bob.userId],
    isDirect: true,
    initialState: [{ type: "org.example.thing", content: { a: 1 } }],
  });
  const { timeline, state } = await readRoom({ engine, ...parts }, roomId);
  assert.deepEqual(timeline.map(({ type }) => type), [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "org.example.thing",
    "m.room.name",
    "m.room.topic",
    "m.room.member",
  ]);
  const invite = state.get(`m.room.member|${bob.userId}`);
  assert.deepEqual(invite?.content, { membership: "invite", is_direct: true });
  assert.equal(state.get("m.room.topic|")?.content["topic"], "Topic");
});

testEachDatabase("a refused event refuses its own caller only, and leaves nothing behind", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  await engine.join(bob, { roomId });
  const results = await Promise.allSettled([
    engine.sendEvent(bob, { roomId, ...message("one"), txnId: null }),
    engine.sendEvent(bob, { roomId, type: "m.room.name", stateKey: "", content: { name: "mine" }, txnId: null }),
    engine.sendEvent(testRequester("mallory"), { roomId, ...message("spam"), txnId: null }),
    engine.sendEvent(bob, { roomId, ...message("two"), txnId: null }),
  ]);
  assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "rejected", "fulfilled"]);
  for (const result of results) {
    if (result.status === "rejected") assert.equal((result.reason as MatrixError).errcode, "M_FORBIDDEN");
  }
  const { timeline, state } = await readRoom(await openEngine(db), roomId);
  assert.deepEqual(timeline.slice(-2).map(({ content }) => content["body"]), ["one", "two"]);
  assert.equal(state.has("m.room.name|"), false);
});

testEachDatabase("a transaction id gives the same event to the same device, also after a restart", async (db) => {
  const { engine } = await openEngine(db);
  const roomId = await engine.createRoom(alice, {});
  const other = await engine.createRoom(alice, {});
  const send = (from: typeof engine, requester = alice, room = roomId) =>
    from.sendEvent(requester, { roomId: room, ...message("hello"), txnId: "txn1" });
  const [first, second] = await Promise.all([send(engine), send(engine)]);
  assert.equal(second, first);
  const restarted = await openEngine(db);
  assert.equal(await send(restarted.engine), first);
  const otherDevice = testRequester("alice", { deviceId: "OTHER" as NonNullable<typeof alice.deviceId> });
  assert.notEqual(await send(restarted.engine, otherDevice), first);
  assert.notEqual(await send(restarted.engine, alice, other), first);
});

testEachDatabase("the same state again is the same event; another sender's is not", async (db) => {
  const { engine } = await openEngine(db);
  const roomId = await engine.createRoom(alice, {
    preset: "public_chat",
    powerLevelContentOverride: { state_default: 0, events: {} },
  });
  const name = { roomId, type: "m.room.name", stateKey: "", content: { name: "N" }, txnId: null };
  const first = await engine.sendEvent(alice, name);
  assert.equal(await engine.sendEvent(alice, name), first);
  await engine.join(bob, { roomId });
  assert.notEqual(await engine.sendEvent(bob, name), first);
});

testEachDatabase("joining again changes nothing until the profile does", async (db) => {
  const { engine, profiles, ...parts } = await openEngine(db);
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  const first = await engine.join(bob, { roomId });
  assert.equal(await engine.join(bob, { roomId }), first);
  profiles.set(testUser("bob"), { displayname: "Bob", avatarUrl: "mxc://test.example/b" });
  const second = await engine.join(bob, { roomId });
  assert.notEqual(second, first);
  const { state } = await readRoom({ engine, profiles, ...parts }, roomId);
  assert.deepEqual(state.get(`m.room.member|${bob.userId}`)?.content, {
    membership: "join",
    displayname: "Bob",
    avatar_url: "mxc://test.example/b",
  });
});
