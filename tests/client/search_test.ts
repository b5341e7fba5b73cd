// deno-lint-ignore-file synapse-ts/max-positional -- the helpers read like the requests they make
import assert from "node:assert/strict";
import type { RoomId } from "../../src/protocol/ids.ts";
import { countMatches, planSearch, selectClosestMatches, selectNewestMatches } from "../../src/storage/search.ts";
import { MAX_POSITION } from "../../src/storage/timeline.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

async function search(client: TestClient, criteria: Json, query: Json = {}): Promise<Json> {
  const body = { search_categories: { room_events: criteria } };
  return (await client.ok("POST", "/search", { body, query })).search_categories.room_events;
}

function bodies({ results }: Json): string[] {
  return results.map(({ result }: Json) => result.content.body ?? result.content.name ?? result.content.topic);
}

async function found(client: TestClient, term: string): Promise<string[]> {
  return bodies(await search(client, { search_term: term, order_by: "recent" }));
}

testEachServer("POST /search finds words in any case, accented and unspaced text", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "Projet Été", topic: "Überlegungen" });
  for (const body of ["Crème brûlée at noon", "東京タワーに行きました", "plain brulee", "서울에서 만나요", "nothing"]) {
    await alice.sendText(roomId, body);
  }
  assert.deepEqual(await found(alice, "BRULEE"), ["plain brulee", "Crème brûlée at noon"]);
  assert.deepEqual(await found(alice, "brûlée noon"), ["Crème brûlée at noon"]);
  assert.deepEqual(await found(alice, "京タワー"), ["東京タワーに行きました"]);
  assert.deepEqual(await found(alice, "塔"), []);
  assert.deepEqual(await found(alice, "서울"), ["서울에서 만나요"]);
  assert.deepEqual(await found(alice, "ete"), ["Projet Été"]);
  assert.deepEqual(await found(alice, "uberlegungen"), ["Überlegungen"]);
  assert.deepEqual(await found(alice, "\"; DROP ' & | :*"), []);
  const inBody = await search(alice, { search_term: "ete", keys: ["content.body"] });
  assert.deepEqual([inBody.count, inBody.results], [0, []]);
});

testEachServer("POST /search answers by rank or time, in pages, with a count", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  for (let n = 0; n < 7; n++) await alice.sendText(roomId, `apple ${n}`);
  const criteria = { search_term: "apple", order_by: "recent", filter: { limit: 3 } };
  const first = await search(alice, criteria);
  assert.equal(first.count, 7);
  assert.deepEqual(first.highlights, ["apple"]);
  assert.deepEqual(bodies(first), ["apple 6", "apple 5", "apple 4"]);
  const second = await search(alice, criteria, { next_batch: first.next_batch });
  assert.deepEqual(bodies(second), ["apple 3", "apple 2", "apple 1"]);
  const third = await search(alice, criteria, { next_batch: second.next_batch });
  assert.deepEqual([bodies(third), third.next_batch], [["apple 0"], undefined]);
  // Nobody knows yet that a full page is the last.
  const whole = await search(alice, { ...criteria, filter: { limit: 7 } });
  assert.equal(whole.results.length, 7);
  const beyond = await search(alice, criteria, { next_batch: whole.next_batch });
  assert.deepEqual([beyond.results, beyond.next_batch], [[], undefined]);
  const none = await search(alice, { ...criteria, filter: { limit: 0 } });
  assert.deepEqual([none.count, none.results], [7, []]);
  const ranked = await search(alice, { search_term: "apple" });
  assert.equal(ranked.results.length, 7);
  assert.ok(ranked.results.every(({ rank }: Json) => typeof rank === "number"));
});

