/** `GET /sync` through real HTTP. Spec: client-server API, "Syncing". */
import assert from "node:assert/strict";
import { hasEvent, isInvitedTo, isJoinedTo, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const LAZY = JSON.stringify({ room: { state: { lazy_load_members: true } } });

function bodies(room: Json): string[] {
  return room.timeline.events.map((event: Json) => event.content.body);
}

function stateTypes(room: Json): string[] {
  return room.state.events.map((event: Json) => event.type).sort();
}

async function sendMany(client: TestClient, roomId: string, { count, prefix }: { count: number; prefix: string }) {
  for (let index = 0; index < count; index++) await client.sendText(roomId, `${prefix}${index}`);
}

testEachServer("an initial sync shows joined rooms and an idle incremental one nothing", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "Kitchen" });
  const first = await alice.sync();
  const room = first.rooms.join[roomId];
  assert.equal(room.timeline.events.at(-1).type, "m.room.name");
  assert.equal(room.timeline.events.at(-1).room_id, undefined);
  assert.equal(room.summary["m.joined_member_count"], 1);
  assert.deepEqual(room.unread_notifications, { highlight_count: 0, notification_count: 0 });
  const second = await alice.sync();
  assert.equal(second.rooms, undefined);
  assert.deepEqual(second.device_one_time_keys_count, { signed_curve25519: 0 });
});

testEachServer("a message shows its transaction id to the device that sent it and to no other", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const phone = await alice.anotherDevice("PHONE");
  for (const client of [alice, bob, phone]) await client.sync();
  await alice.put(path`/rooms/${roomId}/send/m.room.message/${"my-txn"}`, { msgtype: "m.text", body: "hi" });
  const seen = async (client: TestClient) => (await client.sync()).rooms.join[roomId].timeline.events[0];
  assert.equal((await seen(alice)).unsigned.transaction_id, "my-txn");
  assert.equal((await seen(phone)).unsigned.transaction_id, undefined);
  const bobs = await seen(bob);
  assert.equal(bobs.unsigned.transaction_id, undefined);
  assert.equal(bobs.unsigned.membership, "join");
  assert.ok(bobs.unsigned.age >= 0);
});

testEachServer("a waiting sync is answered as soon as something happens and not before", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.sync();
  await bob.syncUntil((response) => response.presence === undefined, { timeout: 0 });
  const waiting = bob.sync({ timeout: 15_000 });
  const begin = performance.now();
  await alice.sendText(roomId, "wake up");
  const response = await waiting;
  assert.ok(performance.now() - begin < 5_000);
  assert.deepEqual(bodies(response.rooms.join[roomId]), ["wake up"]);
});

testEachServer("a gap is told by limited, and prev_batch leads to what was left out", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.sync();
  await sendMany(alice, roomId, { count: 4, prefix: "a" });
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "gap" } });
  await sendMany(alice, roomId, { count: 10, prefix: "b" });
  const { rooms } = await bob.sync();
  const room = rooms.join[roomId];
  assert.equal(room.timeline.limited, true);
  assert.deepEqual(bodies(room), Array.from({ length: 10 }, (_, index) => `b${index}`));
  assert.deepEqual(stateTypes(room), ["m.room.topic"]);
  const query = { dir: "b", from: room.timeline.prev_batch, limit: 5 };
  const { chunk } = await bob.get(path`/rooms/${roomId}/messages`, query);
  assert.deepEqual(chunk.map((event: Json) => event.content.body ?? event.type), [
    "m.room.topic",
    "a3",
    "a2",
    "a1",
    "a0",
  ]);
});

testEachServer("use_state_after moves the state to the end of the timeline", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({});
  await alice.sync();
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "new" } });
  const since = alice.since ?? "";
  for (
    const [parameter, key] of [
      ["use_state_after", "state_after"],
      ["org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"],
    ] as const
  ) {
    const room = (await alice.get("/sync", { since, [parameter]: true })).rooms.join[roomId];
    assert.equal(room.state, undefined);
    assert.deepEqual(room[key].events.map((event: Json) => event.content.topic), ["new"]);
    assert.deepEqual(room.timeline.events.map((event: Json) => event.type), ["m.room.topic"]);
  }
  const plain = (await alice.get("/sync", { since })).rooms.join[roomId];
  assert.deepEqual(plain.state.events, []);
  assert.equal(plain.state_after, undefined);
});

