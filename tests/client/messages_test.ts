/** Pagination, context and single events through real HTTP. Spec: client-server API, "Getting events for a room". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

function shown(chunk: Json): string[] {
  return chunk.map((event: Json) => event.content.body ?? event.type);
}

/** Pages until there is no `end`; returns all events in the order they came. */
async function pageAll(
  client: TestClient,
  { roomId, ...query }: { roomId: string; dir: "b" | "f"; limit: number },
): Promise<Json[]> {
  const found: Json[] = [];
  let from: string | null = null;
  for (let page = 0; page < 100; page++) {
    const response: Json = await client.get(path`/rooms/${roomId}/messages`, { ...query, ...(from ? { from } : {}) });
    found.push(...response.chunk);
    if (response.end === undefined) return found;
    from = response.end;
  }
  assert.fail("the pages do not end");
}

async function withHistory(hs: TestServer): Promise<{ alice: TestClient; roomId: string; ids: string[] }> {
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const ids: string[] = [];
  for (let index = 0; index < 12; index++) ids.push(await alice.sendText(roomId, `m${index}`));
  return { alice, roomId, ids };
}

testEachServer("both directions give each event once, in opposite orders, for any page size", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId, ids } = await withHistory(hs);
  const forward = await pageAll(alice, { roomId, dir: "f", limit: 5 });
  assert.equal(forward[0].type, "m.room.create");
  assert.equal(forward[0].room_id, roomId);
  assert.deepEqual(forward.slice(-12).map((event) => event.event_id), ids);
  for (const limit of [1, 4, 7, 100]) {
    const backward = await pageAll(alice, { roomId, dir: "b", limit });
    assert.deepEqual(backward.map((event) => event.event_id).reverse(), forward.map((event) => event.event_id));
  }
});

testEachServer(
  "a page that reaches the start has an end all the same, which leads to an empty page without one",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const { alice, roomId } = await withHistory(hs);
    const messages = path`/rooms/${roomId}/messages`;
    const whole: Json = await alice.get(messages, { dir: "b", limit: 100 });
    assert.equal(typeof whole.end, "string");
    const beyond: Json = await alice.get(messages, { dir: "b", limit: 100, from: whole.end });
    assert.deepEqual(beyond.chunk, []);
    assert.equal(beyond.end, undefined);
  },
);

testEachServer("from and to bound a page, with tokens of sync as well", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId } = await withHistory(hs);
  const before = (await alice.sync()).next_batch;
  await alice.sendText(roomId, "new1");
  await alice.sendText(roomId, "new2");
  const after = (await alice.sync()).next_batch;
  await alice.sendText(roomId, "later");
  const messages = path`/rooms/${roomId}/messages`;
  assert.deepEqual(shown((await alice.get(messages, { dir: "f", from: before, to: after })).chunk), ["new1", "new2"]);
  assert.deepEqual(shown((await alice.get(messages, { dir: "b", from: after, to: before })).chunk), ["new2", "new1"]);
  const first = await alice.get(messages, { dir: "b", from: before, limit: 2 });
  assert.deepEqual(shown(first.chunk), ["m11", "m10"]);
  const back = await alice.get(messages, { dir: "f", from: first.end, limit: 2 });
  assert.deepEqual(shown(back.chunk), ["m10", "m11"]);
});

testEachServer("filters select by type, sender, URL and relation", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId, ids } = await withHistory(hs);
  await alice.send(roomId, { type: "m.room.message", content: { msgtype: "m.image", body: "pic", url: "mxc://x/y" } });
  const relation = { "m.relates_to": { rel_type: "m.thread", event_id: ids[0] } };
  await alice.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body: "threaded", ...relation } });
  const find = async (filter: Json) => {
    const query = { dir: "b", limit: 3, filter: JSON.stringify(filter) };
    return shown((await alice.get(path`/rooms/${roomId}/messages`, query)).chunk);
  };
  assert.deepEqual(await find({ contains_url: true }), ["pic"]);
  assert.deepEqual(await find({ types: ["m.room.cre*"] }), ["m.room.create"]);
  assert.deepEqual(await find({ not_senders: [alice.userId] }), []);
  assert.deepEqual(await find({ "org.matrix.msc3874.rel_types": ["m.thread"] }), ["threaded"]);
  assert.deepEqual(await find({ "org.matrix.msc3874.not_rel_types": ["m.thread"], not_types: ["m.room.m*r"] }), [
    "pic",
    "m11",
    "m10",
  ]);
});

testEachServer("lazy loading adds the members who sent the page", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId } = await withHistory(hs);
  const [bob, carol] = await hs.register("bob", "carol");
  await bob.join(roomId);
  await carol.join(roomId);
  const from = (await alice.sync()).next_batch;
  await carol.sendText(roomId, "from carol");
  const query = { dir: "f", from, filter: JSON.stringify({ lazy_load_members: true }) };
  const { state } = await alice.get(path`/rooms/${roomId}/messages`, query);
  assert.deepEqual(state.map((event: Json) => [event.type, event.state_key]), [["m.room.member", carol.userId]]);
});