testEachServer("POST /search obeys every part of its filter", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const other = await alice.createRoom();
  await bob.join(roomId);
  const url = "mxc://hs.test/abc";
  await alice.send(roomId, { type: "m.room.message", content: { msgtype: "m.image", body: "pear image", url } });
  await alice.setState(roomId, { type: "m.room.topic", content: { topic: "pear topic" } });
  await alice.setState(roomId, { type: "m.room.name", content: { name: "pear name" } });
  await bob.sendText(roomId, "pear of bob");
  await alice.sendText(other, "pear elsewhere");
  const all = ["pear image", "pear topic", "pear name", "pear of bob", "pear elsewhere"];
  const cases: [Json, string[]][] = [
    [{}, all],
    [{ senders: [bob.userId] }, ["pear of bob"]],
    [{ not_senders: [alice.userId] }, ["pear of bob"]],
    [{ senders: [] }, []],
    [{ types: ["m.room.topic"] }, ["pear topic"]],
    [{ types: ["m.room.*"], not_types: ["m.room.message"] }, ["pear topic", "pear name"]],
    [{ contains_url: true }, ["pear image"]],
    [{ contains_url: false, rooms: [roomId] }, ["pear topic", "pear name", "pear of bob"]],
    [{ rooms: [other] }, ["pear elsewhere"]],
    [{ not_rooms: [roomId] }, ["pear elsewhere"]],
    [{ rooms: [] }, []],
    [{ rooms: ["!unknown:hs.test"] }, []],
  ];
  for (const [filter, expected] of cases) {
    const { results } = await search(alice, { search_term: "pear", order_by: "recent", filter });
    const texts = results.map(({ result: { content } }: Json) => content.body ?? content.topic ?? content.name);
    assert.deepEqual(texts, expected.toReversed(), JSON.stringify(filter));
  }
  for (
    const [key, text] of [["content.body", "pear image"], ["content.topic", "pear topic"], [
      "content.name",
      "pear name",
    ]]
  ) {
    const { results } = await search(alice, { search_term: "pear", keys: [key], filter: { senders: [alice.userId] } });
    assert.ok(results.some(({ result: { content } }: Json) => Object.values(content).includes(text)), key);
    assert.equal(results.length, key === "content.body" ? 2 : 1, key);
  }
});

testEachServer("POST /search gives context, profiles, state and groups", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Alice" });
  const rooms = [await alice.createRoom({ preset: "public_chat" }), await alice.createRoom()];
  const [one = "", two = ""] = rooms;
  await bob.join(one);
  await alice.sendText(one, "before");
  const hit = await bob.sendText(one, "needle here");
  await alice.sendText(one, "after");
  await alice.sendText(two, "needle there");
  const answer = await search(alice, {
    search_term: "needle",
    order_by: "recent",
    include_state: true,
    event_context: { before_limit: 1, after_limit: 1, include_profile: true },
    groupings: { group_by: [{ key: "room_id" }, { key: "sender" }] },
  });
  const result = answer.results.find(({ result }: Json) => result.event_id === hit);
  assert.deepEqual(result.context.events_before.map((event: Json) => event.content.body), ["before"]);
  assert.deepEqual(result.context.events_after.map((event: Json) => event.content.body), ["after"]);
  assert.equal(result.context.profile_info[alice.userId].displayname, "Alice");
  assert.ok(result.context.profile_info[bob.userId]);
  const more = await alice.get(path`/rooms/${one}/messages`, { dir: "b", from: result.context.start, limit: 1 });
  assert.notEqual(more.chunk[0].content.body, "before");
  assert.deepEqual(Object.keys(answer.state).sort(), [...rooms].sort());
  assert.ok(answer.state[one].some((event: Json) => event.type === "m.room.create"));
  assert.deepEqual(answer.groups.room_id[one].results, [hit]);
  assert.deepEqual(Object.keys(answer.groups.sender).sort(), [alice.userId, bob.userId]);
});

testEachServer("POST /search shows nobody what they may not read", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await alice.sendText(roomId, "secret one");
  await bob.leave(roomId);
  await alice.sendText(roomId, "secret two");
  assert.deepEqual(await found(bob, "secret"), ["secret one"]);
  assert.deepEqual(await found(carol, "secret"), []);
  const filtered = await search(alice, { search_term: "secret", filter: { senders: [bob.userId] } });
  assert.deepEqual(filtered.results, []);
  const notHere = await search(alice, { search_term: "secret", filter: { not_rooms: [roomId] } });
  assert.deepEqual(notHere.results, []);
});

