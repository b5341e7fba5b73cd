// deno-lint-ignore-file synapse-ts/max-positional -- the helpers read like the requests they make
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_matrix/client/v1";
const SPACE = { creation_content: { type: "m.space" } };

async function hierarchy(client: TestClient, roomId: string, query: Json = {}): Promise<Json> {
  return await client.get(`${V1}${path`/rooms/${roomId}/hierarchy`}`, query);
}

function idsOf({ rooms }: Json): string[] {
  return rooms.map((room: Json) => room.room_id);
}

async function addChild(client: TestClient, space: string, { child, ...content }: Json): Promise<void> {
  await client.setState(space, { type: "m.space.child", stateKey: child, content: { via: ["hs.test"], ...content } });
}

testEachServer("a space lists its rooms depth first, in the order they are given", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const space = await alice.createRoom({ ...SPACE, name: "Top", preset: "public_chat" });
  const sub = await alice.createRoom({ ...SPACE, preset: "public_chat" });
  const [r1, r2, r3] = [
    await alice.createRoom({ name: "One", preset: "public_chat" }),
    await alice.createRoom({ preset: "public_chat" }),
    await alice.createRoom({ preset: "public_chat" }),
  ];
  await addChild(alice, space, { child: r1 });
  await addChild(alice, space, { child: sub, order: "b", suggested: true });
  await addChild(alice, space, { child: r2, order: "a" });
  await addChild(alice, sub, { child: r3 });
  await addChild(alice, sub, { child: space });
  const whole = await hierarchy(alice, space);
  assert.deepEqual(idsOf(whole), [space, r2, sub, r3, r1]);
  const [top] = whole.rooms;
  assert.deepEqual([top.name, top.room_type, top.num_joined_members, top.join_rule], ["Top", "m.space", 1, "public"]);
  assert.deepEqual(top.children_state.map((event: Json) => event.state_key), [r2, sub, r1]);
  assert.deepEqual(Object.keys(top.children_state[0]).sort(), [
    "content",
    "origin_server_ts",
    "sender",
    "state_key",
    "type",
  ]);
  assert.deepEqual(idsOf(await hierarchy(alice, space, { suggested_only: true })), [space, sub]);
  assert.deepEqual(idsOf(await hierarchy(alice, space, { max_depth: 1 })), [space, r2, sub, r1]);
  const first = await hierarchy(alice, space, { limit: 2 });
  assert.deepEqual(idsOf(first), [space, r2]);
  const second = await hierarchy(alice, space, { limit: 2, from: first.next_batch });
  assert.deepEqual(idsOf(second), [sub, r3]);
  const third = await hierarchy(alice, space, { limit: 2, from: second.next_batch });
  assert.deepEqual([idsOf(third), third.next_batch], [[r1], undefined]);
  await alice.setState(space, { type: "m.space.child", stateKey: r2, content: {} });
  assert.deepEqual(idsOf(await hierarchy(alice, space)), [space, sub, r3, r1]);
});

testEachServer("a space shows only rooms that the user may know of", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const space = await alice.createRoom({ ...SPACE, preset: "public_chat" });
  const secret = await alice.createRoom({ preset: "private_chat" });
  const allow = [{ type: "m.room_membership", room_id: space }];
  const restricted = await alice.createRoom({
    preset: "private_chat",
    initial_state: [{ type: "m.room.join_rules", content: { join_rule: "restricted", allow } }],
  });
  for (const child of [secret, restricted]) await addChild(alice, space, { child });
  assert.deepEqual(idsOf(await hierarchy(bob, space)), [space]);
  await bob.join(space);
  const joined = await hierarchy(bob, space);
  assert.deepEqual(idsOf(joined), [space, restricted]);
  assert.deepEqual(joined.rooms[1].allowed_room_ids, [space]);
  await alice.invite(secret, bob.userId);
  assert.deepEqual(idsOf(await hierarchy(bob, space)), [space, secret, restricted]);
});