testEachServer("lazy loading gives the members who speak, once per device", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "named" });
  await bob.join(roomId);
  await carol.join(roomId);
  await sendMany(bob, roomId, { count: 12, prefix: "x" });
  const members = (response: Json) =>
    response.rooms.join[roomId].state.events.filter((event: Json) => event.type === "m.room.member")
      .map((event: Json) => event.state_key).sort();
  const first = await alice.sync({ filter: LAZY });
  assert.deepEqual(members(first), [alice.userId, bob.userId]);
  await bob.sendText(roomId, "again");
  assert.deepEqual(members(await alice.sync({ filter: LAZY })), []);
  await carol.sendText(roomId, "me too");
  assert.deepEqual(members(await alice.sync({ filter: LAZY })), [carol.userId]);
  const phone = await alice.anotherDevice();
  await phone.sync();
  await bob.sendText(roomId, "hello phone");
  assert.deepEqual(members(await phone.sync({ filter: LAZY })), [bob.userId]);
});

testEachServer("a room that is left is shown up to the leaving, once", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.sync();
  await alice.sendText(roomId, "before");
  await bob.leave(roomId);
  await alice.sendText(roomId, "after");
  const { rooms } = await bob.sync();
  assert.equal(rooms.join, undefined);
  const events = rooms.leave[roomId].timeline.events;
  assert.deepEqual(events.map((event: Json) => event.content.body ?? event.content.membership), ["before", "leave"]);
  assert.equal((await bob.sync()).rooms, undefined);
  bob.since = null;
  assert.equal((await bob.sync()).rooms.leave, undefined);
  bob.since = null;
  const filter = JSON.stringify({ room: { include_leave: true } });
  assert.ok((await bob.sync({ filter })).rooms.leave[roomId]);
  await bob.post(path`/rooms/${roomId}/forget`);
  bob.since = null;
  assert.equal((await bob.sync({ filter })).rooms.leave, undefined);
});

testEachServer("joining again after a time away gives the whole room anew", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.sync();
  await bob.leave(roomId);
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "while away" } });
  await bob.join(roomId);
  const { rooms } = await bob.sync({ filter: JSON.stringify({ room: { timeline: { limit: 1 } } }) });
  assert.equal(rooms.leave, undefined);
  const room = rooms.join[roomId];
  assert.equal(room.timeline.limited, true);
  for (const type of ["m.room.create", "m.room.topic", "m.room.power_levels"]) {
    assert.ok(stateTypes(room).includes(type), type);
  }
});

testEachServer("invitations and knocks come with stripped state, but not from people one ignores", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, mallory] = await hs.register("alice", "bob", "mallory");
  const ignored = { ignored_users: { [mallory.userId]: {} } };
  await bob.put(path`/user/${bob.userId}/account_data/m.ignored_user_list`, ignored);
  await bob.sync();
  await mallory.createRoom({ invite: [bob.userId] });
  const roomId = await alice.createRoom({ name: "Party", invite: [bob.userId] });
  const response = await bob.syncUntil(isInvitedTo(roomId));
  assert.deepEqual(Object.keys(response.rooms.invite), [roomId]);
  const stripped = response.rooms.invite[roomId].invite_state.events;
  const byType = new Map(stripped.map((event: Json) => [`${event.type}|${event.state_key}`, event.content]));
  assert.deepEqual(byType.get("m.room.name|"), { name: "Party" });
  assert.equal((byType.get(`m.room.member|${bob.userId}`) as Json).membership, "invite");
  assert.equal((byType.get(`m.room.member|${alice.userId}`) as Json).membership, "join");
  // The create event comes whole (MSC4311), everything else stripped.
  for (const event of stripped) assert.equal(event.event_id !== undefined, event.type === "m.room.create");
  await bob.leave(roomId);
  const after = await bob.syncUntil((sync) => sync.rooms?.leave?.[roomId] !== undefined);
  assert.deepEqual(after.rooms.leave[roomId].state.events, []);
  const [end] = after.rooms.leave[roomId].timeline.events;
  assert.deepEqual([end.content.membership, end.unsigned.membership], ["leave", "leave"]);
});

testEachServer("messages of ignored users are left out, their state is not", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.put(path`/user/${bob.userId}/account_data/m.ignored_user_list`, { ignored_users: { [alice.userId]: {} } });
  await bob.sync();
  await alice.sendText(roomId, "noise");
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "signal" } });
  const { rooms } = await bob.sync();
  assert.deepEqual(rooms.join[roomId].timeline.events.map((event: Json) => event.type), ["m.room.topic"]);
});

