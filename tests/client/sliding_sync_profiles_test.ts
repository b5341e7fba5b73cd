/** The profile extension of sliding sync (MSC4262) through real HTTP. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { allRooms, SLIDING_SYNC, SlidingClient } from "../harness/sliding.ts";

const NAME = "org.matrix.msc4262.profiles";
const LAZY = [["m.room.member", "$LAZY"]] as const;

function asking(body: Json, profiles: Json = {}): { extensions: Json } {
  return { ...body, extensions: { [NAME]: { enabled: true, ...profiles } } };
}

async function users(
  sliding: SlidingClient,
  { timeout = 0, ...body }: { timeout?: number; lists?: Json; room_subscriptions?: Json; extensions: Json },
): Promise<Json> {
  return (await sliding.sync(body, { timeout })).extensions[NAME]?.users;
}

async function set(client: TestClient, fields: Readonly<Record<string, Json>>): Promise<void> {
  for (const [key, value] of Object.entries(fields)) {
    await client.put(path`/profile/${client.userId}/${key}`, { [key]: value });
  }
}

testEachServer("profiles of all members at first, then what changes, and nothing twice", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await set(bob, { "org.test.mood": { level: 1 } });
  const sliding = new SlidingClient(alice);
  const body = asking(allRooms());
  const first = await sliding.peek(body);
  const all = {
    [alice.userId]: { updated: { displayname: "alice" } },
    [bob.userId]: { updated: { displayname: "bob", "org.test.mood": { level: 1 } } },
  };
  assert.deepEqual(first.extensions[NAME].users, all);
  assert.deepEqual(await users(sliding, body), all, "an answer that got lost is given again");
  assert.equal(await users(sliding, body), undefined);

  const waiting = users(sliding, { ...body, timeout: 20_000 });
  await set(bob, { "org.test.mood": null });
  assert.deepEqual(await waiting, { [bob.userId]: { updated: { "org.test.mood": null } } });
  await set(bob, { displayname: "Bobby" });
  await bob.delete(path`/profile/${bob.userId}/org.test.mood`);
  await set(carol, { displayname: "nobody knows her" });
  await set(alice, { "org.test.own": 1 });
  assert.deepEqual(await users(sliding, body), {
    [alice.userId]: { updated: { "org.test.own": 1 } },
    [bob.userId]: { updated: { displayname: "Bobby" }, removed: ["org.test.mood"] },
  });
  await set(bob, { displayname: "Bobby" });
  assert.equal(await users(sliding, body), undefined, "the same again is no change");

  await carol.join(roomId);
  assert.deepEqual(await users(sliding, body), { [carol.userId]: { updated: { displayname: "nobody knows her" } } });
  await bob.leave(roomId);
  assert.deepEqual(await users(sliding, body), { [bob.userId]: null });
  await set(bob, { displayname: "gone" });
  assert.equal(await users(sliding, body), undefined);
  await bob.join(roomId);
  assert.deepEqual(await users(sliding, body), { [bob.userId]: { updated: { displayname: "gone" } } });
});

testEachServer("with lazy members: whom a response speaks of, each once", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol, dave] = await hs.register("alice", "bob", "carol", "dave");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "named, so without heroes" });
  for (const client of [bob, carol, dave]) await client.join(roomId);
  for (let n = 0; n < 3; n++) await bob.sendText(roomId, `m${n}`);
  const sliding = new SlidingClient(alice);
  const body = asking(allRooms({ limit: 2, state: LAZY }));
  const told = async () => Object.keys(await users(sliding, body) ?? {}).sort();
  assert.deepEqual(await told(), [alice.userId, bob.userId]);
  await bob.sendText(roomId, "again");
  assert.deepEqual(await told(), []);
  await carol.sendText(roomId, "me too");
  assert.deepEqual(await told(), [carol.userId]);
  // Whoever was not spoken of is told of all the same when something changes: another room may have shown them.
  await set(dave, { displayname: "David" });
  assert.deepEqual(await users(sliding, body), { [dave.userId]: { updated: { displayname: "David" } } });
});

testEachServer("other fields are told of whom the client knows; a restart tells nothing twice", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await set(bob, { "org.test.mood": 1 });
  const sliding = new SlidingClient(alice);
  const names = asking(allRooms(), { fields: ["displayname"] });
  const moods = asking(allRooms(), { fields: ["org.test.mood", "displayname"] });
  const [aliceNamed, bobNamed] = ["alice", "bob"].map((displayname) => ({ updated: { displayname } }));
  assert.deepEqual(await users(sliding, names), { [alice.userId]: aliceNamed, [bob.userId]: bobNamed });
  await set(bob, { "org.test.mood": 2 });
  assert.equal(await users(sliding, names), undefined, "nobody asked for moods");
  await hs.restart();
  sliding.client = hs.again(alice);
  assert.equal(await users(sliding, names), undefined);
  const withMood = { updated: { displayname: "bob", "org.test.mood": 2 } };
  assert.deepEqual(await users(sliding, moods), { [alice.userId]: aliceNamed, [bob.userId]: withMood });
  assert.equal(await users(sliding, moods), undefined);
  await sliding.sync(allRooms());
  await hs.again(bob).put(path`/profile/${bob.userId}/org.test.mood`, { "org.test.mood": 3 });
  await sliding.sync(allRooms());
  const late = await users(sliding, moods);
  assert.deepEqual(late[bob.userId].updated["org.test.mood"], 3, "what changed while nobody asked is not missed");
});

testEachServer(
  "only the rooms asked for give whole profiles, and only who shares a room is told of",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
    const [one, two] = [
      await alice.createRoom({ preset: "public_chat" }),
      await alice.createRoom({ preset: "public_chat" }),
    ];
    await bob.join(one);
    await carol.join(two);
    const sliding = new SlidingClient(alice);
    const rooms = (asked: string[]) => {
      const config = { timeline_limit: 5, required_state: [] };
      return asking({ room_subscriptions: { [one]: config, [two]: config } }, { rooms: asked });
    };
    assert.deepEqual(Object.keys(await users(sliding, rooms([one]))).sort(), [alice.userId, bob.userId]);
    await set(carol, { "org.test.far": 1 });
    assert.deepEqual(await users(sliding, rooms([one])), { [carol.userId]: { updated: { "org.test.far": 1 } } });
    const later = await users(sliding, rooms([one, two]));
    assert.deepEqual(later, { [carol.userId]: { updated: { displayname: "carol", "org.test.far": 1 } } });
    const invited = await alice.createRoom({ invite: [bob.userId] });
    const bobs = new SlidingClient(bob);
    const seen = await users(
      bobs,
      asking({ room_subscriptions: { [invited]: { timeline_limit: 5, required_state: [] } } }),
    );
    assert.deepEqual(Object.keys(seen), [bob.userId], "an invitation tells no profiles");
  },
);

testEachServer("an account that is erased has no profile any more", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const sliding = new SlidingClient(alice);
  const body = asking(allRooms());
  await users(sliding, body);
  const waiting = users(sliding, { ...body, timeout: 20_000 });
  await bob.post("/account/deactivate", { erase: true, auth: bob.auth() });
  const told = await waiting;
  assert.ok(told[bob.userId] === null || told[bob.userId].removed[0] === "displayname", JSON.stringify(told));
});

testEachServer("what is no request for profiles is refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  for (const profiles of [{ fields: "all" }, { fields: [1] }, { fields: Array(501).fill("a") }, { enabled: 1 }]) {
    const response = await alice.request("POST", SLIDING_SYNC, { body: asking(allRooms(), profiles) });
    assert.equal(response.status, 400, JSON.stringify(profiles).slice(0, 40));
  }
  const sliding = new SlidingClient(alice);
  assert.equal(await users(sliding, asking(allRooms(), { fields: [] })), undefined);
});
