/** Unread counts in sync. Spec: client-server API, "Receiving notifications", "Threaded read receipts". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const BY_THREAD = JSON.stringify({ room: { timeline: { unread_thread_notifications: true } } });

/** What a client newly come to the room sees of it: `[notify, highlight]`. */
async function unread(client: TestClient, roomId: string): Promise<[number, number]> {
  const { rooms } = await client.get("/sync", { timeout: 0 });
  return toPair(rooms.join[roomId].unread_notifications);
}

async function unreadByThread(client: TestClient, roomId: string): Promise<Json> {
  const { rooms } = await client.get("/sync", { timeout: 0, filter: BY_THREAD });
  const room = rooms.join[roomId];
  const threads = Object.entries(room.unread_thread_notifications ?? {});
  return {
    main: toPair(room.unread_notifications),
    ...Object.fromEntries(threads.map(([root, count]) => [root, toPair(count)])),
  };
}

function toPair(count: Json): [number, number] {
  return [count.notification_count, count.highlight_count];
}

async function receipt(
  client: TestClient,
  { roomId, ...event }: { roomId: string; id: string; thread?: string; type?: string },
): Promise<void> {
  const body = event.thread === undefined ? {} : { thread_id: event.thread };
  await client.post(path`/rooms/${roomId}/receipt/${event.type ?? "m.read"}/${event.id}`, body);
}

function inThread(root: string, body: string): { type: string; content: Json } {
  const relation = { rel_type: "m.thread", event_id: root };
  return { type: "m.room.message", content: { msgtype: "m.text", body, "m.relates_to": relation } };
}

async function room(hs: TestServer): Promise<{ alice: TestClient; bob: TestClient; roomId: string }> {
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Room" });
  await alice.sendText(roomId, "before bob came");
  await bob.join(roomId);
  return { alice, bob, roomId };
}

testEachServer("what others say is unread until a receipt, one's own never", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  assert.deepEqual(await unread(bob, roomId), [0, 0]);
  const first = await alice.sendText(roomId, "one");
  await alice.sendText(roomId, "two, bob");
  const mention = { msgtype: "m.text", body: "three", "m.mentions": { user_ids: [bob.userId] } };
  const third = await alice.send(roomId, { type: "m.room.message", content: mention });
  assert.deepEqual(await unread(bob, roomId), [3, 2]);
  assert.deepEqual(await unread(alice, roomId), [0, 0]);
  await bob.sendText(roomId, "hello alice");
  assert.deepEqual(await unread(bob, roomId), [3, 2]);
  assert.deepEqual(await unread(alice, roomId), [1, 1]);
  await receipt(bob, { roomId, id: first });
  assert.deepEqual(await unread(bob, roomId), [2, 2]);
  await receipt(bob, { roomId, id: third, type: "m.read.private" });
  assert.deepEqual(await unread(bob, roomId), [0, 0]);
  // A receipt does not go back.
  await receipt(bob, { roomId, id: first, type: "m.read.private" });
  assert.deepEqual(await unread(bob, roomId), [0, 0]);
  await alice.sendText(roomId, "four");
  assert.deepEqual(await unread(bob, roomId), [1, 0]);
  await hs.restart();
  assert.deepEqual(await unread(hs.again(bob), roomId), [1, 0]);
});

testEachServer("an incremental sync counts what is unread, not what is new", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  await bob.sync();
  await alice.sendText(roomId, "one");
  const count = async () => (await bob.sync()).rooms.join[roomId].unread_notifications;
  assert.deepEqual(await count(), { notification_count: 1, highlight_count: 0 });
  const second = await alice.sendText(roomId, "two");
  assert.deepEqual(await count(), { notification_count: 2, highlight_count: 0 });
  await receipt(bob, { roomId, id: second });
  assert.deepEqual(await count(), { notification_count: 0, highlight_count: 0 });
});

testEachServer("threads are counted apart for those who ask", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  const root = await alice.sendText(roomId, "root");
  const reply = await alice.send(roomId, inThread(root, "reply"));
  const last = await alice.send(roomId, inThread(root, "reply to bob"));
  const main = await alice.sendText(roomId, "main");
  // What relates to an event of the thread is of the thread too.
  const relation = { rel_type: "m.reference", event_id: reply };
  await alice.send(roomId, {
    type: "m.room.message",
    content: { msgtype: "m.text", body: "about the reply", "m.relates_to": relation },
  });
  assert.deepEqual(await unread(bob, roomId), [5, 1]);
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [2, 0], [root]: [3, 1] });
  await receipt(bob, { roomId, id: root, thread: "main" });
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [1, 0], [root]: [3, 1] });
  await receipt(bob, { roomId, id: last, thread: root });
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [1, 0], [root]: [1, 0] });
  await receipt(bob, { roomId, id: main });
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [0, 0], [root]: [1, 0] });
  await alice.send(roomId, inThread(root, "more"));
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [0, 0], [root]: [2, 0] });
});

