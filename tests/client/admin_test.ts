import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_matrix/client/v1";

testEachServer("administrators lock and suspend accounts, and let them go again", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const admin = await hs.registerAdmin("root");
  const lock = `${V1}${path`/admin/lock/${alice.userId}`}`;
  const suspend = `${V1}${path`/admin/suspend/${alice.userId}`}`;
  const roomId = await alice.createRoom();
  assert.deepEqual(await admin.get(lock), { locked: false });
  assert.deepEqual(await admin.put(lock, { locked: true }), { locked: true });
  assert.deepEqual(await admin.get(lock), { locked: true });
  await alice.fails("GET", "/account/whoami", { status: 401, errcode: "M_USER_LOCKED" });
  await admin.put(lock, { locked: false });
  await alice.get("/account/whoami");
  assert.deepEqual(await admin.put(suspend, { suspended: true }), { suspended: true });
  assert.deepEqual(await admin.get(suspend), { suspended: true });
  const body = { msgtype: "m.text", body: "x" };
  const send = path`/rooms/${roomId}/send/m.room.message/1`;
  await alice.fails("PUT", send, { status: 403, errcode: "M_USER_SUSPENDED", body });
  assert.deepEqual(await admin.put(suspend, { suspended: false }), { suspended: false });
  assert.deepEqual(await admin.get(suspend), { suspended: false });
  await alice.put(send, body);
});

testEachServer("only administrators restrict accounts, and not those of administrators", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const admin = await hs.registerAdmin("root");
  const other = await hs.registerAdmin("root2");
  const target = (userId: string) => `${V1}${path`/admin/lock/${userId}`}`;
  const body = { locked: true };
  await alice.fails("PUT", target(bob.userId), { status: 403, errcode: "M_FORBIDDEN", body });
  await alice.fails("GET", target("@nobody:hs.test"), { status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("PUT", target(bob.userId), { status: 401, errcode: "M_MISSING_TOKEN", body });
  for (const userId of [admin.userId, other.userId]) {
    await admin.fails("PUT", target(userId), { status: 403, errcode: "M_FORBIDDEN", body });
  }
  await admin.fails("PUT", target("@nobody:hs.test"), { status: 404, errcode: "M_NOT_FOUND", body });
  await admin.fails("PUT", target("@bob:elsewhere"), { status: 400, errcode: "M_INVALID_PARAM", body });
  await admin.fails("PUT", target(bob.userId), { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await admin.fails("PUT", target(bob.userId), { status: 400, errcode: "M_BAD_JSON", body: { locked: "yes" } });
});

testEachServer("GET /admin/whois tells a user, and administrators, where the account is used", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const admin = await hs.registerAdmin("root");
  const target = path`/admin/whois/${alice.userId}`;
  for (const client of [alice, admin]) {
    const { user_id: userId, devices } = await client.get(target);
    assert.equal(userId, alice.userId);
    const [connection] = devices[alice.deviceId].sessions[0].connections;
    assert.deepEqual([typeof connection.ip, typeof connection.last_seen], ["string", "number"]);
  }
  await bob.fails("GET", target, { status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
});
