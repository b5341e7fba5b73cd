import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("GET /notifications lists what notified, newest first, and what was read", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.push(await bob.sendText(roomId, `message ${n}`));
  await alice.sendText(roomId, "my own");
  await alice.post(path`/rooms/${roomId}/receipt/m.read/${ids[1] ?? ""}`);
  const { notifications } = await alice.get("/notifications");
  const messages = notifications.filter(({ event }: Json) => event.type === "m.room.message");
  assert.deepEqual(messages.map(({ event }: Json) => event.event_id), [...ids].reverse());
  assert.deepEqual(messages.map(({ read }: Json) => read), [false, true, true]);
  assert.deepEqual([messages[0].room_id, typeof messages[0].ts], [roomId, "number"]);
  assert.ok(messages[0].actions.includes("notify"));
  const first = await alice.get("/notifications", { limit: 1 });
  assert.equal(first.notifications[0].event.event_id, ids[2]);
  const second = await alice.get("/notifications", { limit: 1, from: first.next_token });
  assert.equal(second.notifications[0].event.event_id, ids[1]);
  const highlighted = await bob.send(roomId, {
    type: "m.room.message",
    content: { msgtype: "m.text", body: "hey", "m.mentions": { user_ids: [alice.userId] } },
  });
  const only = await alice.get("/notifications", { only: "highlight" });
  assert.deepEqual(only.notifications.map(({ event }: Json) => event.event_id), [highlighted]);
  await alice.fails("GET", "/notifications?from=x", { status: 400, errcode: "M_INVALID_PARAM" });
  await alice.fails("GET", "/notifications?limit=0", { status: 400, errcode: "M_INVALID_PARAM" });
  await hs.anyone.fails("GET", "/notifications", { status: 401, errcode: "M_MISSING_TOKEN" });
});

testEachServer("GET /notifications tells nothing of before one came", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await bob.createRoom({ preset: "public_chat" });
  const carols = (await hs.register("carol"))[0];
  await carols.join(roomId);
  const before = await bob.sendText(roomId, "before alice");
  await alice.join(roomId);
  const after = await bob.sendText(roomId, "after");
  // A new name is no new arrival.
  await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Other" });
  await hs.parts.accounts.userRooms.settle();
  const ids = (page: Json) => page.notifications.map(({ event }: Json) => event.event_id);
  assert.deepEqual(ids(await alice.get("/notifications")), [after]);
  assert.deepEqual(ids(await alice.get("/notifications", { limit: 1 })), [after]);
  assert.deepEqual(ids(await carols.get("/notifications")), [after, before]);
});

testEachServer("what nobody looked at for half a year is forgotten, and nothing newer", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const unread = async () => (await bob.get("/sync", { timeout: 0 })).rooms.join[roomId].unread_notifications;
  const listed = async () => {
    const { notifications } = await bob.get("/notifications");
    return notifications.map(({ event }: Json) => event.content.body);
  };
  await alice.sendText(roomId, "old");
  const mention = { msgtype: "m.text", body: "old for bob", "m.mentions": { user_ids: [bob.userId] } };
  await alice.send(roomId, { type: "m.room.message", content: mention });
  clock.advance(100 * 86_400_000);
  await alice.sendText(roomId, "newer");
  assert.deepEqual(await listed(), ["newer", "old for bob", "old"]);
  await hs.parts.push.prune(clock.now() - 180 * 86_400_000);
  assert.deepEqual(await unread(), { notification_count: 3, highlight_count: 1 });
  clock.advance(100 * 86_400_000);
  await hs.parts.push.prune(clock.now() - 180 * 86_400_000);
  assert.deepEqual(await listed(), ["newer"]);
  assert.deepEqual(await unread(), { notification_count: 1, highlight_count: 0 });
});