testEachServer("a redacted event is not unread", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  await alice.sendText(roomId, "stays");
  const mention = { msgtype: "m.text", body: "x", "m.mentions": { user_ids: [bob.userId] } };
  const target = await alice.send(roomId, { type: "m.room.message", content: mention });
  assert.deepEqual(await unread(bob, roomId), [2, 1]);
  await alice.put(path`/rooms/${roomId}/redact/${target}/${"r1"}`);
  assert.deepEqual(await unread(bob, roomId), [1, 0]);
});

testEachServer("a user's own rules decide, from then on", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  await bob.put(path`/pushrules/global/content/${"cake"}`, {
    pattern: "cake",
    actions: ["notify", { set_tweak: "highlight" }],
  });
  await alice.sendText(roomId, "there is Cake");
  assert.deepEqual(await unread(bob, roomId), [1, 1]);
  await bob.put(path`/pushrules/global/room/${roomId}`, { actions: [] });
  await alice.sendText(roomId, "nobody cares");
  assert.deepEqual(await unread(bob, roomId), [1, 1]);
  await bob.put("/pushrules/global/override/.m.rule.master/enabled", { enabled: true });
  await alice.sendText(roomId, "cake for bob");
  assert.deepEqual(await unread(bob, roomId), [1, 1]);
  await bob.put("/pushrules/global/override/.m.rule.master/enabled", { enabled: false });
  await alice.sendText(roomId, "cake again");
  assert.deepEqual(await unread(bob, roomId), [2, 2]);
});

testEachServer("nothing of an ignored user notifies", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  await bob.put(path`/user/${bob.userId}/account_data/m.ignored_user_list`, { ignored_users: { [alice.userId]: {} } });
  await alice.sendText(roomId, "bob!");
  assert.deepEqual(await unread(bob, roomId), [0, 0]);
  await hs.restart();
  const [alice2, bob2] = [hs.again(alice), hs.again(bob)];
  await alice2.sendText(roomId, "bob!");
  assert.deepEqual(await unread(bob2, roomId), [0, 0]);
  await bob2.put(path`/user/${bob.userId}/account_data/m.ignored_user_list`, { ignored_users: {} });
  await alice2.sendText(roomId, "bob!");
  assert.deepEqual(await unread(bob2, roomId), [1, 1]);
});

testEachServer("display names are looked for in texts as they are in the room", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Käse Königin" });
  await hs.parts.accounts.userRooms.settle();
  await alice.sendText(roomId, "dear käse KÖNIGIN, hello");
  assert.deepEqual(await unread(bob, roomId), [1, 1]);
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "王" });
  await hs.parts.accounts.userRooms.settle();
  await alice.sendText(roomId, "Käse Königin is gone");
  await alice.sendText(roomId, "王様");
  assert.deepEqual(await unread(bob, roomId), [3, 2]);
  await hs.restart();
  await hs.again(alice).sendText(roomId, "王 again");
  assert.deepEqual(await unread(hs.again(bob), roomId), [4, 3]);
});

testEachServer("what was said while one was away does not count after coming back", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  const seen = await alice.sendText(roomId, "one");
  await receipt(bob, { roomId, id: seen });
  await bob.leave(roomId);
  await alice.sendText(roomId, "two");
  await bob.join(roomId);
  assert.deepEqual(await unread(bob, roomId), [0, 0]);
  await alice.sendText(roomId, "three");
  assert.deepEqual(await unread(bob, roomId), [1, 0]);
});

testEachServer("encrypted messages count and invitations do not", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  const [carol] = await hs.register("carol");
  await alice.send(roomId, { type: "m.room.encrypted", content: { algorithm: "m.megolm.v1.aes-sha2" } });
  await alice.invite(roomId, carol.userId);
  await carol.join(roomId);
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "quiet" } });
  assert.deepEqual(await unread(bob, roomId), [1, 0]);
  await bob.sync();
  assert.deepEqual(await unread(carol, roomId), [0, 0]);
});