testEachServer("what is ephemeral arrives: typing, receipts and account data", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const eventId = await alice.sendText(roomId, "read me");
  await alice.syncUntil(hasEvent(roomId, eventId));
  await bob.put(path`/rooms/${roomId}/typing/${bob.userId}`, { typing: true, timeout: 20_000 });
  const ephemeral = (type: string) => (response: Json) =>
    (response.rooms?.join?.[roomId]?.ephemeral.events ?? []).some((event: Json) => event.type === type);
  const typing = await alice.syncUntil(ephemeral("m.typing"));
  assert.deepEqual(typing.rooms.join[roomId].timeline.events, []);
  await bob.post(path`/rooms/${roomId}/receipt/m.read/${eventId}`);
  const receipt = await alice.syncUntil(ephemeral("m.receipt"));
  const content = receipt.rooms.join[roomId].ephemeral.events.find((event: Json) => event.type === "m.receipt").content;
  assert.ok(content[eventId]["m.read"][bob.userId].ts > 0);
  await alice.put(path`/user/${alice.userId}/rooms/${roomId}/account_data/org.test`, { a: 1 });
  const data = await alice.syncUntil((response) => response.rooms?.join?.[roomId]?.account_data.events.length > 0);
  assert.deepEqual(data.rooms.join[roomId].account_data.events, [{ type: "org.test", content: { a: 1 } }]);
});

testEachServer("full_state shows all state again and only what is new in the timeline", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "x" });
  await alice.sync();
  const { rooms } = await alice.sync({ full_state: true });
  assert.deepEqual(rooms.join[roomId].timeline.events, []);
  assert.ok(stateTypes(rooms.join[roomId]).includes("m.room.create"));
});

testEachServer("a token and what follows it survive a restart", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({});
  await alice.sync();
  await sendMany(alice, roomId, { count: 3, prefix: "m" });
  const before = await alice.get("/sync", { since: alice.since ?? "" });
  await hs.restart();
  const again = hs.again(alice);
  const after = await again.get("/sync", { since: alice.since ?? "" });
  assert.deepEqual(bodies(after.rooms.join[roomId]), bodies(before.rooms.join[roomId]));
  assert.ok(isJoinedTo(roomId)(after));
});

testEachServer("a large initial sync arrives whole", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({});
  const blob = "ü".repeat(10_000);
  for (let index = 0; index < 50; index++) {
    await alice.setState(roomId, { type: "org.test", stateKey: String(index), content: { blob } });
  }
  const room = (await alice.sync({ filter: JSON.stringify({ room: { timeline: { limit: 1 } } }) })).rooms.join[roomId];
  const found = [...room.state.events, ...room.timeline.events].filter((event: Json) => event.type === "org.test");
  assert.equal(found.length, 50);
  assert.ok(found.every((event: Json) => event.content.blob === blob));
});

testEachServer("lazy loading gives the heroes of a room whose members change", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const since = (await alice.sync()).next_batch;
  await carol.join(roomId);
  const phone = await alice.anotherDevice();
  const room = (await phone.get("/sync", { since, filter: LAZY })).rooms.join[roomId];
  assert.deepEqual(room.summary["m.heroes"], [bob.userId, carol.userId]);
  assert.equal(room.summary["m.joined_member_count"], 3);
  assert.deepEqual(room.state.events.map((event: Json) => event.state_key), [bob.userId]);
});

testEachServer("a server that stops answers those who wait", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await alice.sync();
  await alice.sync();
  const waiting = alice.sync({ timeout: 600_000 });
  await alice.get("/account/whoami");
  const begin = performance.now();
  await hs.restart();
  assert.equal((await waiting).rooms, undefined);
  assert.ok(performance.now() - begin < 4_000);
});

testEachServer("wrong parameters of sync are refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  for (
    const query of [
      { since: "nonsense" },
      { since: "s1_1_2" },
      { timeout: "-5" },
      { full_state: "maybe" },
      { set_presence: "asleep" },
      { filter: "99" },
    ]
  ) {
    await alice.fails("GET", "/sync", { query, status: 400, errcode: "M_INVALID_PARAM" });
  }
  await alice.fails("GET", "/sync", { query: { filter: "{" }, status: 400, errcode: "M_NOT_JSON" });
  const filter = JSON.stringify({ room: { timeline: { limit: "many" } } });
  await alice.fails("GET", "/sync", { query: { filter }, status: 400, errcode: "M_BAD_JSON" });
  await hs.anyone.fails("GET", "/sync", { status: 401, errcode: "M_MISSING_TOKEN" });
});

testEachServer("an initial sync tells who was put out of a room, but not who left", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await carol.join(roomId);
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: bob.userId });
  await carol.leave(roomId);
  const banned: Json = (await bob.sync()).rooms.leave[roomId].timeline.events.at(-1);
  assert.equal(banned.state_key, bob.userId);
  assert.equal(banned.content.membership, "ban");
  assert.equal((await carol.sync()).rooms?.leave?.[roomId], undefined);
  await bob.post(path`/rooms/${roomId}/forget`, {});
  assert.equal((await bob.sync()).rooms?.leave?.[roomId], undefined);
});
