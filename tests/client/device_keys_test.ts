/** Device keys, one-time keys and fallback keys. Spec: client-server API, "Key management API". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { deviceIdentity, uploadDevice } from "../harness/e2ee.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ALGORITHM = "signed_curve25519";

function oneTimeKeys(...ids: string[]): Json {
  return Object.fromEntries(ids.map((id) => [`${ALGORITHM}:${id}`, { key: `key ${id}`, signatures: {} }]));
}

async function claim(claimer: TestClient, { userId, deviceId }: TestClient): Promise<string | undefined> {
  const body = { one_time_keys: { [userId]: { [deviceId]: ALGORITHM } } };
  const { one_time_keys, failures } = await claimer.post("/keys/claim", body);
  assert.deepEqual(failures, {});
  return Object.keys(one_time_keys[userId]?.[deviceId] ?? {})[0];
}

async function query(
  client: TestClient,
  { userId, devices = [] }: { userId: string; devices?: readonly string[] },
): Promise<Json> {
  return (await client.post("/keys/query", { device_keys: { [userId]: devices } })).device_keys[userId];
}

testEachServer("device keys are published with the device's name and go with the device", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const phone = await alice.anotherDevice();
  const { keys } = await uploadDevice(alice);
  const phoneKeys = (await uploadDevice(phone)).keys;
  await alice.put(path`/devices/${alice.deviceId}`, { display_name: "Tablet ✨" });
  const { [alice.deviceId]: seen, [phone.deviceId]: other } = await query(bob, alice);
  assert.deepEqual(seen, { ...keys, unsigned: { device_display_name: "Tablet ✨" } });
  assert.deepEqual(other.keys, phoneKeys.keys);
  assert.deepEqual(Object.keys(await query(bob, { userId: alice.userId, devices: [phone.deviceId, "NOSUCH"] })), [
    phone.deviceId,
  ]);
  assert.deepEqual((await bob.post("/keys/query", { device_keys: { "@nobody:hs.test": [] } })).device_keys, {
    "@nobody:hs.test": {},
  });
  await phone.post("/logout");
  assert.deepEqual(Object.keys(await query(bob, alice)), [alice.deviceId]);
});

testEachServer("one-time keys are given out once each, oldest first, then the fallback key", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.sync();
  const counts = await alice.post("/keys/upload", {
    one_time_keys: oneTimeKeys("BBB"),
    fallback_keys: oneTimeKeys("FALL"),
  });
  assert.deepEqual(counts, { one_time_key_counts: { [ALGORITHM]: 1 } });
  await alice.post("/keys/upload", { one_time_keys: oneTimeKeys("AAA") });
  let sync = await alice.sync();
  assert.deepEqual(sync.device_one_time_keys_count, { [ALGORITHM]: 2 });
  assert.deepEqual(sync.device_unused_fallback_key_types, [ALGORITHM]);
  assert.equal(await claim(bob, alice), `${ALGORITHM}:BBB`);
  assert.equal(await claim(bob, alice), `${ALGORITHM}:AAA`);
  assert.deepEqual((await alice.sync()).device_unused_fallback_key_types, [ALGORITHM]);
  for (let count = 0; count < 2; count++) assert.equal(await claim(bob, alice), `${ALGORITHM}:FALL`);
  sync = await alice.sync();
  assert.deepEqual(sync.device_one_time_keys_count, { [ALGORITHM]: 0 });
  assert.deepEqual(sync.device_unused_fallback_key_types, []);
  await alice.post("/keys/upload", { fallback_keys: oneTimeKeys("FALL") });
  assert.deepEqual((await alice.sync()).device_unused_fallback_key_types, []);
  await alice.post("/keys/upload", { fallback_keys: oneTimeKeys("NEXT") });
  assert.deepEqual((await alice.sync()).device_unused_fallback_key_types, [ALGORITHM]);
  assert.equal(await claim(bob, alice), `${ALGORITHM}:NEXT`);
  assert.equal(await claim(alice, bob), undefined);
});

testEachServer("many who claim at once get a key each", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const ids = Array.from({ length: 30 }, (_, index) => `K${index}`);
  await alice.post("/keys/upload", { one_time_keys: oneTimeKeys(...ids) });
  const claimed = await Promise.all(ids.map(() => claim(bob, alice)));
  assert.deepEqual(claimed.sort(), ids.map((id) => `${ALGORITHM}:${id}`).sort());
  assert.equal(await claim(bob, alice), undefined);
});

testEachServer("the same one-time key may be uploaded again, another one under its name may not", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const upload = { one_time_keys: oneTimeKeys("AAA") };
  const answers = await Promise.all(Array.from({ length: 5 }, () => alice.post("/keys/upload", upload)));
  for (const { one_time_key_counts } of answers) assert.deepEqual(one_time_key_counts, { [ALGORITHM]: 1 });
  const resigned = { [`${ALGORITHM}:AAA`]: { key: "key AAA", signatures: { [alice.userId]: { "ed25519:A": "x" } } } };
  await alice.post("/keys/upload", { one_time_keys: resigned });
  const other = { [`${ALGORITHM}:AAA`]: { key: "another", signatures: {} }, ...oneTimeKeys("BBB") };
  const { error } = await alice.fails("POST", "/keys/upload", {
    body: { one_time_keys: other },
    status: 400,
    errcode: "M_UNKNOWN",
  });
  assert.equal(error, `One time key ${ALGORITHM}:AAA already exists`);
  assert.deepEqual(await alice.post("/keys/upload"), { one_time_key_counts: { [ALGORITHM]: 1 } });
});

testEachServer("keys are refused in wrong shapes, for other devices and without a token", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  for (const url of ["/keys/upload", "/keys/query", "/keys/claim", "/keys/signatures/upload"]) {
    await hs.anyone.fails("POST", url, { body: {}, status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails("POST", url, { body: "{", status: 400, errcode: "M_NOT_JSON" });
  }
  const { keys } = deviceIdentity(bob);
  const upload = (body: Json, errcode: string, status = 400) =>
    alice.fails("POST", "/keys/upload", { body, status, errcode });
  await upload({ device_keys: keys }, "M_INVALID_PARAM");
  await upload({ device_keys: { ...keys, user_id: alice.userId } }, "M_INVALID_PARAM");
  const own = deviceIdentity(alice).keys;
  await upload({ device_keys: { ...own, algorithms: "all" } }, "M_BAD_JSON");
  await upload({ device_keys: { ...own, keys: { a: 1.5 } } }, "M_BAD_JSON");
  await upload({ device_keys: { ...own, extra: "x".repeat(20_000) } }, "M_TOO_LARGE", 413);
  for (const name of ["nocolon", ":id", "alg:", "a:b:c", "a:b\u0000", `a:${"x".repeat(255)}`]) {
    await upload({ one_time_keys: { [name]: "key" } }, "M_BAD_JSON");
  }
  await upload({ one_time_keys: { "a:b": 1 } }, "M_BAD_JSON");
  await upload({ one_time_keys: [] }, "M_BAD_JSON");
  await upload({ fallback_keys: { "a:b": null } }, "M_BAD_JSON");
  const many = Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`a:${index}`, "key"]));
  await upload({ one_time_keys: many }, "M_TOO_LARGE", 413);
  const badQuery = (device_keys: Json, errcode: string) =>
    alice.fails("POST", "/keys/query", { body: { device_keys }, status: 400, errcode });
  await badQuery({ nonsense: [] }, "M_INVALID_PARAM");
  await badQuery({ [bob.userId]: {} }, "M_BAD_JSON");
  await badQuery({ [bob.userId]: [1] }, "M_BAD_JSON");
  await alice.fails("POST", "/keys/query", { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  const badClaim = (one_time_keys: Json, errcode: string) =>
    alice.fails("POST", "/keys/claim", { body: { one_time_keys }, status: 400, errcode });
  await badClaim({ [bob.userId]: { A: 1 } }, "M_BAD_JSON");
  await badClaim({ nonsense: { A: ALGORITHM } }, "M_INVALID_PARAM");
  await badClaim({ [bob.userId]: { "A\u0000": "b\u0000" } }, "M_INVALID_PARAM");
  assert.deepEqual(await query(bob, alice), {});
  assert.deepEqual((await alice.sync()).device_one_time_keys_count, { [ALGORITHM]: 0 });
});
