/** What hostile requests have broken before, one test each. */
import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const BAD_JSON = { status: 400, errcode: "M_BAD_JSON" };
const INVALID = { status: 400, errcode: "M_INVALID_PARAM" };

testEachServer("text that PostgreSQL cannot keep is refused on both databases", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await alice.fails("PUT", path`/rooms/${roomId}/send/a${"\u0000"}b/txn`, { body: {}, ...INVALID });
  await alice.fails("GET", `/user/${alice.userId}/account_data/a%00b`, INVALID);
  await alice.fails("GET", path`/rooms/${roomId}/messages` + "?dir=b&from=%00", INVALID);
  for (const text of ["a\u0000b", "\ud800"]) {
    await alice.fails("PUT", path`/devices/${alice.deviceId}`, { body: { display_name: text }, ...INVALID });
    await alice.fails("POST", "/login", { body: { ...alice.auth(), device_id: text }, ...INVALID });
  }
  const device = await alice.get(path`/devices/${alice.deviceId}`);
  assert.ok(!device.display_name);
});

testEachServer("state and memberships without a canonical form are refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ name: "before" });
  const topic = path`/rooms/${roomId}/state/m.room.name/`;
  for (const body of ['{"name":"\\ud800"}', '{"name":"a","x":1e999}', '{"\\udfff":1}']) {
    await alice.fails("PUT", topic, { body, ...BAD_JSON });
  }
  assert.equal((await alice.state(roomId, { type: "m.room.name" })).name, "before");
  await alice.fails("POST", path`/join/${roomId}`, { body: '{"reason":"\\ud800"}', ...BAD_JSON });
});

testEachServer("a cross-signing key that is no point of the curve is refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const key = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE";
  const master_key = { user_id: alice.userId, usage: ["master"], keys: { [`ed25519:${key}`]: key } };
  await alice.fails("POST", "/keys/device_signing/upload", { body: { master_key, auth: alice.auth() }, ...INVALID });
});

testEachServer("an identifier whose type is no text is refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const body = '{"type":"m.login.password","password":"x","identifier":{"type":{"toString":null,"valueOf":[]}}}';
  await hs.anyone.fails("POST", "/login", { body, ...BAD_JSON });
});

testEachServer("an address of a medium that is no Unicode is refused", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  for (const action of ["delete", "unbind"]) {
    for (const medium of ["\\ud800", "\\u0000"]) {
      const body = `{"medium":"${medium}","address":"a@example.org"}`;
      await alice.fails("POST", `/account/3pid/${action}`, { body, ...BAD_JSON });
    }
  }
});