testEachServer("join rules that a room's version does not have tell nobody of the room", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const space = await alice.createRoom({ ...SPACE, preset: "public_chat" });
  await bob.post(path`/join/${space}`);
  const allow = [{ type: "m.room_membership", room_id: space }];
  const [known, unknown] = [[] as string[], [] as string[]];
  for (const [joinRule, since] of [["knock", 7], ["restricted", 8], ["knock_restricted", 10]] as const) {
    for (const version of [since - 1, since]) {
      const room = await alice.createRoom({
        room_version: `${version}`,
        initial_state: [{ type: "m.room.join_rules", content: { join_rule: joinRule, allow } }],
      });
      await addChild(alice, space, { child: room });
      (version === since ? known : unknown).push(room);
    }
  }
  assert.deepEqual(idsOf(await hierarchy(bob, space)).sort(), [space, ...known].sort());
  for (const room of known) await bob.get(`${V1}${path`/room_summary/${room}`}`);
  const hidden = { status: 404, errcode: "M_NOT_FOUND" };
  for (const room of unknown) await bob.fails("GET", `${V1}${path`/room_summary/${room}`}`, hidden);
});

testEachServer("GET /hierarchy refuses strangers and malformed requests", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const space = await alice.createRoom({ ...SPACE, preset: "private_chat" });
  const target = `${V1}${path`/rooms/${space}/hierarchy`}`;
  await bob.fails("GET", target, { status: 403, errcode: "M_FORBIDDEN" });
  await bob.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN", token: null });
  for (const tail of ["?limit=0", "?max_depth=-1", "?suggested_only=maybe", "?from=x", "?from=h1_1_1__!a"]) {
    await alice.fails("GET", target + tail, { status: 400, errcode: "M_INVALID_PARAM" });
  }
});

testEachServer("GET /room_summary tells of rooms that may be known, by id and alias", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const open = await alice.createRoom({ preset: "public_chat", name: "Open", room_alias_name: "open" });
  const closed = await alice.createRoom({ preset: "private_chat" });
  const summary = (client: { get(target: string): Promise<Json> }, room: string) =>
    client.get(`${V1}${path`/room_summary/${room}`}`);
  const own = await summary(alice, open);
  assert.deepEqual([own.room_id, own.name, own.membership, own.room_version], [open, "Open", "join", "12"]);
  assert.equal((await summary(bob, "#open:hs.test")).membership, undefined);
  assert.equal((await summary(hs.anyone, open)).join_rule, "public");
  assert.equal((await summary(alice, closed)).room_id, closed);
  const hidden = `${V1}${path`/room_summary/${closed}`}`;
  await bob.fails("GET", hidden, { status: 404, errcode: "M_NOT_FOUND" });
  await hs.anyone.fails("GET", hidden, { status: 404, errcode: "M_NOT_FOUND" });
  await bob.fails("GET", `${V1}/room_summary/nonsense`, { status: 400, errcode: "M_INVALID_PARAM" });
  const unstable = await bob.get(path`/_matrix/client/unstable/im.nheko.summary/rooms/${open}/summary`);
  assert.equal(unstable.room_id, open);
});

testEachServer("GET /mutual_rooms lists rooms that both are in", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const both = await alice.createRoom({ preset: "public_chat" });
  await alice.createRoom({ preset: "public_chat" });
  await bob.join(both);
  assert.deepEqual(await alice.get(`${V1}/mutual_rooms`, { user_id: bob.userId }), { joined: [both], count: 1 });
  const old = await alice.get("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms", {
    user_id: bob.userId,
  });
  assert.deepEqual(old.joined, [both]);
  const unknown = await alice.get(`${V1}/mutual_rooms`, { user_id: "@nobody:elsewhere" });
  assert.deepEqual(unknown, { joined: [], count: 0 });
  const target = `${V1}/mutual_rooms`;
  await alice.fails("GET", target, { status: 400, errcode: "M_MISSING_PARAM" });
  await alice.fails("GET", target, { status: 400, errcode: "M_INVALID_PARAM", query: { user_id: alice.userId } });
  await alice.fails("GET", target, { status: 400, errcode: "M_INVALID_PARAM", query: { user_id: "bob" } });
  await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
});
