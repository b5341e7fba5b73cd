/** Joins without members (MSC3706, MSC3902): the room is usable at once, and whole after a restart in the middle. */
import assert from "node:assert/strict";
import { path, type TestClient } from "../harness/client.ts";
import { MatrixError } from "../../src/protocol/errors.ts";
import { sql } from "../../src/storage/sql.ts";
import { allRooms, SlidingClient } from "../harness/sliding.ts";
import { type NetworkServer, type TestNetwork, testNetwork } from "./network.ts";

// deno-lint-ignore no-explicit-any -- answers are checked where they are used
type Json = any;

const LAZY = JSON.stringify({
  room: { state: { lazy_load_members: true }, timeline: { lazy_load_members: true } },
});

/** Lets a server refuse to tell states until `allow` is called; `asked` resolves when it was asked for one. */
function refuseStates({ hs }: NetworkServer): { asked: Promise<void>; allow: () => void } {
  const { reads } = hs.parts.federationRooms;
  const original = reads.stateIds;
  const asked = Promise.withResolvers<void>();
  reads.stateIds = () => {
    asked.resolve();
    return Promise.reject(new MatrixError(503, "M_UNKNOWN", "Not now"));
  };
  return { asked: asked.promise, allow: () => (reads.stateIds = original) };
}

/** Resolves once a server has taken in that a user's devices changed. */
function deviceUpdateOf({ hs }: NetworkServer, userId: string): Promise<void> {
  const { remoteDevices } = hs.parts.exchange;
  const original = remoteDevices.update.bind(remoteDevices);
  const { promise, resolve } = Promise.withResolvers<void>();
  remoteDevices.update = async (origin, content) => {
    await original(origin, content);
    if (content["user_id"] === userId) resolve();
  };
  return promise;
}

async function stateOf({ hs }: NetworkServer, roomId: string): Promise<Map<string, string>> {
  const head = await hs.parts.rooms.engine.head(roomId as never);
  const entries = await hs.parts.rooms.state.entries(head?.stateRoot ?? 0);
  return new Map(entries.map(({ event }) => [`${event.type}|${event.stateKey}`, event.eventId]));
}

/** Makes a room of alice's and dave's on the first server, which bob of the second has entered without its members. */
async function joinWithoutMembers([one, two]: TestNetwork["servers"]): Promise<{
  alice: TestClient;
  dave: TestClient;
  bob: TestClient;
  roomId: string;
  allow: () => void;
}> {
  const [alice, dave] = await one.hs.register("alice", "dave");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Fast" });
  await dave.post(path`/join/${roomId}`);
  const { asked, allow } = refuseStates(one);
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await asked;
  return { alice, dave, bob, roomId, allow };
}

testNetwork("a room joined without members is usable at once, and whole after a restart", async ({ servers }) => {
  const [one, two] = servers;
  const { alice, dave, bob, roomId, allow } = await joinWithoutMembers(servers);
  const eager = await bob.get("/sync") as Json;
  assert.equal(eager.rooms?.join?.[roomId], undefined, "a client that wants all members does not see the room yet");
  const lazy = await bob.get("/sync", { filter: LAZY }) as Json;
  assert.notEqual(lazy.rooms?.join?.[roomId], undefined, "a client that loads members lazily does");
  assert.equal((await stateOf(two, roomId)).has(`m.room.member|${dave.userId}`), false);
  await bob.sendText(roomId, "early");
  await alice.syncUntil((sync: Json) =>
    sync.rooms?.join?.[roomId]?.timeline.events.some((event: Json) => event.content.body === "early")
  );
  await dave.sendText(roomId, "from someone not known yet");
  await bob.syncUntil(
    (sync: Json) =>
      sync.rooms?.join?.[roomId]?.timeline.events.some((event: Json) => event.sender === dave.userId) === true,
    { filter: LAZY },
  );
  allow();
  await two.restart();
  const again = two.hs.again(bob);
  const members = await again.get(path`/rooms/${roomId}/members`) as Json;
  const users = members.chunk.map((event: Json) => event.state_key).sort();
  assert.deepEqual(users, [alice.userId, bob.userId, dave.userId].sort());
  assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
  const seen = await again.get("/sync", { since: eager.next_batch }) as Json;
  const shown = [
    ...seen.rooms.join[roomId].state.events,
    ...seen.rooms.join[roomId].timeline.events,
  ].filter((event: Json) => event.type === "m.room.member").map((event: Json) => event.state_key);
  assert.ok(shown.includes(dave.userId), "the room is shown whole to who asks for all members");
});

