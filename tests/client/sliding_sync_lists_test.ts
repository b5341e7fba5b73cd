/** Sliding sync through real HTTP: lists, their filters, and rooms one is not in. Spec: MSC4186. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { allRooms, bodies, SLIDING_SYNC, SlidingClient, stateOf } from "../harness/sliding.ts";

async function matching(client: TestClient, filters: Json): Promise<string[]> {
  const response = await new SlidingClient(client).sync({ ...allRooms({ limit: 0, filters }), conn_id: "filters" });
  assert.equal(response.lists.all.count, response.lists.all.ops[0].room_ids.length);
  return response.lists.all.ops[0].room_ids;
}

async function tag(client: TestClient, { roomId, name }: { roomId: string; name: string }): Promise<void> {
  await client.put(path`/user/${client.userId}/rooms/${roomId}/tags/${name}`, {});
}

testEachServer("lists filter by what rooms are and by what the user says of them", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const plain = await alice.createRoom({ name: "Plain Kitchen" });
  const secret = await alice.createRoom({
    initial_state: [{ type: "m.room.encryption", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  });
  const space = await alice.createRoom({ creation_content: { type: "m.space" } });
  const via = { via: ["hs.test"] };
  await alice.setState(space, { type: "m.space.child", stateKey: secret, content: via });
  const invited = await bob.createRoom({ invite: [alice.userId], name: "Bob's" });
  await alice.put(path`/user/${alice.userId}/account_data/m.direct`, { [bob.userId]: [plain] });
  await tag(alice, { roomId: plain, name: "m.favourite" });
  await tag(alice, { roomId: secret, name: "m.favourite" });
  await tag(alice, { roomId: secret, name: "m.lowpriority" });
  const cases: [Json, string[]][] = [
    [{}, [invited, space, secret, plain]],
    [{ is_dm: true }, [plain]],
    [{ is_dm: false }, [invited, space, secret]],
    [{ is_encrypted: true }, [secret]],
    [{ is_encrypted: false }, [invited, space, plain]],
    [{ is_invite: true }, [invited]],
    [{ is_invited: false }, [space, secret, plain]],
    [{ room_types: ["m.space"] }, [space]],
    [{ room_types: [null] }, [invited, secret, plain]],
    [{ not_room_types: ["m.space"] }, [invited, secret, plain]],
    [{ room_types: ["m.space", null], not_room_types: [null] }, [space]],
    [{ room_name_like: "kITCH" }, [plain]],
    [{ tags: ["m.favourite"] }, [secret, plain]],
    [{ tags: ["m.favourite"], not_tags: ["m.lowpriority"] }, [plain]],
    [{ not_tags: ["m.favourite"] }, [invited, space]],
    [{ spaces: [space] }, [secret]],
    [{ spaces: ["!unknown:hs.test", plain] }, []],
  ];
  for (const restart of [false, true]) {
    if (restart) await hs.restart();
    const client = hs.again(alice);
    for (const [filters, expected] of cases) {
      assert.deepEqual((await matching(client, filters)).sort(), expected.toSorted(), JSON.stringify(filters));
    }
  }
  const client = hs.again(alice);
  await client.setState(plain, { type: "m.room.encryption", content: { algorithm: "m.megolm.v1.aes-sha2" } });
  assert.deepEqual((await matching(client, { is_encrypted: true })).sort(), [plain, secret].sort());
  await client.setState(space, { type: "m.space.child", stateKey: secret, content: {} });
  assert.deepEqual(await matching(client, { spaces: [space] }), []);
});

testEachServer("rooms are in the order of their last events, in several windows and lists", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const rooms: string[] = [];
  for (let index = 0; index < 6; index++) rooms.push(await alice.createRoom());
  const [a = "", b = "", c = "", d = "", e = "", f = ""] = rooms;
  const sliding = new SlidingClient(alice);
  const list = { timeline_limit: 1, required_state: [] };
  const body = { lists: { one: { ...list, ranges: [[0, 1], [3, 3]] }, two: { ...list, ranges: [[1, 1]] } } };
  const first = await sliding.sync(body);
  const shown = (response: Json) => response.lists.one.ops.map((op: Json) => op.room_ids);
  assert.deepEqual(shown(first), [[f, e], [c]]);
  assert.deepEqual(first.rooms[e].lists, ["one", "two"]);
  assert.deepEqual(Object.keys(first.rooms).sort(), [f, e, c].sort());
  await alice.sendText(a, "up");
  await alice.sendText(b, "up");
  const next = await sliding.sync(body);
  assert.deepEqual(shown(next), [[b, a], [e]]);
  assert.deepEqual(Object.keys(next.rooms).sort(), [a, b].sort());
  assert.deepEqual([next.rooms[a].initial, next.rooms[a].num_live], [true, 1]);
  const all = await sliding.sync({ lists: { all: list } });
  assert.deepEqual(Object.keys(all.rooms), [d]);
});

testEachServer("invitations, and what becomes of them", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const sliding = new SlidingClient(alice);
  const body = allRooms({ state: [["m.room.member", "$ME"], ["m.room.topic", ""]] });
  await sliding.sync(body);
  const [yes, no] = [await bob.createRoom({ name: "Yes", topic: "T" }), await bob.createRoom({ name: "No" })];
  await bob.invite(yes, alice.userId);
  await bob.invite(no, alice.userId);
  const { rooms } = await sliding.sync(body, { timeout: 10_000 });
  const all = { ...rooms, ...(await sliding.sync(body)).rooms };
  const invite = all[yes];
  assert.deepEqual([invite.membership, invite.initial, invite.name], ["invite", true, "Yes"]);
  assert.deepEqual(invite.stripped_state, invite.invite_state);
  assert.ok(invite.invite_state.some((event: Json) => event.state_key === alice.userId));
  assert.deepEqual([invite.timeline, invite.required_state, invite.joined_count], [undefined, undefined, undefined]);
  await bob.sendText(yes, "not for guests");
  assert.deepEqual((await sliding.sync(body)).rooms, {});
  await alice.join(yes);
  await alice.leave(no);
  const next = (await sliding.sync(body)).rooms;
  assert.deepEqual([next[yes].membership, next[yes].initial], ["join", true]);
  assert.deepEqual(stateOf(next[yes]), [`m.room.member|${alice.userId}`, "m.room.topic|"]);
  assert.equal(next[no].membership, "leave");
  assert.equal(next[no].timeline[0].content.membership, "leave");
  const after = await sliding.sync(body);
  assert.deepEqual([after.rooms, after.lists.all.count], [{}, 1]);
});

testEachServer("leaving is told once, being put out stays in the list", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const [left, kicked] = [
    await bob.createRoom({ preset: "public_chat" }),
    await bob.createRoom({ preset: "public_chat" }),
  ];
  await alice.join(left);
  await alice.join(kicked);
  const sliding = new SlidingClient(alice);
  const body = allRooms({ state: [["m.room.member", "$ME"]] });
  await sliding.sync(body);
  await bob.sendText(left, "before");
  await alice.leave(left);
  await bob.post(path`/rooms/${kicked}/kick`, { user_id: alice.userId, reason: "out" });
  await bob.sendText(left, "after");
  await bob.sendText(kicked, "after");
  const { rooms, lists } = await sliding.sync(body);
  assert.equal(lists.all.count, 2);
  assert.deepEqual(bodies(rooms[left]), ["before"]);
  for (const roomId of [left, kicked]) {
    assert.equal(rooms[roomId].membership, "leave");
    assert.deepEqual(stateOf(rooms[roomId]), [`m.room.member|${alice.userId}`]);
    assert.equal(rooms[roomId].timeline.at(-1).content.membership, "leave");
  }
  const next = await sliding.sync(body);
  assert.deepEqual([next.rooms, next.lists.all.ops[0].room_ids], [{}, [kicked]]);
  const fresh = await new SlidingClient(alice).sync({ ...body, conn_id: "fresh" });
  assert.deepEqual(Object.keys(fresh.rooms), [kicked]);
  assert.ok(!JSON.stringify(fresh.rooms[kicked]).includes("after"));
  // As Synapse has it, a ban after that changes nothing but the membership.
  await bob.post(path`/rooms/${kicked}/ban`, { user_id: alice.userId });
  await bob.sendText(kicked, "after");
  const banned = await sliding.sync(body);
  assert.deepEqual(banned.lists.all.ops[0].room_ids, [kicked]);
  const other = await new SlidingClient(alice).sync({ ...body, conn_id: "other" });
  assert.deepEqual([Object.keys(other.rooms), other.rooms[kicked].membership], [[kicked], "ban"]);
  const ids = (room: Json) => room.timeline.map(({ event_id }: Json) => event_id);
  assert.deepEqual(ids(other.rooms[kicked]), ids(fresh.rooms[kicked]));
  await alice.join(left);
  const back = (await sliding.sync(body)).rooms[left];
  assert.deepEqual([back.membership, back.initial], ["join", true]);
});

testEachServer("nobody sees rooms they have no part in, nor what ignored users say", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const secret = await bob.createRoom();
  const shared = await bob.createRoom({ preset: "public_chat" });
  await alice.join(shared);
  await alice.put(path`/user/${alice.userId}/account_data/m.ignored_user_list`, {
    ignored_users: { [bob.userId]: {} },
  });
  await bob.invite(await bob.createRoom(), alice.userId);
  const subscription = { timeline_limit: 5, required_state: [["*", "*"]] };
  const body = {
    ...allRooms(),
    room_subscriptions: { [secret]: subscription, "!none:hs.test": subscription, nonsense: subscription },
  };
  const sliding = new SlidingClient(alice);
  const first = await sliding.sync(body);
  assert.deepEqual([Object.keys(first.rooms), first.lists.all.count], [[shared], 1]);
  await bob.sendText(shared, "ignored");
  assert.deepEqual((await sliding.sync(body)).rooms, {});
});

testEachServer("bodies that are not as specified are refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await alice.createRoom();
  const list = { ranges: [[0, 1]], timeline_limit: 1, required_state: [] };
  const lists = (change: Json) => ({ lists: { a: { ...list, ...change } } });
  const bad: Json[] = [
    ...[1, [], "x", { a: 1 }, { a: [] }, { a: {} }].map((value) => ({ lists: value })),
    ...[-1, "1", 1.5, 1_001, null, {}].map((value) => lists({ timeline_limit: value })),
    ...[1, [[0]], [[0, -1]], [[5, 1]], [[0, 1, 2]], [["0", "1"]], "x", [[0, 1e300]]].map((value) =>
      lists({ ranges: value })
    ),
    lists({ ranges: Array.from({ length: 101 }, () => [0, 1]) }),
    ...["x", [["a"]], [[1, 2]], [["a", "b", "c"]], [["x".repeat(300), ""]], 5].map((v) => lists({ required_state: v })),
    lists({ required_state: Array.from({ length: 1_000 }, (_, index) => ["m.x", String(index)]) }),
    ...[1, { is_dm: "yes" }, { spaces: "x" }, { room_types: [1] }, { tags: [null] }].map((v) => lists({ filters: v })),
    ...[1, { "!a:b": 1 }, { "!a:b": {} }].map((value) => ({ room_subscriptions: value })),
    ...[1, { to_device: 1 }, { e2ee: { enabled: "x" } }, { typing: { enabled: true, rooms: 1 } }].map((value) => ({
      extensions: value,
    })),
    ...[1, "x".repeat(256)].map((value) => ({ conn_id: value })),
    { timeout: -1 },
    { pos: 5 },
    { lists: Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`l${index}`, list])) },
    { lists: { ["x".repeat(65)]: list } },
    {
      room_subscriptions: Object.fromEntries(
        Array.from({ length: 101 }, (_, index) => [`!r${index}:hs.test`, { timeline_limit: 1, required_state: [] }]),
      ),
    },
    { extensions: { to_device: { enabled: true, since: "abc" } } },
  ];
  for (const body of bad) {
    const answer = await alice.request("POST", SLIDING_SYNC, { body });
    assert.equal(answer.status, 400, JSON.stringify(body).slice(0, 200));
    assert.ok(["M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM"].includes(answer.body.errcode), answer.body.errcode);
  }
  await alice.fails("POST", SLIDING_SYNC, { body: "{", status: 400, errcode: "M_NOT_JSON" });
  await alice.fails("POST", SLIDING_SYNC, { body: {}, token: null, status: 401, errcode: "M_MISSING_TOKEN" });
  const huge = lists({ ranges: [[0, Number.MAX_SAFE_INTEGER], [7, 9e15]], timeline_limit: 1_000 });
  assert.equal(Object.keys((await alice.ok("POST", SLIDING_SYNC, { body: huge })).rooms).length, 1);
  assert.equal((await alice.ok("POST", SLIDING_SYNC, { body: {} })).pos.length > 0, true);
});
