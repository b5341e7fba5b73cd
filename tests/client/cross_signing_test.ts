/** Cross-signing keys and signatures. Spec: client-server API, "Cross-signing". */
import assert from "node:assert/strict";
import { type Json, type TestClient } from "../harness/client.ts";
import { type CrossSigningIdentity, crossSigningIdentity, TestKey, uploadDevice } from "../harness/e2ee.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const UPLOAD = "/keys/device_signing/upload";
const SIGNATURES = "/keys/signatures/upload";

async function bootstrap(client: TestClient): Promise<CrossSigningIdentity> {
  const identity = crossSigningIdentity(client.userId);
  await client.post(UPLOAD, identity.upload);
  return identity;
}

function query(client: TestClient, { userId }: TestClient): Promise<Json> {
  return client.post("/keys/query", { device_keys: { [userId]: [] } });
}

function signersOf(key: Json): string[] {
  return Object.values<Json>(key.signatures ?? {}).flatMap((made) => Object.keys(made)).sort();
}

testEachServer("the first keys need no password, the same ones nothing, others a password", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const first = await bootstrap(alice);
  const seen = await query(bob, alice);
  assert.deepEqual(seen.master_keys[alice.userId], first.upload.master_key);
  assert.deepEqual(seen.self_signing_keys[alice.userId], first.upload.self_signing_key);
  assert.deepEqual(seen.user_signing_keys, {});
  assert.deepEqual((await query(alice, alice)).user_signing_keys[alice.userId], first.upload.user_signing_key);
  await alice.post(UPLOAD, first.upload);
  const { upload } = crossSigningIdentity(alice.userId);
  const challenge = await alice.fails("POST", UPLOAD, { body: upload, status: 401, errcode: undefined });
  assert.deepEqual(challenge.flows, [{ stages: ["m.login.password"] }]);
  const { self_signing_key } = upload;
  const partly = { body: { self_signing_key }, status: 401, errcode: undefined };
  await alice.fails("POST", UPLOAD, partly);
  assert.deepEqual((await query(bob, alice)).master_keys[alice.userId], first.upload.master_key);
  await alice.post(UPLOAD, { ...upload, auth: alice.auth(challenge.session) });
  assert.deepEqual((await query(bob, alice)).master_keys[alice.userId], upload.master_key);
});

testEachServer("of uploads at the same time one is first and the others need a password", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => alice.request("POST", UPLOAD, { body: crossSigningIdentity(alice.userId).upload })),
  );
  assert.equal(answers.filter(({ status }) => status === 200).length, 1);
  assert.ok(answers.every(({ status }) => [200, 401, 409].includes(status)));
});

testEachServer("keys are refused that are malformed or not signed by the master key", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const { upload, selfSigning } = crossSigningIdentity(alice.userId);
  const { master_key, self_signing_key } = upload;
  const refuse = (body: Json, errcode: string) => alice.fails("POST", UPLOAD, { body, status: 400, errcode });
  await hs.anyone.fails("POST", UPLOAD, { body: upload, status: 401, errcode: "M_MISSING_TOKEN" });
  await refuse("{", "M_NOT_JSON");
  await refuse({ master_key: [] }, "M_BAD_JSON");
  await refuse({ self_signing_key }, "M_INVALID_PARAM");
  await refuse({ master_key: { ...master_key, user_id: "@eve:hs.test" } }, "M_INVALID_PARAM");
  await refuse({ master_key: { ...master_key, usage: ["self_signing"] } }, "M_INVALID_PARAM");
  await refuse({ master_key: { ...master_key, keys: { "ed25519:abc": "abc" } } }, "M_INVALID_PARAM");
  await refuse({ master_key: { ...master_key, keys: {} } }, "M_INVALID_PARAM");
  await refuse({ master_key: { ...master_key, extra: "x".repeat(20_000) } }, "M_INVALID_PARAM");
  const { signatures: _signatures, ...unsigned } = self_signing_key;
  await refuse({ master_key, self_signing_key: unsigned }, "M_INVALID_SIGNATURE");
  const bySelf = selfSigning.signed(unsigned, { userId: alice.userId });
  await refuse({ master_key, self_signing_key: bySelf }, "M_INVALID_SIGNATURE");
  assert.deepEqual((await query(alice, alice)).master_keys, {});
  await alice.post(UPLOAD, {});
});