testNetwork("what a room without its members leads to is complete with its state", async ({ servers }) => {
  const [one, two] = servers;
  const { dave, bob, roomId, allow } = await joinWithoutMembers(servers);
  const alias = `#fast:${two.name}`;
  await bob.put(path`/directory/room/${alias}`, { room_id: roomId });
  const resolved = await bob.get(path`/directory/room/${alias}`) as Json;
  assert.deepEqual(resolved, { room_id: roomId, servers: [two.name, one.name] }, "servers that are only told of count");
  const search = async (term: string) =>
    ((await bob.post("/user_directory/search", { search_term: term })) as Json).results.map((user: Json) =>
      user.user_id
    );
  assert.deepEqual(await search("bob"), [bob.userId], "who is in an open room finds himself");
  assert.deepEqual(await search("dave"), []);
  allow();
  await bob.get(path`/rooms/${roomId}/members`);
  assert.deepEqual(await search("dave"), [dave.userId]);
  const listed = await bob.get(path`/directory/room/${alias}`) as Json;
  assert.deepEqual(listed.servers, [two.name, one.name]);
});

testNetwork(
  "a further user of a room without its members is let in by its servers",
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob, carol, mallory] = await two.hs.register("bob", "carol", "mallory");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    await alice.post(path`/rooms/${roomId}/ban`, { user_id: mallory.userId });
    const { asked, allow } = refuseStates(one);
    await bob.post(path`/join/${roomId}?via=${one.name}`);
    await asked;
    assert.equal((await stateOf(two, roomId)).has(`m.room.member|${mallory.userId}`), false);
    await mallory.fails("POST", path`/join/${roomId}`, { status: 403, errcode: "M_FORBIDDEN" });
    await carol.post(path`/join/${roomId}`);
    assert.ok((await stateOf(one, roomId)).has(`m.room.member|${carol.userId}`), "the other server has let her in");
    allow();
    await bob.get(path`/rooms/${roomId}/members`);
    assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
  },
);

testNetwork("servers that are found with the whole state hear of devices that changed before", async ({ servers }) => {
  const [one, two] = servers;
  const [alice, dave] = await one.hs.register("alice", "dave");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Fast" });
  await dave.post(path`/join/${roomId}`);
  const { asked, allow } = refuseStates(one);
  await alice.sync();
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await asked;
  await alice.syncUntil((sync: Json) => (sync.device_lists?.changed ?? []).includes(bob.userId));
  // As if the server that let us in had not told that it is in the room.
  await two.hs.parts.core.db.transaction(async (tx) => void await tx.run(sql`DELETE FROM room_servers`));
  await bob.post("/keys/upload", {
    device_keys: {
      user_id: bob.userId,
      device_id: bob.deviceId,
      algorithms: ["m.olm.v1.curve25519-aes-sha2"],
      keys: { [`ed25519:${bob.deviceId}`]: "key" },
      signatures: { [bob.userId]: { [`ed25519:${bob.deviceId}`]: "sig" } },
    },
  });
  allow();
  await bob.get(path`/rooms/${roomId}/members`);
  await alice.syncUntil((sync: Json) => (sync.device_lists?.changed ?? []).includes(bob.userId));
});

testNetwork("nothing more is fetched of a room that all have left, until somebody comes back", async ({ servers }) => {
  const [one, two] = servers;
  const { dave, bob, roomId, allow } = await joinWithoutMembers(servers);
  await bob.post(path`/rooms/${roomId}/leave`);
  allow();
  await two.restart();
  const again = two.hs.again(bob);
  await again.get(path`/rooms/${roomId}/members`);
  assert.equal((await stateOf(two, roomId)).has(`m.room.member|${dave.userId}`), false, "nobody needs the members");
  await again.post(path`/join/${roomId}?via=${one.name}`);
  await again.get(path`/rooms/${roomId}/members`);
  assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
});

