import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const TARGET = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

function device(client: TestClient, deviceId: string): Json {
  const keys = { [`curve25519:${deviceId}`]: "a".repeat(43), [`ed25519:${deviceId}`]: "b".repeat(43) };
  const signatures = { [client.userId]: { [`ed25519:${deviceId}`]: "c".repeat(86) } };
  return {
    device_id: deviceId,
    device_data: { algorithm: "org.matrix.msc3814.v2", device_pickle: "secret" },
    initial_device_display_name: "Dehydrated",
    device_keys: {
      user_id: client.userId,
      device_id: deviceId,
      algorithms: ["m.olm.v1.curve25519-aes-sha2"],
      keys,
      signatures,
    },
  };
}

testEachServer("a dehydrated device receives messages, and the next login reads them", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.fails("GET", TARGET, { status: 404, errcode: "M_NOT_FOUND" });
  assert.deepEqual(await alice.put(TARGET, device(alice, "FIRST")), { device_id: "FIRST" });
  assert.deepEqual(await alice.put(TARGET, device(alice, "SECOND")), { device_id: "SECOND" });
  const { device_id: id, device_data: data } = await alice.get(TARGET);
  assert.deepEqual([id, data.device_pickle], ["SECOND", "secret"]);
  const { devices } = await alice.get("/devices");
  assert.deepEqual(devices.map((each: Json) => each.device_id).sort(), [alice.deviceId, "SECOND"].sort());
  const { device_keys: keys } = await bob.post("/keys/query", { device_keys: { [alice.userId]: [] } });
  assert.ok(keys[alice.userId].SECOND);
  const messages = { [alice.userId]: { SECOND: { hello: 1 } } };
  await bob.put("/sendToDevice/com.example.test/1", { messages });
  const page = await alice.post(`${TARGET}/SECOND/events`);
  assert.deepEqual(page.events.map((event: Json) => event.content), [{ hello: 1 }]);
  const rest = await alice.post(`${TARGET}/SECOND/events`, { next_batch: page.next_batch });
  assert.deepEqual([rest.events, rest.next_batch], [[], page.next_batch]);
  await bob.put("/sendToDevice/com.example.test/2", { messages: { [alice.userId]: { SECOND: { hello: 2 } } } });
  const first = await alice.get(`${TARGET}/SECOND/events`, { limit: 1 });
  assert.deepEqual(first.events.map((event: Json) => event.content), [{ hello: 1 }]);
  const last = await alice.get(`${TARGET}/SECOND/events`, { limit: 1, from: first.next_batch });
  assert.deepEqual(last.events.map((event: Json) => event.content), [{ hello: 2 }]);
  assert.equal(last.next_batch, undefined);
  assert.equal((await alice.get(`${TARGET}/SECOND/events`)).events.length, 2);
  await alice.fails("GET", `${TARGET}/SECOND/events?from=x`, { status: 400, errcode: "M_INVALID_PARAM" });
  await alice.fails("GET", `${TARGET}/SECOND/events?limit=0`, { status: 400, errcode: "M_INVALID_PARAM" });
  await bob.fails("GET", `${TARGET}/SECOND/events`, { status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("GET", `${TARGET}/SECOND/events`, { status: 401, errcode: "M_MISSING_TOKEN" });
  await bob.fails("POST", `${TARGET}/SECOND/events`, { status: 403, errcode: "M_FORBIDDEN", body: {} });
  assert.deepEqual(await alice.delete(TARGET), { device_id: "SECOND" });
  await alice.fails("GET", TARGET, { status: 404, errcode: "M_NOT_FOUND" });
  await alice.fails("GET", path`/devices/${"SECOND"}`, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("malformed dehydrated devices leave nothing behind", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const good = device(alice, "NEW");
  await alice.fails("PUT", TARGET, {
    status: 400,
    errcode: "M_MISSING_PARAM",
    body: { ...good, device_id: undefined },
  });
  await alice.fails("PUT", TARGET, { status: 400, errcode: "M_BAD_JSON", body: { ...good, device_data: 5 } });
  const taken = device(alice, alice.deviceId);
  await alice.fails("PUT", TARGET, { status: 400, errcode: "M_INVALID_PARAM", body: taken });
  const wrong = { ...good, device_keys: { ...good.device_keys, device_id: "OTHER" } };
  assert.equal((await alice.request("PUT", TARGET, { body: wrong })).status, 400);
  await alice.fails("GET", TARGET, { status: 404, errcode: "M_NOT_FOUND" });
  assert.equal((await alice.get("/devices")).devices.length, 1);
  await alice.put(TARGET, device(alice, "GOOD"));
  assert.equal((await alice.request("PUT", TARGET, { body: wrong })).status, 400);
  assert.equal((await alice.get(TARGET)).device_id, "GOOD");
  await hs.anyone.fails("PUT", TARGET, { status: 401, errcode: "M_MISSING_TOKEN", body: good });
});