testEachServer("what is redacted is not found any more", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const eventId = await alice.sendText(roomId, "regret");
  assert.deepEqual(await found(alice, "regret"), ["regret"]);
  await alice.put(path`/rooms/${roomId}/redact/${eventId}/r`);
  const after = await search(alice, { search_term: "regret" });
  assert.deepEqual([after.count, after.results], [0, []]);
});

testEachServer("POST /search goes on from an upgraded room to the one before", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const old = await alice.createRoom();
  await alice.sendText(old, "ancient words");
  const { replacement_room: fresh } = await alice.post(path`/rooms/${old}/upgrade`, { new_version: "11" });
  await alice.sendText(fresh, "modern words");
  const both = await search(alice, { search_term: "words", order_by: "recent", filter: { rooms: [fresh] } });
  assert.deepEqual(bodies(both), ["modern words", "ancient words"]);
});

testEachServer("the index goes on after a restart where it stopped", async (database) => {
  await using hs = await TestServer.start({ database });
  const [before] = await hs.register("alice");
  const roomId = await before.createRoom();
  await before.sendText(roomId, "early bird");
  assert.deepEqual(await found(before, "bird"), ["early bird"]);
  await before.sendText(roomId, "late bird");
  await hs.restart();
  const alice = hs.again(before);
  assert.deepEqual(await found(alice, "bird"), ["late bird", "early bird"]);
});

testEachServer("POST /search refuses malformed requests, strangers, and all when switched off", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const fails = (room_events: Json, errcode: string) =>
    alice.fails("POST", "/search", { status: 400, errcode, body: { search_categories: { room_events } } });
  await fails({}, "M_MISSING_PARAM");
  await fails({ search_term: 5 }, "M_BAD_JSON");
  await fails({ search_term: "x", keys: ["content.secret"] }, "M_INVALID_PARAM");
  await fails({ search_term: "x", order_by: "luck" }, "M_INVALID_PARAM");
  await fails({ search_term: "x", filter: { limit: -1 } }, "M_INVALID_PARAM");
  await fails({ search_term: "x", groupings: { group_by: [{ key: "age" }] } }, "M_INVALID_PARAM");
  await alice.fails("POST", "/search", { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await alice.fails("POST", "/search", { status: 400, errcode: "M_NOT_JSON", body: "{" });
  const body = { search_categories: { room_events: { search_term: "x" } } };
  await alice.fails("POST", "/search?next_batch=x", { status: 400, errcode: "M_INVALID_PARAM", body });
  await hs.anyone.fails("POST", "/search", { status: 401, errcode: "M_MISSING_TOKEN", body });
  assert.deepEqual(await alice.post("/search", { search_categories: {} }), { search_categories: {} });
  await hs.restart({ enable_search: false });
  await hs.again(alice).fails("POST", "/search", { status: 400, errcode: "M_UNKNOWN", body });
});

testEachServer("the index finds the same by its words for rooms and by looking at each match", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const rooms = [await alice.createRoom({}), await alice.createRoom({}), await alice.createRoom({})];
  for (const roomId of rooms) await alice.sendText(roomId, "the quick brown fox");
  assert.equal((await found(alice, "brown fox")).length, 3);
  const { parts } = hs;
  const nids = await Promise.all(
    rooms.map(async (id) => (await parts.rooms.events.roomById(id as RoomId))?.roomNid ?? 0),
  );
  const given = { words: ["brown", "fox"], roomNids: nids.slice(0, 2), fields: null, senders: null };
  const planned = await planSearch(parts.core.db, given);
  const matches = [given, planned, { ...given, findsRooms: true }].map(async (query) => [
    await countMatches(parts.core.db, query),
    await selectNewestMatches(parts.core.db, { ...query, before: MAX_POSITION, limit: 10 }),
    new Set((await selectClosestMatches(parts.core.db, { ...query, limit: 10 })).map(({ eventNid }) => eventNid)),
  ]);
  const [first, second, third] = await Promise.all(matches);
  assert.equal(first?.[0], 2);
  assert.deepEqual(second, first);
  assert.deepEqual(third, first);
});
