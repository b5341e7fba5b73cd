/** The extensions of sliding sync through real HTTP. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { allRooms, SLIDING_SYNC, SlidingClient } from "../harness/sliding.ts";

const on = { enabled: true };

function only(roomId: string, extensions: Json): Json {
  return { room_subscriptions: { [roomId]: { timeline_limit: 5, required_state: [] } }, extensions };
}

async function read(client: TestClient, { roomId, eventId }: { roomId: string; eventId: string }): Promise<void> {
  await client.post(path`/rooms/${roomId}/receipt/m.read/${eventId}`);
}

async function type(client: TestClient, { roomId, typing }: { roomId: string; typing: boolean }): Promise<void> {
  await client.put(path`/rooms/${roomId}/typing/${client.userId}`, { typing, timeout: 60_000 });
}

testEachServer("messages to a device wait until their token comes back", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const sliding = new SlidingClient(alice);
  const ask = async (since?: string, limit?: number) =>
    (await sliding.sync({
      extensions: { to_device: { ...on, ...(since ? { since } : {}), ...(limit ? { limit } : {}) } },
    }))
      .extensions.to_device;
  const empty = await ask();
  assert.deepEqual(empty.events, []);
  const send = (txn: string) =>
    bob.put(path`/sendToDevice/org.test/${txn}`, { messages: { [alice.userId]: { [alice.deviceId]: { n: txn } } } });
  const waiting = sliding.sync({ extensions: { to_device: { ...on, since: empty.next_batch } } }, { timeout: 10_000 });
  await send("1");
  const first = (await waiting).extensions.to_device;
  assert.deepEqual(first.events, [{ type: "org.test", sender: bob.userId, content: { n: "1" } }]);
  await send("2");
  await send("3");
  const names = (part: Json) => part.events.map((event: Json) => event.content.n);
  assert.deepEqual(names(await ask(empty.next_batch)), ["1", "2", "3"]);
  const limited = await ask(first.next_batch, 1);
  assert.deepEqual(names(limited), ["2"]);
  assert.deepEqual(names(await ask(limited.next_batch)), ["3"]);
  assert.deepEqual(names(await ask()), ["3"]);
});

testEachServer("e2ee tells of key counts always, of devices when they change", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const sliding = new SlidingClient(alice);
  const body = { ...allRooms(), extensions: { e2ee: on } };
  const first = (await sliding.sync(body)).extensions.e2ee;
  assert.deepEqual(first.device_one_time_keys_count, { signed_curve25519: 0 });
  assert.deepEqual(first.device_unused_fallback_key_types, []);
  assert.equal(first.device_lists, undefined);
  const waiting = sliding.sync(body, { timeout: 10_000 });
  await bob.post("/keys/upload", {
    device_keys: {
      user_id: bob.userId,
      device_id: bob.deviceId,
      algorithms: ["m.olm.v1.curve25519-aes-sha2"],
      keys: { [`ed25519:${bob.deviceId}`]: "a", [`curve25519:${bob.deviceId}`]: "b" },
      signatures: { [bob.userId]: { [`ed25519:${bob.deviceId}`]: "c" } },
    },
  });
  assert.deepEqual((await waiting).extensions.e2ee.device_lists.changed, [bob.userId]);
});

testEachServer("account data: all at first, changes later, and none missed while out of sight", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const [one, two] = [await alice.createRoom(), await alice.createRoom()];
  const set = (roomId: string, n: number) =>
    alice.put(path`/user/${alice.userId}/rooms/${roomId}/account_data/org.room`, { n });
  await alice.put(path`/user/${alice.userId}/account_data/org.global`, { n: 1 });
  await set(one, 1);
  await set(two, 1);
  const sliding = new SlidingClient(alice);
  const ask = async (roomId: string) =>
    (await sliding.sync(only(roomId, { account_data: on }))).extensions.account_data;
  const first = await ask(one);
  assert.deepEqual(first.global.map((event: Json) => event.type).sort(), ["m.push_rules", "org.global"]);
  assert.deepEqual(first.rooms, { [one]: [{ type: "org.room", content: { n: 1 } }] });
  assert.equal(await ask(one), undefined);
  await set(one, 2);
  await set(two, 2);
  assert.deepEqual((await ask(two)).rooms, { [two]: [{ type: "org.room", content: { n: 2 } }] });
  assert.deepEqual((await ask(one)).rooms, { [one]: [{ type: "org.room", content: { n: 2 } }] });
  await alice.put(path`/user/${alice.userId}/account_data/org.global`, { n: 2 });
  const changed = await ask(one);
  assert.deepEqual(changed, { global: [{ type: "org.global", content: { n: 2 } }], rooms: {} });
});

testEachServer("a room that becomes a direct chat is told", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const sliding = new SlidingClient(alice);
  assert.equal((await sliding.sync(allRooms())).rooms[roomId].is_dm, undefined);
  await alice.put(path`/user/${alice.userId}/account_data/m.direct`, { [bob.userId]: [roomId] });
  assert.equal((await sliding.sync(allRooms())).rooms[roomId].is_dm, true);
  assert.deepEqual((await sliding.sync(allRooms())).rooms, {});
  await alice.put(path`/user/${alice.userId}/account_data/m.direct`, {});
  assert.equal((await sliding.sync(allRooms())).rooms[roomId].is_dm, false);
});

testEachServer("receipts: of what is shown at first, then as they come, also for what was missed", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const [one, two] = [await alice.createRoom({ preset: "public_chat" }), await alice.createRoom()];
  await bob.join(one);
  await carol.join(one);
  const old = await alice.sendText(one, "old");
  await read(carol, { roomId: one, eventId: old });
  for (let index = 0; index < 6; index++) await alice.sendText(one, `m${index}`);
  const last = await alice.sendText(one, "last");
  await read(bob, { roomId: one, eventId: last });
  await read(alice, { roomId: one, eventId: old });
  const sliding = new SlidingClient(alice);
  const ask = async (roomId: string) => {
    const { extensions } = await sliding.sync(only(roomId, { receipts: on }));
    const content: Json = extensions.receipts?.rooms[one]?.content ?? {};
    return Object.fromEntries(
      Object.entries(content).map(([id, types]) => [id, Object.keys((types as Json)["m.read"])]),
    );
  };
  assert.deepEqual(await ask(one), { [last]: [bob.userId], [old]: [alice.userId] });
  assert.deepEqual(await ask(one), {});
  await read(carol, { roomId: one, eventId: last });
  assert.deepEqual(await ask(one), { [last]: [carol.userId] });
  await read(alice, { roomId: one, eventId: last });
  assert.deepEqual(await ask(two), {});
  assert.deepEqual(await ask(two), {});
  await hs.restart();
  sliding.client = hs.again(alice);
  assert.deepEqual(await ask(one), { [last]: [alice.userId] });
  assert.deepEqual(await ask(one), {});
});

testEachServer("typing: who does when a room comes into sight, then changes", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await type(bob, { roomId, typing: true });
  const sliding = new SlidingClient(alice);
  const body = { ...allRooms(), extensions: { typing: on } };
  const typing = (response: Json) => response.extensions.typing?.rooms[roomId]?.content.user_ids;
  assert.deepEqual(typing(await sliding.sync(body)), [bob.userId]);
  assert.equal(typing(await sliding.sync(body)), undefined);
  const waiting = sliding.sync(body, { timeout: 10_000 });
  await type(bob, { roomId, typing: false });
  assert.deepEqual(typing(await waiting), []);
  await type(bob, { roomId, typing: true });
  const none = { ...allRooms(), extensions: { typing: { ...on, lists: ["other"], rooms: [] } } };
  assert.equal(typing(await sliding.sync(none)), undefined);
});

testEachServer("subscriptions to threads", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const root = await alice.sendText(roomId, "root");
  const other = await alice.sendText(roomId, "other");
  const subscription = (id: string) =>
    path`/_matrix/client/unstable/io.element.msc4306/rooms/${roomId}/thread/${id}/subscription`;
  const sliding = new SlidingClient(alice);
  const name = "io.element.msc4308.thread_subscriptions";
  const ask = async (timeout = 0) =>
    (await sliding.sync({ extensions: { [name]: { ...on, limit: 1 } } }, { timeout })).extensions[name];
  assert.equal(await ask(), undefined);
  const waiting = ask(10_000);
  await alice.put(subscription(root), {});
  const found = (await waiting).subscribed[roomId][root];
  assert.equal(found.automatic, false);
  assert.equal(typeof found.bump_stamp, "number");
  await alice.ok("DELETE", subscription(root));
  await alice.put(subscription(other), {});
  const both = await ask();
  assert.deepEqual(Object.keys(both.subscribed[roomId]), [other]);
  assert.equal(typeof both.prev_batch, "string");
  const { unsubscribed } = await alice.get("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", {
    dir: "b",
    from: both.prev_batch,
  });
  assert.deepEqual(Object.keys(unsubscribed[roomId]), [root]);
});

testEachServer("extensions tell of the lists and rooms they are asked for", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const dm = await alice.createRoom({ invite: [bob.userId] });
  const other = await alice.createRoom({ invite: [bob.userId] });
  const subscribed = await alice.createRoom({ invite: [bob.userId] });
  await alice.put(path`/user/${alice.userId}/account_data/m.direct`, { [bob.userId]: [dm] });
  for (const roomId of [dm, other, subscribed]) {
    await bob.join(roomId);
    await alice.put(path`/user/${alice.userId}/rooms/${roomId}/account_data/m.test`, { in: roomId });
    await read(bob, { roomId, eventId: await alice.sendText(roomId, "read me") });
    await type(bob, { roomId, typing: true });
  }
  const list = { ranges: [[0, 9]], timeline_limit: 5, required_state: [] };
  const body = {
    lists: {
      direct: { ...list, filters: { is_dm: true } },
      others: { ...list, ranges: [[1, 1]], filters: { is_dm: false } },
    },
    room_subscriptions: { [subscribed]: { timeline_limit: 5, required_state: [] } },
  };
  const cases: [Json, string[]][] = [
    [{}, [dm, other, subscribed]],
    [{ lists: ["*"], rooms: ["*"] }, [dm, other, subscribed]],
    [{ lists: ["direct"], rooms: [] }, [dm]],
    [{ lists: ["others", "unknown"], rooms: [] }, [other]],
    [{ lists: [], rooms: [subscribed, other] }, [subscribed]],
    [{ lists: ["direct"], rooms: ["!unknown:hs.test"] }, [dm]],
    [{ lists: [] }, [subscribed]],
    [{ rooms: [] }, [dm, other]],
    [{ lists: [], rooms: [] }, []],
  ];
  for (const [scope, expected] of cases) {
    const asked = { ...on, ...scope };
    const extensions = { account_data: asked, receipts: asked, typing: asked };
    const response = await new SlidingClient(alice).sync({ ...body, extensions });
    for (const name of ["account_data", "receipts", "typing"]) {
      const rooms = Object.keys(response.extensions[name]?.rooms ?? {});
      assert.deepEqual(rooms.sort(), expected.toSorted(), `${name} ${JSON.stringify(scope)}`);
    }
  }
});

testEachServer("extensions that are not known or not enabled are left out", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const extensions = { "org.example": on, typing: { enabled: false }, to_device: {}, e2ee: null };
  const response = await alice.ok("POST", SLIDING_SYNC, { body: { extensions } });
  assert.deepEqual(response.extensions, {});
});
