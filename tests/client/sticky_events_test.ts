import assert from "node:assert/strict";
import { isJoinedTo, type Json, path, type TestClient } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const CONFIG = { experimental_features: { msc4354_enabled: true }, max_event_delay_duration: "1d" };
const PARAM = "org.matrix.msc4354.sticky_duration_ms";
const EXTENSION = "org.matrix.msc4354.sticky_events";
const TYPE = "m.rtc.member";
let count = 0;

async function stick(
  client: TestClient,
  { roomId, durationMs, delayMs }: { roomId: string; durationMs: number | string; delayMs?: number },
): Promise<string> {
  const target = path`/rooms/${roomId}/send/${TYPE}/${`sticky${count++}`}`;
  const query = { [PARAM]: durationMs, ...(delayMs === undefined ? {} : { "org.matrix.msc4140.delay": delayMs }) };
  const answer = await client.ok("PUT", target, { body: { n: count }, query });
  return answer.event_id ?? answer.delay_id;
}

async function talk(client: TestClient, { roomId, times }: { roomId: string; times: number }): Promise<void> {
  for (let index = 0; index < times; index++) {
    await client.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body: `${index}` } });
  }
}

function stickyIds(response: Json, roomId: string): string[] {
  return (response.rooms?.join?.[roomId]?.msc4354_sticky?.events ?? []).map((event: Json) => event.event_id);
}

testEachServer("a sticky event that the timeline leaves out is in its own section once", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: CONFIG });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.sync();
  const shown = await stick(alice, { roomId, durationMs: 60_000 });
  const within = await bob.syncUntil(isJoinedTo(roomId));
  assert.deepEqual(stickyIds(within, roomId), [], "what the timeline shows is not told twice");
  const [event] = within.rooms.join[roomId].timeline.events;
  assert.deepEqual([event.event_id, event.msc4354_sticky], [shown, { duration_ms: 60_000 }]);
  assert.equal(event.unsigned.msc4354_sticky_duration_ttl_ms, 60_000);
  clock.advance(20_000);
  const hidden = await stick(alice, { roomId, durationMs: 3_600_000 });
  await talk(alice, { roomId, times: 12 });
  const gap = await bob.syncUntil(isJoinedTo(roomId));
  assert.deepEqual(stickyIds(gap, roomId), [hidden]);
  assert.equal(gap.rooms.join[roomId].msc4354_sticky.events[0].unsigned.msc4354_sticky_duration_ttl_ms, 3_600_000);
  await talk(alice, { roomId, times: 1 });
  assert.deepEqual(stickyIds(await bob.syncUntil(isJoinedTo(roomId)), roomId), []);
  assert.deepEqual(stickyIds(await bob.get("/sync"), roomId), [shown, hidden]);
  clock.advance(40_000);
  assert.deepEqual(stickyIds(await bob.get("/sync"), roomId), [hidden], "the other has expired");
  await bob.put(path`/user/${bob.userId}/account_data/m.ignored_user_list`, { ignored_users: { [alice.userId]: {} } });
  assert.deepEqual(stickyIds(await bob.get("/sync"), roomId), []);
  await alice.put(path`/rooms/${roomId}/redact/${hidden}/r1`, {});
  assert.deepEqual(stickyIds(await alice.get("/sync"), roomId), [], "a redacted event is like any other");
});

testEachServer("who joins sees what was stuck before, whatever the history visibility", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [before] = await hs.register("alice");
  const initial_state = [{ type: "m.room.history_visibility", content: { history_visibility: "joined" } }];
  const roomId = await before.createRoom({ preset: "public_chat", initial_state });
  const first = await stick(before, { roomId, durationMs: 600_000 });
  await hs.restart();
  const alice = hs.again(before);
  await talk(alice, { roomId, times: 12 });
  const second = await stick(alice, { roomId, durationMs: 600_000 });
  const [bob] = await hs.register("bob");
  await bob.sync();
  await bob.join(roomId);
  const response = await bob.syncUntil(isJoinedTo(roomId));
  assert.deepEqual(stickyIds(response, roomId), [first, second]);
  const timeline = response.rooms.join[roomId].timeline.events.map((event: Json) => event.event_id);
  assert.ok(!timeline.includes(second));
});

testEachServer("a delayed event is sticky from when it is sent", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const delayId = await stick(alice, { roomId, durationMs: 600_000, delayMs: 60_000 });
  assert.deepEqual(stickyIds(await alice.get("/sync"), roomId), []);
  await alice.post(`/_matrix/client/unstable/org.matrix.msc4140/delayed_events/${delayId}/send`);
  await talk(alice, { roomId, times: 12 });
  assert.equal(stickyIds(await alice.get("/sync"), roomId).length, 1);
});

testEachServer("sliding sync tells of sticky events by a token of their own", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: CONFIG });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const zero = await stick(alice, { roomId, durationMs: 60_000 });
  await talk(alice, { roomId, times: 2 });
  await bob.join(roomId);
  const sync = async (since: string | undefined, limit = 100) => {
    const lists = { all: { ranges: [[0, 9]], timeline_limit: 2, required_state: [] } };
    const extensions = { [EXTENSION]: { enabled: true, limit, ...(since === undefined ? {} : { since }) } };
    const target = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
    const { extensions: { [EXTENSION]: told } } = await alice.post(target, { lists, extensions });
    const events = told?.rooms[roomId]?.events ?? [];
    return { next: told?.next_batch, ids: events.map((event: Json) => event.event_id) };
  };
  const base = await sync(undefined);
  assert.deepEqual(base.ids, [zero]);
  const ids = [await stick(alice, { roomId, durationMs: 60_000 }), await stick(alice, { roomId, durationMs: 60_000 })];
  await talk(alice, { roomId, times: 5 });
  const whole = await sync(undefined);
  assert.deepEqual(whole.ids, [zero, ...ids]);
  assert.deepEqual(await sync(whole.next), { next: undefined, ids: [] });
  const one = await sync(base.next, 1);
  assert.deepEqual(one.ids, [ids[0]]);
  assert.deepEqual((await sync(one.next, 1)).ids, [ids[1]]);
  const shown = await stick(bob, { roomId, durationMs: 60_000 });
  assert.deepEqual((await sync(whole.next)).ids, [], "the timeline shows it");
  await talk(bob, { roomId, times: 3 });
  assert.deepEqual((await sync(whole.next)).ids, [shown]);
  clock.advance(60_000);
  assert.deepEqual((await sync(undefined)).ids, []);
});

testEachServer("sticky durations are bounded, and ignored where they are not offered", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [before] = await hs.register("alice");
  const roomId = await before.createRoom();
  const target = path`/rooms/${roomId}/send/${TYPE}/refused`;
  for (const duration of [3_600_001, -1, "soon"]) {
    const query = { [PARAM]: duration };
    await before.fails("PUT", target, { body: {}, query, status: 400, errcode: "M_INVALID_PARAM" });
  }
  const state = path`/rooms/${roomId}/state/${TYPE}/key`;
  const { event_id: first } = await before.ok("PUT", state, { body: {}, query: { [PARAM]: 60_000 } });
  const { event_id: again } = await before.ok("PUT", state, { body: {}, query: { [PARAM]: 60_000 } });
  assert.notEqual(again, first, "the same state sticks anew");
  await hs.restart({ experimental_features: {} });
  const alice = hs.again(before);
  const { event_id: plain } = await alice.ok("PUT", target, { body: {}, query: { [PARAM]: "soon" } });
  assert.equal((await alice.get(path`/rooms/${roomId}/event/${plain}`)).msc4354_sticky, undefined);
});
