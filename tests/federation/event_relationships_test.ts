/** Threads of any depth (MSC2836), on one server and across two. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { testConfiguredNetwork } from "./network.ts";
import { enc, startResident } from "./resident.ts";

// deno-lint-ignore no-explicit-any -- answers are checked where they are used
type Json = any;

const CONFIG = { experimental_features: { msc2836_enabled: true } };
const TARGET = "/_matrix/client/unstable/event_relationships";

/** Sends a message that names a parent. */
function reply(client: TestClient, { roomId, to, body }: { roomId: string; to?: string; body: string }) {
  const parent = to === undefined ? {} : { "m.relationship": { rel_type: "m.reference", event_id: to } };
  return client.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body, ...parent } });
}

/** A room with the thread A <- B <- (C, D), C <- E. */
async function makeThread(client: TestClient, options: Json = {}) {
  const roomId = await client.createRoom({ preset: "public_chat", ...options });
  const a = await reply(client, { roomId, body: "A" });
  const b = await reply(client, { roomId, to: a, body: "B" });
  const c = await reply(client, { roomId, to: b, body: "C" });
  const d = await reply(client, { roomId, to: b, body: "D" });
  const e = await reply(client, { roomId, to: c, body: "E" });
  return { roomId, a, b, c, d, e };
}

const bodiesOf = (answer: Json): string => answer.events.map((event: Json) => event.content.body).join("");
const hashOf = (...ids: string[]): string =>
  createHash("sha256").update(ids.sort().join("")).digest("base64").replaceAll("=", "");

testEachServer("a thread is walked in every way", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const { a, b, c, d, e } = await makeThread(alice);
  const walk = async (event: string, options: Json = {}) => {
    return bodiesOf(await alice.post(TARGET, { event_id: event, recent_first: false, ...options }));
  };
  assert.equal(await walk(a), "ABCDE");
  assert.equal(await walk(a, { depth_first: true }), "ABCED");
  assert.equal(await walk(a, { recent_first: true }), "ABDCE");
  assert.equal(await walk(a, { max_depth: 1 }), "AB");
  assert.equal(await walk(a, { max_depth: -1, max_breadth: 1 }), "ABCE");
  assert.equal(await walk(e, { direction: "up" }), "ECBA");
  assert.equal(await walk(d, { include_parent: true }), "DB");
  assert.equal(await walk(b, { direction: "up", include_children: true }), "BCDA");
  const { events, limited } = await alice.post(TARGET, { event_id: b });
  assert.equal(limited, false);
  assert.deepEqual(events[0].unsigned.children, { "m.reference": 2 });
  assert.equal(events[0].unsigned.children_hash, hashOf(c, d));
});

testEachServer("a long thread comes in pages", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const { a } = await makeThread(alice);
  const query = { event_id: a, recent_first: false, limit: 2 };
  const pages: string[] = [];
  for (let batch: string | undefined = ""; batch !== undefined;) {
    const answer: Json = await alice.post(TARGET, { ...query, batch });
    pages.push(bodiesOf(answer));
    assert.equal(answer.limited, answer.next_batch !== undefined);
    batch = answer.next_batch;
  }
  assert.deepEqual(pages, ["AB", "CD", "E"]);
});

testEachServer("threads that turn in circles end", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const { roomId, a } = await makeThread(alice);
  const content = (to: string) => ({ body: "X", "m.relationship": { rel_type: "r", event_id: to } });
  const x = await alice.send(roomId, { type: "m.x", content: content(a) });
  const own = await alice.send(roomId, { type: "m.x", content: content(x) });
  assert.equal(bodiesOf(await alice.post(TARGET, { event_id: own, direction: "up", max_depth: -1 })), "XXA");
});

