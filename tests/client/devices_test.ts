import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("devices are listed, named and read by their owner only", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.anotherDevice("weird/ id%");
  await alice.put(path`/devices/${"weird/ id%"}`, { display_name: "Weird" });
  const device = await alice.get(path`/devices/${"weird/ id%"}`);
  assert.deepEqual([device.device_id, device.display_name], ["weird/ id%", "Weird"]);
  assert.equal((await alice.get("/devices")).devices.length, 2);
  const missing = { status: 404, errcode: "M_NOT_FOUND" };
  await bob.fails("GET", path`/devices/${alice.deviceId}`, missing);
  await bob.fails("PUT", path`/devices/${alice.deviceId}`, { body: { display_name: "x" }, ...missing });
  const tooLong = { body: { display_name: "x".repeat(101) }, status: 400, errcode: "M_TOO_LARGE" };
  await alice.fails("PUT", path`/devices/${alice.deviceId}`, tooLong);
  const wrong = { body: { display_name: 1 }, status: 400, errcode: "M_BAD_JSON" };
  await alice.fails("PUT", path`/devices/${alice.deviceId}`, wrong);
  await hs.anyone.fails("GET", "/devices", { status: 401, errcode: "M_MISSING_TOKEN" });
});

testEachServer("DELETE /devices asks for the owner's password", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const phone = await alice.anotherDevice();
  const target = path`/devices/${phone.deviceId}`;
  const challenge = await alice.fails("DELETE", target, { status: 401, errcode: undefined });
  assert.deepEqual(challenge.flows, [{ stages: ["m.login.password"] }]);
  assert.deepEqual(challenge.params, {});
  const wrong = { ...alice.auth(challenge.session), password: "wrong" };
  const again = await alice.fails("DELETE", target, { body: { auth: wrong }, status: 401, errcode: "M_FORBIDDEN" });
  assert.equal(again.session, challenge.session);
  assert.deepEqual([challenge.completed, again.completed], [undefined, []]);
  await alice.fails("DELETE", target, { body: { auth: bob.auth() }, status: 403, errcode: "M_FORBIDDEN" });
  // The session was opened for one device and by one user.
  const other = { body: { auth: alice.auth(challenge.session) }, status: 403, errcode: "M_FORBIDDEN" };
  await alice.fails("DELETE", path`/devices/${alice.deviceId}`, other);
  await bob.fails("DELETE", target, {
    body: { auth: bob.auth(challenge.session) },
    status: 403,
    errcode: "M_FORBIDDEN",
  });
  await phone.get("/account/whoami");

  await alice.delete(target, { auth: alice.auth(challenge.session) });
  await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
  await phone.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  // A client that lost the answer asks again.
  await alice.delete(target, { auth: alice.auth(challenge.session) });
});

testEachServer("POST /delete_devices removes what its session was opened for", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const [one, two] = [await alice.anotherDevice("ONE"), await alice.anotherDevice("TWO")];
  const body = { devices: ["ONE"] };
  const challenge = await alice.fails("POST", "/delete_devices", { body, status: 401, errcode: undefined });
  const auth = alice.auth(challenge.session);
  const changed = { body: { devices: ["TWO"], auth }, status: 403, errcode: "M_FORBIDDEN" };
  await alice.fails("POST", "/delete_devices", changed);
  // Older clients repeat nothing but `auth`.
  await alice.post("/delete_devices", { auth });
  await one.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  await two.get("/account/whoami");
  await alice.fails("POST", "/delete_devices", { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  await alice.fails("POST", "/delete_devices", { body: { devices: "x" }, status: 400, errcode: "M_BAD_JSON" });
});

testEachServer("ui_auth.session_timeout spares a second password for a while", async (database) => {
  await using hs = await TestServer.start({ database, config: { ui_auth: { session_timeout: "5m" } } });
  const [alice] = await hs.register("alice");
  const [one, two] = [await alice.anotherDevice(), await alice.anotherDevice()];
  await alice.delete(path`/devices/${one.deviceId}`);
  await alice.delete(path`/devices/${two.deviceId}`);
  assert.equal((await alice.get("/devices")).devices.length, 1);
});
