import assert from "node:assert/strict";
import { hasEvent, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const BASE = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
const CONFIG = { max_event_delay_duration: "1d" };
const TYPE = "com.example.test";

async function list(client: TestClient): Promise<Json[]> {
  return (await client.get(BASE)).delayed_events;
}

function delayed(roomId: string, { delay, tail }: { delay: number; tail: string }): string {
  return `${path`/rooms/${roomId}`}/${tail}?org.matrix.msc4140.delay=${delay}`;
}

testEachServer("a delayed event is sent when its time comes", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await alice.sync();
  const target = delayed(roomId, { delay: 200, tail: `send/${TYPE}/txn` });
  const { delay_id: delayId } = await alice.put(target, { count: 1 });
  assert.equal((await alice.request("PUT", target)).body.delay_id, delayId);
  await alice.syncUntil(hasEvent(roomId, (event) => event.type === TYPE && event.content.count === 1));
  assert.deepEqual(await list(alice), []);
  assert.equal((await alice.put(target, { count: 1 })).delay_id, delayId);
});

testEachServer("waiting events are shown to their sender alone", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const schedule = async (tail: string) =>
    (await alice.put(delayed(roomId, { delay: 60_000, tail }), { a: 1 })).delay_id;
  const message = await schedule(`send/${TYPE}/txn`);
  const state = await schedule(`state/${TYPE}/key`);
  const waiting = new Map((await list(alice)).map((event) => [event.delay_id, event]));
  assert.deepEqual([...waiting.keys()].sort(), [message, state].sort());
  const common = { room_id: roomId, type: TYPE, delay_ms: 60_000, content: { a: 1 } };
  for (const expected of [{ delay_id: message }, { delay_id: state, state_key: "key" }]) {
    const { delay, running_since: since, ...current } = waiting.get(expected.delay_id);
    assert.deepEqual([current, delay], [{ ...common, ...expected, delayed_since_ts: since }, 60_000]);
    const one = `${BASE}/${expected.delay_id}`;
    assert.deepEqual(await alice.get(one), current);
    await bob.fails("GET", one, { status: 404, errcode: "M_NOT_FOUND" });
    await hs.anyone.fails("GET", one, { status: 401, errcode: "M_MISSING_TOKEN" });
  }
  assert.deepEqual(await list(bob), []);
  await hs.anyone.post(`${BASE}/${message}/cancel`);
  await alice.fails("GET", `${BASE}/${message}`, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("delayed state is sent, restarted and cancelled by whoever knows its id", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const schedule = async (key: string) =>
    (await alice.put(delayed(roomId, { delay: 60_000, tail: `state/${TYPE}/${key}` }), { key })).delay_id;
  const [one, two, three] = [await schedule("one"), await schedule("two"), await schedule("three")];
  await hs.anyone.post(`${BASE}/${one}/send`);
  assert.deepEqual(await alice.state(roomId, { type: TYPE, stateKey: "one" }), { key: "one" });
  await hs.anyone.post(`${BASE}/${two}/cancel`);
  const [before] = await list(alice);
  await hs.anyone.post(`${BASE}/${three}`, { action: "restart" });
  const [after] = await list(alice);
  assert.equal(after.delay_id, three);
  assert.ok(after.running_since >= before.running_since);
  for (const action of ["send", "cancel", "restart"]) {
    for (const id of [one, two, "unknown"]) {
      await hs.anyone.fails("POST", `${BASE}/${id}/${action}`, { status: 404, errcode: "M_NOT_FOUND", body: {} });
    }
  }
  await hs.anyone.fails("POST", `${BASE}/${three}/oops`, { status: 404, errcode: "M_UNRECOGNIZED", body: {} });
  await hs.anyone.fails("POST", `${BASE}/${three}`, { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await hs.anyone.fails("GET", BASE, { status: 401, errcode: "M_MISSING_TOKEN" });
});

testEachServer("delayed events outlive a restart, and those overdue are sent at once", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [before] = await hs.register("alice");
  const roomId = await before.createRoom();
  await before.put(delayed(roomId, { delay: 60_000, tail: `state/${TYPE}/later` }), {});
  await before.sync();
  await before.put(delayed(roomId, { delay: 1, tail: `state/${TYPE}/soon` }), { a: 1 });
  await hs.restart();
  const alice = hs.again(before);
  await alice.syncUntil(hasEvent(roomId, (event) => event.type === TYPE && event.state_key === "soon"));
  assert.deepEqual((await list(alice)).map((event) => event.state_key), ["later"]);
});

testEachServer("state that another user sets cancels what was to be set there", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  const [alice, bob] = await hs.register("alice", "bob");
  const override = { power_level_content_override: { events: { [TYPE]: 0 } } };
  const roomId = await alice.createRoom({ preset: "public_chat", ...override });
  await bob.join(roomId);
  for (const key of ["a", "b"]) await alice.put(delayed(roomId, { delay: 60_000, tail: `state/${TYPE}/${key}` }), {});
  await alice.setState(roomId, { type: TYPE, stateKey: "a", content: { by: "alice" } });
  assert.equal((await list(alice)).length, 2);
  await bob.setState(roomId, { type: TYPE, stateKey: "b", content: { by: "bob" } });
  assert.deepEqual((await list(alice)).map((event) => event.state_key), ["a"]);
});

testEachServer("delays are bounded, and refused where they are not offered", async (database) => {
  const config = { ...CONFIG, experimental_features: { msc4140_max_delayed_events_per_user: 1 } };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const put = (client: TestClient, delay: number | string) =>
    client.request("PUT", `${path`/rooms/${roomId}`}/state/${TYPE}/x?org.matrix.msc4140.delay=${delay}`, { body: {} });
  const code = async (client: TestClient, delay: number | string) => {
    const { status, body } = await put(client, delay);
    return [status, body.errcode, body["org.matrix.msc4140.errcode"]];
  };
  assert.deepEqual(await code(alice, 100_000_000), [400, "M_UNKNOWN", "M_MAX_DELAY_EXCEEDED"]);
  assert.deepEqual(await code(alice, 0), [400, "M_INVALID_PARAM", undefined]);
  assert.deepEqual(await code(alice, "soon"), [400, "M_INVALID_PARAM", undefined]);
  assert.deepEqual(await code(bob, 1_000), [403, "M_FORBIDDEN", undefined]);
  assert.equal((await put(alice, 60_000)).status, 200);
  assert.deepEqual(await code(alice, 60_000), [400, "M_UNKNOWN", "M_MAX_DELAYED_EVENTS_EXCEEDED"]);
  await hs.restart({ max_event_delay_duration: null });
  assert.deepEqual(await code(hs.again(alice), 1_000), [400, "M_UNKNOWN", "M_MAX_DELAY_UNSUPPORTED"]);
});