testNetwork("devices that change while a room lacks members are told of once it has them", async ({ servers }) => {
  const [, two] = servers;
  const { alice, dave, bob, allow } = await joinWithoutMembers(servers);
  const arrived = deviceUpdateOf(two, dave.userId);
  await bob.sync({ filter: LAZY });
  await dave.post("/keys/upload", {
    device_keys: {
      user_id: dave.userId,
      device_id: dave.deviceId,
      algorithms: ["m.olm.v1.curve25519-aes-sha2"],
      keys: { [`ed25519:${dave.deviceId}`]: "key" },
      signatures: { [dave.userId]: { [`ed25519:${dave.deviceId}`]: "sig" } },
    },
  });
  await arrived;
  const early = await bob.sync({ filter: LAZY });
  assert.deepEqual(early.device_lists?.changed ?? [], [], "who is in the room is not known yet");
  allow();
  const late = await bob.syncUntil((sync) => sync.device_lists !== undefined, { filter: LAZY });
  assert.deepEqual(late.device_lists.changed, [dave.userId], `but not ${alice.userId}`);
  const kept = await two.hs.parts.core.db.all(sql`SELECT user_id FROM pending_device_lists`);
  assert.equal(kept.length, 0);
});

testNetwork("who is in a room, and what it is called after, is told anew with its whole state", async ({ servers }) => {
  const { alice, dave, bob, roomId, allow } = await joinWithoutMembers(servers);
  const sliding = new SlidingClient(bob);
  const early = (await sliding.sync(allRooms())).rooms[roomId];
  assert.deepEqual([early.name, early.joined_count < 3], ["Fast", true]);
  const first = await bob.sync({ filter: LAZY });
  assert.ok(first.rooms.join[roomId].summary["m.joined_member_count"] < 3);
  allow();
  const isCounted = (sync: Json) => sync.rooms?.join?.[roomId]?.summary?.["m.joined_member_count"] === 3;
  await bob.syncUntil(isCounted, { filter: LAZY });
  const late = (await sliding.sync(allRooms(), { timeout: 10_000 })).rooms[roomId];
  assert.equal(late.joined_count, 3, "the connection is told without anybody speaking");
  await alice.setState(roomId, { type: "m.room.name", content: { name: "" } });
  await bob.syncUntil((sync) => {
    const heroes = sync.rooms?.join?.[roomId]?.summary?.["m.heroes"] ?? [];
    return heroes.includes(alice.userId) && heroes.includes(dave.userId);
  }, { filter: LAZY });
});

testNetwork(
  "whoever lets a user into a restricted room is in its state before the other members",
  async ({ servers }) => {
    const [one, two] = servers;
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const space = await alice.createRoom({ preset: "public_chat", creation_content: { type: "m.space" } });
    const allow = [{ type: "m.room_membership", room_id: space }];
    const restricted = async (name: string) =>
      await alice.createRoom({
        name,
        initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "restricted", allow } }],
      });
    const rooms = [await restricted("Told of in the state"), await restricted("Told of in the auth chain")];
    const { asked } = refuseStates(one);
    await bob.post(path`/join/${space}?via=${one.name}`);
    await asked;
    const { memberships } = one.hs.parts.federationRooms;
    const join = memberships.join.bind(memberships);
    for (const [index, roomId] of rooms.entries()) {
      memberships.join = async (...request) => {
        const answer = await join(...request);
        const isVoucher = (json: string) => JSON.parse(json).state_key === alice.userId;
        assert(answer.state.some(isVoucher));
        if (index === 0) return answer;
        const without = answer.state.filter((json) => !isVoucher(json));
        return { ...answer, state: without, authChain: [...answer.authChain, ...answer.state.filter(isVoucher)] };
      };
      await bob.post(path`/join/${roomId}?via=${one.name}`);
      assert((await stateOf(two, roomId)).has(`m.room.member|${alice.userId}`));
    }
  },
);

testNetwork("the other devices of who joins without members hear of it", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Fast" });
  const { asked } = refuseStates(one);
  const { next_batch: since } = await bob.get("/sync") as Json;
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await asked;
  const { device_lists: lists } = await bob.get("/sync", { filter: LAZY, since }) as Json;
  assert.deepEqual(lists?.changed, [bob.userId]);
});
