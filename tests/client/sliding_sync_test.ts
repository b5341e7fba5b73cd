/** Sliding sync through real HTTP: rooms and connections. Spec: MSC4186. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { allRooms, bodies, SLIDING_SYNC, SlidingClient, stateOf } from "../harness/sliding.ts";

async function sendMany(client: TestClient, roomId: string, { count, prefix }: { count: number; prefix: string }) {
  for (let index = 0; index < count; index++) await client.sendText(roomId, `${prefix}${index}`);
}

function subscribe(roomId: string, { limit = 10, state = [] }: { limit?: number; state?: Json } = {}): Json {
  return { room_subscriptions: { [roomId]: { timeline_limit: limit, required_state: state } } };
}

testEachServer("the first window shows the rooms of late, the next requests what is new", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const old = await alice.createRoom({ name: "Old" });
  const roomId = await alice.createRoom({ preset: "public_chat", topic: "t" });
  await bob.join(roomId);
  await bob.sendText(roomId, "hi");
  const sliding = new SlidingClient(alice);
  const body = allRooms({ to: 0, limit: 2, state: [["m.room.create", ""], ["m.room.member", "$ME"]] });
  const first = await sliding.sync(body);
  assert.equal(first.lists.all.count, 2);
  assert.deepEqual(first.lists.all.ops, [{ op: "SYNC", range: [0, 0], room_ids: [roomId] }]);
  assert.deepEqual(Object.keys(first.rooms), [roomId]);
  const room = first.rooms[roomId];
  assert.equal(room.initial, true);
  assert.equal(room.membership, "join");
  assert.deepEqual(room.lists, ["all"]);
  assert.equal(room.timeline.length, 2);
  assert.equal(room.limited, true);
  assert.equal(room.num_live, 0);
  assert.equal(room.timeline[0].room_id, undefined);
  assert.deepEqual(stateOf(room), ["m.room.create|", `m.room.member|${alice.userId}`]);
  assert.deepEqual(room.heroes, [{ user_id: bob.userId, displayname: "bob" }]);
  assert.equal(room.name, undefined);
  assert.deepEqual([room.joined_count, room.invited_count, room.notification_count], [2, 0, 1]);
  assert.deepEqual((await sliding.sync(body)).rooms, {});

  await bob.sendText(roomId, "again");
  const next = (await sliding.sync(body)).rooms[roomId];
  assert.deepEqual(bodies(next), ["again"]);
  assert.equal(next.initial, undefined);
  assert.equal(next.limited, false);
  assert.equal(next.num_live, 1);
  assert.equal(next.required_state, undefined);
  assert.equal(next.joined_count, undefined);
  assert.ok(next.bump_stamp > room.bump_stamp);

  const wider = await sliding.sync(allRooms({ limit: 2 }));
  assert.deepEqual(Object.keys(wider.rooms), [old]);
  assert.equal(wider.rooms[old].name, "Old");
  assert.equal(wider.rooms[old].heroes, undefined);
});

testEachServer("prev_batch and pos lead on in the room's history", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await sendMany(alice, roomId, { count: 5, prefix: "m" });
  const sliding = new SlidingClient(alice);
  const { rooms } = await sliding.sync(allRooms({ limit: 2 }));
  assert.deepEqual(bodies(rooms[roomId]), ["m3", "m4"]);
  const messages = (from: string) => alice.get(path`/rooms/${roomId}/messages`, { dir: "b", from, limit: 2 });
  const seen = async (from: string) => (await messages(from)).chunk.map((event: Json) => event.content.body);
  assert.deepEqual(await seen(rooms[roomId].prev_batch), ["m2", "m1"]);
  assert.deepEqual(await seen(sliding.pos ?? ""), ["m4", "m3"]);
});

testEachServer("a waiting request is answered as soon as something happens", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const sliding = new SlidingClient(bob);
  await sliding.sync(allRooms());
  const begin = performance.now();
  const waiting = sliding.sync(allRooms(), { timeout: 15_000 });
  await alice.sendText(roomId, "wake up");
  assert.deepEqual(bodies((await waiting).rooms[roomId]), ["wake up"]);
  assert.ok(performance.now() - begin < 5_000);
  const idle = await sliding.sync(allRooms(), { timeout: 50 });
  assert.deepEqual(idle.rooms, {});
});

testEachServer("a room that falls out of the window catches up when it is back", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const first = await alice.createRoom({ name: "First" });
  const second = await alice.createRoom({ name: "Second" });
  const sliding = new SlidingClient(alice);
  await sliding.sync(allRooms());
  await sliding.sync(subscribe(second));
  await alice.sendText(first, "unseen 1");
  await alice.setState(first, { type: "m.room.topic", content: { topic: "unseen" } });
  assert.deepEqual((await sliding.sync(subscribe(second))).rooms, {});
  await alice.sendText(first, "unseen 2");
  assert.deepEqual((await sliding.sync(subscribe(second))).rooms, {});
  await hs.restart();
  sliding.client = hs.again(alice);
  const { rooms } = await sliding.sync(allRooms({ state: [["m.room.topic", ""]] }));
  assert.deepEqual(bodies(rooms[first]), ["unseen 1", "unseen 2"]);
  assert.equal(rooms[first].initial, undefined);
  assert.equal(rooms[first].num_live, 0);
  assert.deepEqual(stateOf(rooms[first]), ["m.room.topic|"]);
  assert.equal(rooms[second], undefined);
});

testEachServer("a lost response is given again, and only the position in hand goes on", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const sliding = new SlidingClient(alice);
  await sliding.sync(subscribe("!none:hs.test"));
  const body = subscribe(roomId, { state: [["m.room.member", "$LAZY"]] });
  const lost = await sliding.peek(body);
  assert.equal(lost.rooms[roomId].initial, true);
  const again = await sliding.peek(body);
  assert.equal(again.rooms[roomId].initial, true);
  assert.deepEqual(bodies(again.rooms[roomId]), bodies(lost.rooms[roomId]));
  assert.deepEqual(stateOf(again.rooms[roomId]), stateOf(lost.rooms[roomId]));
  const before = sliding.pos;
  await sliding.sync(body);
  await bob.sendText(roomId, "x");
  await hs.restart();
  sliding.client = hs.again(alice);
  assert.deepEqual(bodies((await sliding.sync(body)).rooms[roomId]), ["x"]);
  const abandoned = { body, query: { pos: lost.pos }, status: 400, errcode: "M_UNKNOWN_POS" };
  await sliding.client.fails("POST", SLIDING_SYNC, abandoned);
  assert.notEqual(before, sliding.pos);
});

testEachServer("positions belong to a user, a device and a connection", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.createRoom();
  const sliding = new SlidingClient(alice);
  await sliding.sync(allRooms());
  const phone = await alice.anotherDevice("PHONE");
  const query = { pos: sliding.pos ?? "" };
  const unknown = { query, status: 400, errcode: "M_UNKNOWN_POS" };
  await bob.fails("POST", SLIDING_SYNC, { ...unknown, body: allRooms() });
  await phone.fails("POST", SLIDING_SYNC, { ...unknown, body: allRooms() });
  await alice.fails("POST", SLIDING_SYNC, { ...unknown, body: { ...allRooms(), conn_id: "other" } });
  const other = new SlidingClient(alice);
  assert.equal(Object.keys((await other.sync({ ...allRooms(), conn_id: "other" })).rooms).length, 1);
  assert.deepEqual((await sliding.sync(allRooms())).rooms, {});
  // A new connection of the same name ends the old one.
  await new SlidingClient(alice).sync(allRooms());
  await alice.fails("POST", SLIDING_SYNC, { ...unknown, query: { pos: sliding.pos ?? "" }, body: allRooms() });
  for (const pos of ["s1_0", "w1_x_1_0", "x".repeat(2_000)]) {
    await alice.fails("POST", SLIDING_SYNC, { ...unknown, query: { pos }, body: allRooms() });
  }
});

testEachServer("requests that begin the same connection at once do no harm", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await alice.createRoom();
  const begun = await Promise.all(Array.from({ length: 10 }, () => new SlidingClient(alice).sync(allRooms())));
  const answers = await Promise.all(
    begun.map(({ pos }) => alice.request("POST", SLIDING_SYNC, { body: allRooms(), query: { pos } })),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array.from({ length: 9 }, () => 400)]);
});

testEachServer("a connection that was not used for a week is gone", async (database) => {
  let shift = 0;
  const clock = {
    now: () => Date.now() + shift,
    monotonic: () => performance.now(),
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        if (signal?.aborted) return resolve();
        const timer = setTimeout(resolve, ms);
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
  await using hs = await TestServer.start({ database, clock });
  const [alice] = await hs.register("alice");
  await alice.createRoom();
  const sliding = new SlidingClient(alice);
  await sliding.sync(allRooms());
  shift += 6 * 86_400_000;
  await sliding.sync(allRooms());
  shift += 6 * 86_400_000;
  await sliding.sync(allRooms());
  shift += 8 * 86_400_000;
  const expected = { body: allRooms(), query: { pos: sliding.pos ?? "" }, status: 400, errcode: "M_UNKNOWN_POS" };
  await alice.fails("POST", SLIDING_SYNC, expected);
});

testEachServer("timelines grow with their limit, once", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await sendMany(alice, roomId, { count: 6, prefix: "m" });
  const sliding = new SlidingClient(alice);
  assert.deepEqual(bodies((await sliding.sync(allRooms({ limit: 1 }))).rooms[roomId]), ["m5"]);
  const grown = (await sliding.sync(allRooms({ limit: 3 }))).rooms[roomId];
  assert.deepEqual(bodies(grown), ["m3", "m4", "m5"]);
  assert.equal(grown.expanded_timeline, true);
  assert.equal(grown.unstable_expanded_timeline, true);
  assert.equal(grown.initial, undefined);
  assert.equal(grown.num_live, 0);
  assert.deepEqual((await sliding.sync(allRooms({ limit: 3 }))).rooms, {});
  await alice.sendText(roomId, "m6");
  const live = (await sliding.sync(allRooms({ limit: 1 }))).rooms[roomId];
  assert.deepEqual(bodies(live), ["m6"]);
  assert.deepEqual((await sliding.sync(allRooms({ limit: 3 }))).rooms, {});
  await sendMany(alice, roomId, { count: 2, prefix: "n" });
  const gap = (await sliding.sync(allRooms({ limit: 1 }))).rooms[roomId];
  assert.deepEqual([bodies(gap), gap.limited], [["n1"], true]);
  assert.deepEqual(bodies((await sliding.sync(allRooms({ limit: 3 }))).rooms[roomId]), ["m6", "n0", "n1"]);
});

testEachServer("required state: patterns, growth, changes, and shrinking", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "N", topic: "T" });
  await alice.setState(roomId, { type: "org.x", stateKey: "a", content: { v: 1 } });
  await alice.setState(roomId, { type: "org.x", stateKey: "b", content: { v: 1 } });
  const sliding = new SlidingClient(alice);
  const ask = async (...state: [string, string][]) => (await sliding.sync(allRooms({ state }))).rooms[roomId];
  assert.deepEqual(stateOf(await ask(["org.x", "a"], ["m.room.none", ""])), ["org.x|a"]);
  assert.deepEqual(stateOf(await ask(["org.x", "*"])), ["org.x|b"]);
  assert.deepEqual(stateOf(await ask(["org.x", "*"], ["m.room.name", ""])), ["m.room.name|"]);
  assert.equal(await ask(["m.room.name", ""]), undefined);
  // It was told once and did not change: nothing to say again.
  assert.equal(await ask(["org.x", "*"]), undefined);
  await alice.setState(roomId, { type: "org.x", stateKey: "b", content: { v: 2 } });
  assert.deepEqual(stateOf(await ask(["m.room.name", ""])), []);
  assert.deepEqual(stateOf(await ask(["m.room.name", ""], ["org.x", "*"])), ["org.x|a", "org.x|b"]);
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "T2" } });
  assert.deepEqual(stateOf(await ask(["*", "*"])).filter((key) => key.startsWith("m.room.topic")), ["m.room.topic|"]);
  const everything = await new SlidingClient(alice).sync({ ...allRooms({ state: [["*", "*"]] }), conn_id: "2" });
  assert.ok(stateOf(everything.rooms[roomId]).includes(`m.room.member|${alice.userId}`));
  const byKey = await new SlidingClient(alice).sync({ ...allRooms({ state: [["*", "a"]] }), conn_id: "3" });
  assert.deepEqual(stateOf(byKey.rooms[roomId]), ["org.x|a"]);
});

testEachServer("lazy members: senders and subjects of what is shown, each once", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await carol.join(roomId);
  await bob.sendText(roomId, "b");
  await alice.sendText(roomId, "a");
  const sliding = new SlidingClient(alice);
  const ask = async (limit = 2) =>
    (await sliding.sync(allRooms({ limit, state: [["m.room.member", "$LAZY"], ["*", "*"]] }))).rooms[roomId];
  const members = (room: Json) => stateOf(room).filter((key) => key.startsWith("m.room.member"));
  const all = await ask();
  assert.deepEqual(members(all), [`m.room.member|${alice.userId}`, `m.room.member|${bob.userId}`]);
  assert.ok(stateOf(all).includes("m.room.power_levels|"));
  await bob.sendText(roomId, "b2");
  await carol.sendText(roomId, "c");
  assert.deepEqual(members(await ask()), [`m.room.member|${carol.userId}`]);
  const content = { membership: "join", displayname: "Caz" };
  await carol.setState(roomId, { type: "m.room.member", stateKey: carol.userId, content });
  const renamed = await ask();
  assert.deepEqual(members(renamed), [`m.room.member|${carol.userId}`]);
  assert.equal(renamed.required_state[0].content.displayname, "Caz");
  await carol.sendText(roomId, "c2");
  assert.deepEqual(members(await ask()), []);
});

testEachServer("names, avatars and counts are told when they change", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const sliding = new SlidingClient(alice);
  await sliding.sync(allRooms());
  const ask = async () => (await sliding.sync(allRooms())).rooms[roomId];
  await alice.setState(roomId, { type: "m.room.name", content: { name: "New" } });
  await alice.setState(roomId, { type: "m.room.avatar", content: { url: "mxc://hs.test/a" } });
  const named = await ask();
  assert.deepEqual([named.name, named.avatar], ["New", "mxc://hs.test/a"]);
  const bump = named.bump_stamp;
  await bob.join(roomId);
  const joined = await ask();
  assert.deepEqual([joined.joined_count, joined.name, joined.bump_stamp], [2, undefined, bump]);
  await alice.setState(roomId, { type: "m.room.name", content: {} });
  const unnamed = await ask();
  assert.equal(unnamed.name, null);
  assert.deepEqual(unnamed.heroes.map((hero: Json) => hero.user_id), [bob.userId]);
});

testEachServer("the stable path takes the form of the proposal", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "N", topic: "T" });
  const required = { include: [{}], exclude: [{ type: "m.room.create" }], lazy_members: true };
  const list = { range: [0, 5], timeline_limit: 1, required_state: required, filters: { is_invited: false } };
  const body: Json = { conn_id: "main", timeout: 0, set_presence: "offline", lists: { a: list } };
  const first = await alice.post("/_matrix/client/v4/sync", body);
  const state = stateOf(first.rooms[roomId]);
  assert.ok(state.includes("m.room.topic|") && !state.includes("m.room.create|"));
  assert.ok(state.includes(`m.room.member|${alice.userId}`));
  await alice.sendText(roomId, "x");
  const next = await alice.post("/_matrix/client/v4/sync", { ...body, pos: first.pos });
  assert.deepEqual(bodies(next.rooms[roomId]), ["x"]);
  const bad = { status: 400, errcode: "M_INVALID_PARAM", body: { ...body, set_presence: "away" } };
  await alice.fails("POST", "/_matrix/client/v4/sync", bad);
  const { unstable_features: features } = await alice.get("/_matrix/client/versions");
  assert.equal(features["org.matrix.simplified_msc3575"], true);
});
