/** Synapse's admin API for limits of users' own. */
import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const LIMITED = { status: 429, errcode: "M_LIMIT_EXCEEDED" };
/** So slow that nothing comes back while a test runs. */
const ONE = { per_second: 0.000001, burst_count: 1 };
const TEXT = { body: { msgtype: "m.text", body: "x" } };

function limitOf(userId: string): string {
  return path`/_synapse/admin/v1/users/${userId}/override_ratelimit`;
}

testEachServer("a user's own limit is for what they send, at once and after a restart", async (database) => {
  await using hs = await TestServer.start({ database, config: { rc_message: ONE, rc_reports: ONE } });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const { room_id: roomId } = await alice.post("/createRoom", { preset: "public_chat" });
  await bob.join(roomId);
  let txn = 0;
  const target = () => path`/rooms/${roomId}/send/m.room.message/${`txn${txn++}`}`;
  for (const user of [alice, bob]) await user.ok("PUT", target(), TEXT);
  for (const user of [alice, bob]) await user.fails("PUT", target(), { ...TEXT, ...LIMITED });

  assert.deepEqual(await admin.get(limitOf(alice.userId)), {});
  const three = { messages_per_second: 1, burst_count: 3 };
  assert.deepEqual(await admin.post(limitOf(alice.userId), three), three);
  assert.deepEqual(await admin.get(limitOf(alice.userId)), three);
  for (let count = 0; count < 3; count++) await alice.ok("PUT", target(), TEXT);
  await bob.fails("PUT", target(), { ...TEXT, ...LIMITED });

  // It is no limit on anything but sending; none at all lifts the others too.
  const report = { body: { reason: "spam" } };
  await alice.ok("POST", path`/rooms/${roomId}/report`, report);
  await alice.fails("POST", path`/rooms/${roomId}/report`, { ...report, ...LIMITED });
  const none = { messages_per_second: 0, burst_count: 0 };
  assert.deepEqual(await admin.ok("POST", limitOf(alice.userId)), none);
  assert.deepEqual(await admin.get(limitOf(alice.userId)), none);
  for (let count = 0; count < 5; count++) await alice.ok("PUT", target(), TEXT);
  for (let count = 0; count < 2; count++) await alice.ok("POST", path`/rooms/${roomId}/report`, report);

  await hs.restart();
  const again = hs.again(alice);
  for (let count = 0; count < 5; count++) await again.ok("PUT", target(), TEXT);
  assert.deepEqual(await hs.again(admin).delete(limitOf(alice.userId)), {});
  assert.deepEqual(await hs.again(admin).get(limitOf(alice.userId)), {});
  await again.ok("PUT", target(), TEXT);
  await again.fails("PUT", target(), { ...TEXT, ...LIMITED });
  await hs.restart();
  await hs.again(alice).ok("PUT", target(), TEXT);
  await hs.again(alice).fails("PUT", target(), { ...TEXT, ...LIMITED });
});

testEachServer("who has no limits may invite and join as often as they like", async (database) => {
  const config = { rc_invites: { per_room: ONE, per_user: ONE }, rc_joins_per_room: ONE };
  await using hs = await TestServer.start({ database, config });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const { room_id: roomId } = await alice.post("/createRoom");
  const invite = path`/rooms/${roomId}/invite`;
  await alice.post(invite, { user_id: bob.userId });
  await alice.fails("POST", invite, { body: { user_id: carol.userId }, ...LIMITED });
  await admin.post(limitOf(alice.userId));
  await alice.post(invite, { user_id: carol.userId });
  await bob.join(roomId);
  await carol.fails("POST", path`/join/${roomId}`, { body: {}, ...LIMITED });
  await admin.post(limitOf(carol.userId));
  await carol.join(roomId);
});

testEachServer("limits are set by administrators, for users of this server, to whole numbers", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  for (const method of ["GET", "POST", "DELETE"]) {
    await hs.anyone.fails(method, limitOf(alice.userId), { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails(method, limitOf(alice.userId), { status: 403, errcode: "M_FORBIDDEN" });
    await admin.fails(method, limitOf("@nobody:hs.test"), { status: 404, errcode: "M_NOT_FOUND" });
    await admin.fails(method, limitOf("@alice:elsewhere.test"), { status: 400, errcode: "M_UNKNOWN" });
    await admin.fails(method, limitOf("alice"), { status: 400, errcode: "M_INVALID_PARAM" });
  }
  for (const value of [-1, 1.5, "3", null, true, {}]) {
    for (const name of ["messages_per_second", "burst_count"]) {
      const wrong = { body: { [name]: value }, status: 400, errcode: "M_INVALID_PARAM" };
      await admin.fails("POST", limitOf(alice.userId), wrong);
    }
  }
  await admin.fails("POST", limitOf(alice.userId), { body: "{", status: 400, errcode: "M_NOT_JSON" });
  assert.deepEqual(await admin.get(limitOf(alice.userId)), {});
});