testEachServer(
  "signatures on one's own keys are seen by all, those on others' keys by their maker",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    for (const client of [bob, carol]) await client.join(roomId);
    const phone = await alice.anotherDevice();
    const device = await uploadDevice(alice);
    const [own, bobs] = [await bootstrap(alice), await bootstrap(bob)];
    for (const client of [alice, bob, carol, phone]) await client.sync();
    const { userId } = alice;
    const self = own.selfSigning.signed(device.keys, { userId });
    const master = device.key.signed(own.upload.master_key, { userId, name: alice.deviceId });
    const mine = { [alice.deviceId]: self, [own.master.publicKey]: master };
    assert.deepEqual(await alice.post(SIGNATURES, { [userId]: mine }), { failures: {} });
    for (const client of [bob, carol, phone]) {
      assert.deepEqual((await client.sync({ timeout: 10_000 })).device_lists.changed, [userId]);
      const { device_keys, master_keys } = await query(client, alice);
      const expected = [`ed25519:${alice.deviceId}`, `ed25519:${own.selfSigning.publicKey}`].sort();
      assert.deepEqual(signersOf(device_keys[userId][alice.deviceId]), expected);
      assert.deepEqual(signersOf(master_keys[userId]), [`ed25519:${alice.deviceId}`]);
    }
    const trusted = own.userSigning.signed(bobs.upload.master_key, { userId });
    const bobsMaster = { [bob.userId]: { [bobs.master.publicKey]: trusted } };
    assert.deepEqual(await alice.post(SIGNATURES, bobsMaster), { failures: {} });
    const seen = await phone.syncUntil((response) => response.device_lists?.changed.includes(bob.userId));
    assert.deepEqual(seen.device_lists.changed, [bob.userId]);
    assert.deepEqual(signersOf((await query(phone, bob)).master_keys[bob.userId]), [
      `ed25519:${own.userSigning.publicKey}`,
    ]);
    for (const client of [bob, carol]) {
      assert.equal((await client.sync()).device_lists, undefined);
      assert.deepEqual(signersOf((await query(client, bob)).master_keys[bob.userId]), []);
    }
  },
);

testEachServer("signatures that do not hold are refused one by one", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const device = await uploadDevice(alice);
  const bobsDevice = await uploadDevice(bob);
  const [own, bobs] = [await bootstrap(alice), await bootstrap(bob)];
  const { userId } = alice;
  const refusedAs = async (target: string, { key, object }: { key: string; object: Json }) => {
    const { failures } = await alice.post(SIGNATURES, { [target]: { [key]: object } });
    return failures[target]?.[key]?.errcode;
  };
  const key = alice.deviceId;
  const other = new TestKey();
  assert.equal(await refusedAs(userId, { key: "NOSUCH", object: device.keys }), "M_NOT_FOUND");
  assert.equal(await refusedAs(userId, { key: "a\u0000", object: device.keys }), "M_NOT_FOUND");
  assert.equal(await refusedAs("@nobody:hs.test", { key, object: device.keys }), "M_NOT_FOUND");
  assert.equal(await refusedAs(userId, { key, object: [] }), "M_BAD_JSON");
  const changed = own.selfSigning.signed({ ...device.keys, algorithms: [] }, { userId });
  assert.equal(await refusedAs(userId, { key, object: changed }), "M_INVALID_PARAM");
  const byStranger = other.signed(device.keys, { userId });
  assert.equal(await refusedAs(userId, { key, object: byStranger }), "M_INVALID_SIGNATURE");
  const forged = other.signed(device.keys, { userId, name: own.selfSigning.publicKey });
  assert.equal(await refusedAs(userId, { key, object: forged }), "M_INVALID_SIGNATURE");
  // Another user's device is nobody's to sign, and their master key only the user-signing key's.
  const theirs = own.userSigning.signed(bobsDevice.keys, { userId });
  assert.equal(await refusedAs(bob.userId, { key: bob.deviceId, object: theirs }), "M_INVALID_SIGNATURE");
  const byMaster = own.master.signed(bobs.upload.master_key, { userId });
  assert.equal(await refusedAs(bob.userId, { key: bobs.master.publicKey, object: byMaster }), "M_INVALID_SIGNATURE");
  const good = own.selfSigning.signed(device.keys, { userId });
  const mixed = await alice.post(SIGNATURES, { [userId]: { [key]: good, NOSUCH: good } });
  assert.deepEqual(Object.keys(mixed.failures[userId]), ["NOSUCH"]);
  assert.equal(signersOf((await query(bob, alice)).device_keys[userId][key]).length, 2);
});

testEachServer(
  "new keys of a device lose the signatures on its old ones; the end of an account ends its keys",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    const { userId, deviceId } = alice;
    const device = await uploadDevice(alice);
    const own = await bootstrap(alice);
    await alice.post(SIGNATURES, { [userId]: { [deviceId]: own.selfSigning.signed(device.keys, { userId }) } });
    const signers = async () => signersOf((await query(bob, alice)).device_keys[userId][deviceId]);
    assert.equal((await signers()).length, 2);
    await uploadDevice(alice);
    assert.deepEqual(await signers(), [`ed25519:${deviceId}`]);
    await alice.post("/room_keys/version", { algorithm: "m.megolm_backup.v1.curve25519-aes-sha2", auth_data: {} });
    await alice.post("/account/deactivate", { auth: alice.auth() });
    const { device_keys, master_keys, self_signing_keys } = await query(bob, alice);
    assert.deepEqual({ device_keys, master_keys, self_signing_keys }, {
      device_keys: { [userId]: {} },
      master_keys: {},
      self_signing_keys: {},
    });
  },
);

testEachServer("names that every object has are no way into the server", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const wrong = { status: 400, errcode: "M_BAD_JSON" };
  for (const name of ["constructor", "__proto__", "toString"]) {
    await alice.fails("POST", SIGNATURES, { body: `{"${name}": {"keys": {}, "name": 1}}`, ...wrong });
    const { failures } = await alice.post(SIGNATURES, JSON.parse(`{"${alice.userId}": {"${name}": {}}}`));
    assert.deepEqual(Object.keys(failures[alice.userId]), [name]);
    const phone = await alice.anotherDevice(name);
    await uploadDevice(phone);
    assert.ok(Object.keys((await query(alice, alice)).device_keys[alice.userId]).includes(name));
  }
});
