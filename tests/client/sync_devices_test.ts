/** What `/sync` tells devices besides rooms. Spec: client-server API, "Extensions to /sync" of several modules. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer(
  "to-device messages come in order, in portions, until a later sync acknowledges them",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    const start = (await bob.get("/sync")).next_batch;
    for (let index = 0; index < 120; index++) {
      const messages = { [bob.userId]: { [bob.deviceId]: { index } } };
      await alice.put(path`/sendToDevice/org.test/${`d${index}`}`, { messages });
    }
    const read = async (since: string) => {
      const { to_device: toDevice, next_batch: next } = await bob.get("/sync", { since });
      return { numbers: (toDevice?.events ?? []).map((event: Json) => event.content.index), next };
    };
    const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);
    const first = await read(start);
    assert.deepEqual(first.numbers, numbers(0, 100));
    // The answer may have been lost: asking again gives the same.
    assert.deepEqual((await read(start)).numbers, numbers(0, 100));
    const second = await read(first.next);
    assert.deepEqual(second.numbers, numbers(100, 120));
    assert.deepEqual((await read(second.next)).numbers, []);
    // What was acknowledged is gone, even for an older token.
    assert.deepEqual((await read(start)).numbers, []);
  },
);

testEachServer("device_lists names people who come, change their keys and go", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const lists = async () => (await alice.sync()).device_lists;
  await alice.sync();
  await bob.join(roomId);
  assert.deepEqual(await lists(), { changed: [bob.userId], left: [] });
  assert.equal(await lists(), undefined);
  const keys = { [`ed25519:${bob.deviceId}`]: "AAAA", [`curve25519:${bob.deviceId}`]: "BBBB" };
  const deviceKeys = {
    user_id: bob.userId,
    device_id: bob.deviceId,
    algorithms: ["m.olm.v1.curve25519-aes-sha2"],
    keys,
    signatures: { [bob.userId]: { [`ed25519:${bob.deviceId}`]: "CCCC" } },
  };
  await bob.post("/keys/upload", { device_keys: deviceKeys });
  assert.deepEqual((await lists()).changed, [bob.userId]);
  await bob.leave(roomId);
  assert.deepEqual(await lists(), { changed: [], left: [bob.userId] });
});

testEachServer("one-time key counts are in every sync of a device", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const key = { key: "AAAA", signatures: { [alice.userId]: { [`ed25519:${alice.deviceId}`]: "BBBB" } } };
  await alice.post("/keys/upload", { one_time_keys: { "signed_curve25519:AAAA": key, "signed_curve25519:AAAB": key } });
  await alice.post("/keys/upload", { fallback_keys: { "signed_curve25519:FFFF": { ...key, fallback: true } } });
  for (const response of [await alice.sync(), await alice.sync()]) {
    assert.deepEqual(response.device_one_time_keys_count, { signed_curve25519: 2 });
    assert.deepEqual(response.device_unused_fallback_key_types, ["signed_curve25519"]);
  }
});

testEachServer("presence of those whose room one joins arrives, and of no strangers", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, eve] = await hs.register("alice", "bob", "eve");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await alice.sync();
  await eve.sync();
  await bob.sync();
  await bob.join(roomId);
  const response = await bob.syncUntil((sync) =>
    (sync.presence?.events ?? []).some((event: Json) => event.sender === alice.userId)
  );
  assert.equal(response.presence.events.some((event: Json) => event.sender === eve.userId), false);
  const event = response.presence.events.find((found: Json) => found.sender === alice.userId);
  assert.deepEqual([event.type, event.content.presence], ["m.presence", "online"]);
  const filter = JSON.stringify({ presence: { types: [] } });
  assert.equal((await bob.get("/sync", { filter })).presence, undefined);
});

testEachServer("unread counts rise with messages and fall with receipts, by thread if asked", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const root = await alice.sendText(roomId, "one");
  const relation = { rel_type: "m.thread", event_id: root };
  const content = { msgtype: "m.text", body: "in a thread", "m.relates_to": relation };
  await alice.send(roomId, { type: "m.room.message", content });
  const last = await alice.sendText(roomId, "two");
  const filter = JSON.stringify({ room: { timeline: { unread_thread_notifications: true } } });
  const counts = async (query = {}) => (await bob.get("/sync", query)).rooms.join[roomId];
  const together = await counts();
  assert.deepEqual(together.unread_notifications, { highlight_count: 0, notification_count: 3 });
  assert.equal(together.unread_thread_notifications, undefined);
  const apart = await counts({ filter });
  assert.equal(apart.unread_notifications.notification_count, 2);
  assert.deepEqual(apart.unread_thread_notifications, { [root]: { highlight_count: 0, notification_count: 1 } });
  await bob.post(path`/rooms/${roomId}/receipt/m.read/${last}`);
  assert.equal((await counts({ filter })).unread_notifications.notification_count, 0);
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Robert" });
  await alice.sendText(roomId, "three");
  assert.equal((await counts()).unread_notifications.notification_count, 1);
});