testEachServer("people who left read up to their leaving; strangers and the forgetful nothing", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId } = await withHistory(hs);
  const [bob, eve] = await hs.register("bob", "eve");
  await bob.join(roomId);
  await bob.leave(roomId);
  const later = await alice.sendText(roomId, "later");
  const since = (await bob.sync()).next_batch;
  const messages = path`/rooms/${roomId}/messages`;
  const { chunk } = await bob.get(messages, { dir: "b", from: since, limit: 3 });
  assert.deepEqual(chunk.map((event: Json) => event.content.membership ?? event.content.body), [
    "leave",
    "join",
    "m11",
  ]);
  assert.deepEqual((await bob.get(messages, { dir: "f", from: since })).chunk, []);
  await bob.fails("GET", path`/rooms/${roomId}/event/${later}`, { status: 404, errcode: "M_NOT_FOUND" });
  await eve.fails("GET", messages, { query: { dir: "b" }, status: 403, errcode: "M_FORBIDDEN" });
  await eve.fails("GET", path`/rooms/!nowhere:hs.test/messages`, { status: 403, errcode: "M_FORBIDDEN" });
  await bob.post(path`/rooms/${roomId}/forget`);
  await bob.fails("GET", messages, { status: 403, errcode: "M_FORBIDDEN" });
});

testEachServer("context gives what came before and after, and tokens that lead on", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId, ids } = await withHistory(hs);
  const context = await alice.get(path`/rooms/${roomId}/context/${ids[5] ?? ""}`, { limit: 4 });
  assert.equal(context.event.content.body, "m5");
  assert.deepEqual(shown(context.events_before), ["m4", "m3"]);
  assert.deepEqual(shown(context.events_after), ["m6", "m7"]);
  assert.ok(context.state.some((event: Json) => event.type === "m.room.create"));
  const messages = path`/rooms/${roomId}/messages`;
  assert.deepEqual(shown((await alice.get(messages, { dir: "b", from: context.start, limit: 1 })).chunk), ["m2"]);
  assert.deepEqual(shown((await alice.get(messages, { dir: "f", from: context.end, limit: 1 })).chunk), ["m8"]);
  const none = await alice.get(path`/rooms/${roomId}/context/${ids[5] ?? ""}`, { limit: 0 });
  assert.deepEqual([none.events_before, none.events_after, none.event.content.body], [[], [], "m5"]);
  await alice.fails("GET", path`/rooms/${roomId}/context/$missing`, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("history visibility decides what someone who joins later may see", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, eve] = await hs.register("alice", "bob", "eve");
  const expected = {
    joined: [false, false, true],
    invited: [false, true, true],
    shared: [true, true, true],
    world_readable: [true, true, true],
  };
  for (const [setting, seen] of Object.entries(expected)) {
    const state = [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: setting } }];
    const roomId = await alice.createRoom({ preset: "private_chat", initial_state: state });
    const ids = [await alice.sendText(roomId, "early")];
    await alice.invite(roomId, bob.userId);
    ids.push(await alice.sendText(roomId, "invited"));
    await bob.join(roomId);
    ids.push(await alice.sendText(roomId, "joined"));
    for (const [index, eventId] of ids.entries()) {
      const { status } = await bob.request("GET", path`/rooms/${roomId}/event/${eventId}`);
      assert.equal(status, seen[index] ? 200 : 404, `${setting} ${index}`);
    }
    const { status } = await eve.request("GET", path`/rooms/${roomId}/event/${ids[0] ?? ""}`);
    assert.equal(status, setting === "world_readable" ? 200 : 404, `${setting} for a stranger`);
    const timeline = (await bob.get("/sync")).rooms.join[roomId].timeline.events;
    const bodies = shown(timeline).filter((body) => ["early", "invited", "joined"].includes(body));
    assert.deepEqual(bodies, ["early", "invited", "joined"].filter((_, index) => seen[index]), setting);
    await bob.leave(roomId);
  }
});

testEachServer("a redacted event is shown pruned, with what redacted it", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId, ids } = await withHistory(hs);
  const target = ids[3] ?? "";
  assert.equal((await alice.get(path`/rooms/${roomId}/event/${target}`)).content.body, "m3");
  await alice.put(path`/rooms/${roomId}/redact/${target}/${"r1"}`, { reason: "oops" });
  const event = await alice.get(path`/rooms/${roomId}/event/${target}`);
  assert.deepEqual(event.content, {});
  assert.equal(event.unsigned.redacted_because.content.reason, "oops");
  assert.equal(event.unsigned.redacted_because.redacts, target);
});

testEachServer("wrong parameters of reading are refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const { alice, roomId } = await withHistory(hs);
  const messages = path`/rooms/${roomId}/messages`;
  for (const query of [{ dir: "x" }, { from: "bad" }, { to: "bad" }, { limit: "-1" }, { limit: "many" }]) {
    await alice.fails("GET", messages, { query: { dir: "b", ...query }, status: 400, errcode: "M_INVALID_PARAM" });
  }
  await alice.fails("GET", messages, { query: { filter: "[" }, status: 400, errcode: "M_NOT_JSON" });
  await alice.fails("GET", messages, { query: { filter: '{"limit":"x"}' }, status: 400, errcode: "M_BAD_JSON" });
  await hs.anyone.fails("GET", messages, { status: 401, errcode: "M_MISSING_TOKEN" });
});