testEachServer("with MSC4306, threads count for those who follow them, and mentions for all", async (database) => {
  const config = { experimental_features: { msc4306_enabled: true } };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  for (const client of [bob, carol]) await client.join(roomId);
  const root = await alice.sendText(roomId, "root");
  for (const client of [bob, carol]) await receipt(client, { roomId, id: root });
  const subscription = path`/rooms/${roomId}/thread/${root}/subscription`;
  await bob.put(`/_matrix/client/unstable/io.element.msc4306${subscription}`, {});
  // A muted room hides no thread that one follows.
  const mute = path`/pushrules/global/room/${roomId}`;
  await bob.put(mute, { actions: [] });
  await alice.send(roomId, inThread(root, "one"));
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [0, 0], [root]: [1, 0] });
  assert.deepEqual(await unreadByThread(carol, roomId), { main: [0, 0] });
  const { type, content } = inThread(root, "two");
  await alice.send(roomId, { type, content: { ...content, "m.mentions": { user_ids: [carol.userId] } } });
  assert.deepEqual(await unreadByThread(bob, roomId), { main: [0, 0], [root]: [2, 0] });
  assert.deepEqual(await unreadByThread(carol, roomId), { main: [0, 0], [root]: [1, 1] });
  await alice.sendText(roomId, "main timeline");
  assert.deepEqual((await unreadByThread(bob, roomId)).main, [0, 0]);
  assert.deepEqual((await unreadByThread(carol, roomId)).main, [1, 0]);
  await bob.delete(`/_matrix/client/unstable/io.element.msc4306${subscription}`);
  await alice.send(roomId, inThread(root, "three"));
  assert.deepEqual((await unreadByThread(bob, roomId))[root], [2, 0]);
  const { global } = await bob.get("/pushrules/");
  const rule = ".io.element.msc4306.rule.unsubscribed_thread";
  assert.equal(global.postcontent[0].rule_id, rule);
  const own = { body: { actions: [], conditions: [] }, status: 400, errcode: "M_INVALID_PARAM" };
  await bob.fails("PUT", "/pushrules/global/postcontent/mine", own);
  // Who does not want the rules switches them off.
  await bob.put(path`/pushrules/global/postcontent/${rule}/enabled`, { enabled: false });
  await bob.delete(mute);
  await alice.send(roomId, inThread(root, "four"));
  assert.deepEqual((await unreadByThread(bob, roomId))[root], [3, 0]);
  await hs.restart({ experimental_features: {} });
  assert.equal((await hs.again(carol).get("/pushrules/")).global.postcontent, undefined);
  await hs.again(carol).fails("GET", path`/pushrules/global/postcontent/${rule}`, {
    status: 404,
    errcode: "M_NOT_FOUND",
  });
});

testEachServer("many rooms are counted at once as each is by itself", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, bob, roomId } = await room(hs);
  const rooms: string[] = [roomId];
  while (rooms.length < 5) {
    const made = await alice.createRoom({ preset: "public_chat" });
    await alice.sendText(made, "before bob came");
    await bob.join(made);
    rooms.push(made);
  }
  const [untouched, read, silent, threaded, own] = rooms as [string, string, string, string, string];
  await alice.sendText(untouched, "one");
  await alice.sendText(untouched, "two, bob");
  const readUpTo = await alice.sendText(read, "read");
  await receipt(bob, { roomId: read, id: readUpTo });
  await alice.sendText(read, "unread");
  await bob.put(path`/pushrules/global/room/${silent}`, { actions: [] });
  await alice.sendText(silent, "nothing");
  const root = await alice.sendText(threaded, "root");
  const reply = await alice.send(threaded, inThread(root, "reply"));
  await alice.send(threaded, inThread(root, "reply to bob"));
  await receipt(bob, { roomId: threaded, id: reply, thread: root });
  await bob.sendText(own, "my own");
  const counts = async (client: TestClient, filter: Json) => {
    const { rooms: { join } } = await client.get("/sync", { timeout: 0, filter: JSON.stringify(filter) });
    return Object.fromEntries(
      Object.entries(join as Json).map(([id, shown]) => {
        const threads = Object.entries((shown as Json).unread_thread_notifications ?? {});
        return [id, [toPair((shown as Json).unread_notifications), threads.map(([id, count]) => [id, toPair(count)])]];
      }),
    );
  };
  const byThread = { unread_thread_notifications: true };
  const expected = {
    [untouched]: [[2, 1], []],
    [read]: [[1, 0], []],
    [silent]: [[0, 0], []],
    [threaded]: [[1, 0], [[root, [1, 1]]]],
    [own]: [[0, 0], []],
  };
  // After a restart nothing is in memory.
  await hs.restart();
  const again = hs.again(bob);
  assert.deepEqual(await counts(again, { room: { timeline: byThread } }), expected);
  await hs.restart();
  const each: Json = {};
  for (const id of rooms) {
    Object.assign(each, await counts(hs.again(bob), { room: { rooms: [id], timeline: byThread } }));
  }
  assert.deepEqual(each, expected);
  await receipt(hs.again(bob), { roomId: untouched, id: await hs.again(alice).sendText(untouched, "three") });
  assert.deepEqual(await counts(hs.again(bob), { room: { timeline: byThread } }), {
    ...expected,
    [untouched]: [[0, 0], []],
  });
});
