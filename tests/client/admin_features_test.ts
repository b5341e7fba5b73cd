/** Synapse's admin API for proposals that are switched on for single users, and what each of them changes. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { PushGateway } from "../harness/push_gateway.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { SLIDING_SYNC } from "../harness/sliding.ts";

const VERSIONS = "/_matrix/client/versions";
const ENABLED = "org.matrix.msc3881.enabled";
const DEVICE = "org.matrix.msc3881.device_id";

function featuresOf(userId: string): string {
  return path`/_synapse/admin/v1/experimental_features/${userId}`;
}

testEachServer("switches are set one by one and survive a restart", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const none = { msc3881: false, msc3575: false, msc4222: false };
  assert.deepEqual(await admin.get(featuresOf(alice.userId)), { features: none });
  assert.deepEqual(await admin.put(featuresOf(alice.userId), { features: { msc3881: true, msc4222: true } }), {});
  await admin.put(featuresOf(alice.userId), { features: { msc4222: false, msc3575: true } });
  await hs.restart();
  const features = { msc3881: true, msc3575: true, msc4222: false };
  assert.deepEqual(await hs.again(admin).get(featuresOf(alice.userId)), { features });
  assert.deepEqual(await hs.again(admin).get(featuresOf(bob.userId)), { features: none });
});

testEachServer("sliding sync that is off is there for those it was switched on for", async (database) => {
  await using hs = await TestServer.start({ database, config: { experimental_features: { msc3575_enabled: false } } });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  await admin.put(featuresOf(alice.userId), { features: { msc3575: true } });
  await alice.post(SLIDING_SYNC);
  await bob.fails("POST", SLIDING_SYNC, { body: {}, status: 404, errcode: "M_UNRECOGNIZED" });
  await hs.anyone.fails("POST", SLIDING_SYNC, { body: {}, status: 401, errcode: "M_MISSING_TOKEN" });
  const told = async (client: typeof hs.anyone) =>
    (await client.get(VERSIONS)).unstable_features["org.matrix.simplified_msc3575"];
  assert.deepEqual([await told(hs.anyone), await told(bob), await told(alice)], [false, false, true]);
  await hs.anyone.fails("GET", VERSIONS, { token: "unknown", status: 401, errcode: "M_UNKNOWN_TOKEN" });
  await admin.put(featuresOf(alice.userId), { features: { msc3575: false } });
  await alice.fails("POST", SLIDING_SYNC, { body: {}, status: 404, errcode: "M_UNRECOGNIZED" });
});

testEachServer("pushers can be switched off by those it was switched on for", async (database) => {
  await using gateway = new PushGateway();
  await using hs = await TestServer.start({ database, config: { ip_range_blacklist: [] } });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const pusher = {
    ...{ kind: "http", app_id: "org.app", app_display_name: "App", device_display_name: "Phone", pushkey: "key" },
    ...{ lang: "en", profile_tag: "", data: { url: gateway.url } },
  };
  const set = (client: typeof alice, extra: Json = {}) => client.post("/pushers/set", { ...pusher, ...extra });
  const shown = async (client: typeof alice) => (await client.get("/pushers")).pushers[0];
  await set(alice, { [ENABLED]: false });
  assert.deepEqual(await shown(alice), pusher);
  await admin.put(featuresOf(alice.userId), { features: { msc3881: true } });
  assert.deepEqual(await shown(alice), { ...pusher, [ENABLED]: true, [DEVICE]: alice.deviceId });
  assert.equal((await alice.get(VERSIONS)).unstable_features["org.matrix.msc3881"], true);
  await set(alice, { [ENABLED]: false });
  assert.equal((await shown(alice))[ENABLED], false);
  const listed = await admin.get(path`/_synapse/admin/v1/users/${alice.userId}/pushers`);
  assert.deepEqual(listed.pushers, [{ ...pusher, enabled: false, device_id: alice.deviceId }]);
  await hs.restart();
  const [aliceAgain, bobAgain] = [hs.again(alice), hs.again(bob)];
  const missed = await bobAgain.sendText(roomId, "while it is off");
  await set(aliceAgain);
  assert.equal((await shown(aliceAgain))[ENABLED], true);
  const pushed = await bobAgain.sendText(roomId, "while it is on");
  await gateway.find((notification) => notification.event_id === pushed);
  assert.equal(gateway.notifications.some((notification) => notification.event_id === missed), false);
  await aliceAgain.fails("POST", "/pushers/set", {
    ...{ body: { ...pusher, [ENABLED]: "no" }, status: 400, errcode: "M_BAD_JSON" },
  });
});

testEachServer("switches are set by administrators, to true or false, and only those there are", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const good = { body: { features: { msc3881: true } } };
  for (const [method, options] of [["GET", {}], ["PUT", good]] as const) {
    await hs.anyone.fails(method, featuresOf(alice.userId), { ...options, status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails(method, featuresOf(alice.userId), { ...options, status: 403, errcode: "M_FORBIDDEN" });
    await admin.fails(method, featuresOf("@nobody:hs.test"), { ...options, status: 404, errcode: "M_NOT_FOUND" });
    await admin.fails(method, featuresOf("@a:elsewhere.test"), { ...options, status: 400, errcode: "M_UNKNOWN" });
    await admin.fails(method, featuresOf("alice"), { ...options, status: 400, errcode: "M_INVALID_PARAM" });
  }
  const wrong: Json[] = [
    ...[{}, { features: {} }, { features: [] }, { features: { msc1: true } }],
    { features: { toString: true } },
  ];
  for (const body of wrong) {
    await admin.fails("PUT", featuresOf(alice.userId), { body, status: 400, errcode: "M_UNKNOWN" });
  }
  const half = { features: { msc3881: true, msc4222: "yes" } };
  await admin.fails("PUT", featuresOf(alice.userId), { body: half, status: 400, errcode: "M_BAD_JSON" });
  assert.equal((await admin.get(featuresOf(alice.userId))).features.msc3881, false);
});