testEachServer("threads are for those who may see them", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice, bob] = await hs.register("alice", "bob");
  const { a, roomId } = await makeThread(alice, { preset: "private_chat" });
  const unknown = { status: 404, errcode: "M_NOT_FOUND" };
  await bob.fails("POST", TARGET, { body: { event_id: a }, ...unknown });
  await alice.fails("POST", TARGET, { body: { event_id: "$unknown" }, ...unknown });
  await alice.fails("POST", TARGET, { body: { event_id: "$unknown", room_id: roomId }, ...unknown });
  await alice.fails("POST", TARGET, { body: { event_id: a }, token: null, status: 401, errcode: "M_MISSING_TOKEN" });
  await alice.fails("POST", TARGET, { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  for (const wrong of [{ event_id: "x" }, { limit: 0 }, { direction: "left" }, { max_depth: "1" }, { room_id: 1 }]) {
    await alice.fails("POST", TARGET, { body: { event_id: a, ...wrong }, status: 400, errcode: "M_BAD_JSON" });
  }
  await alice.fails("POST", TARGET, { body: { event_id: a, batch: "x" }, status: 400, errcode: "M_INVALID_PARAM" });
});

testEachServer("members see no part of a thread that is older than their stay", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice, bob] = await hs.register("alice", "bob");
  const state = [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } }];
  const { b, roomId } = await makeThread(alice, { initial_state: state });
  await bob.join(roomId);
  const f = await reply(alice, { roomId, to: b, body: "F" });
  assert.equal(bodiesOf(await bob.post(TARGET, { event_id: f, direction: "up", include_parent: true })), "F");
  await bob.fails("POST", TARGET, { body: { event_id: b }, status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("without its switch the endpoint is not there", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await alice.fails("POST", TARGET, { body: { event_id: "$x" }, status: 404, errcode: "M_UNRECOGNIZED" });
});

const BEFORE = "a thread from before the join is fetched as far as it is asked for";

testConfiguredNetwork({ name: BEFORE, config: CONFIG }, async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const { roomId, a, b, c, d } = await makeThread(alice);
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  const some = await bob.post(TARGET, { event_id: d, room_id: roomId, include_parent: true });
  assert.equal(bodiesOf(some), "DB");
  assert.deepEqual(some.events[1].unsigned.children, { "m.reference": 2 }, "the other server's word counts");
  assert.equal(some.events[1].unsigned.children_hash, hashOf(c, d));
  const query = { event_id: b, include_parent: true, recent_first: false };
  assert.equal(bodiesOf(await bob.post(TARGET, query)), "BACDE");
  await one.stop();
  const kept = await bob.post(TARGET, { event_id: a, recent_first: false });
  assert.equal(bodiesOf(kept), "ABCDE", "what was fetched is kept");
});

testEachServer("a server in the room gets a thread with what authorizes it, others get nothing", async (database) => {
  await using resident = await startResident(database, CONFIG);
  const [alice] = await resident.hs.register("alice");
  const thread = await makeThread(alice);
  const ask = (body: Json) => resident.ask("/unstable/event_relationships", body, { method: "POST" });
  const before = await ask({ event_id: thread.b });
  assert.deepEqual([before.status, before.body.errcode], [403, "M_FORBIDDEN"]);
  await resident.join(thread.roomId);
  const { status, body } = await ask({ event_id: thread.b, include_parent: true, recent_first: false });
  assert.deepEqual([status, bodiesOf(body), body.limited], [200, "BACDE", false]);
  assert.deepEqual(body.events[0].unsigned.children, { "m.reference": 2 });
  assert(body.auth_chain.some(({ type }: Json) => type === "m.room.create"));
  const single = await resident.ask(`/v1/event/${enc(thread.b)}`);
  const { unsigned: _, ...pdu } = body.events[0];
  assert.deepEqual(pdu, single.body.pdus[0], "the event itself is unchanged");
  const unknown = await ask({ event_id: "$unknown", room_id: thread.roomId });
  assert.deepEqual([unknown.status, unknown.body.errcode], [404, "M_NOT_FOUND"]);
  const wrong = await ask({ event_id: 5 });
  assert.deepEqual([wrong.status, wrong.body.errcode], [400, "M_BAD_JSON"]);
});
