import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("POST /account/password changes the password and ends other sessions", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const other = await alice.anotherDevice();
  const body = { new_password: "another one" };
  const challenge = await alice.fails("POST", "/account/password", { body, status: 401, errcode: undefined });
  await alice.post("/account/password", { ...body, auth: alice.auth(challenge.session) });
  await alice.get("/account/whoami");
  await other.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  const login = { type: "m.login.password", identifier: { type: "m.id.user", user: "alice" } };
  const old = { body: { ...login, password: alice.password }, status: 403, errcode: "M_FORBIDDEN" };
  await hs.anyone.fails("POST", "/login", old);
  await hs.anyone.post("/login", { ...login, password: "another one" });
});

testEachServer("POST /account/password keeps other sessions when told to, and checks its input", async (database) => {
  const policy = { enabled: true, minimum_length: 10, require_digit: true };
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const other = await alice.anotherDevice();
  await alice.post("/account/password", { new_password: "x1", logout_devices: false, auth: alice.auth() });
  await other.get("/account/whoami");
  const wrong = { body: { new_password: 1, auth: alice.auth() }, status: 400, errcode: "M_BAD_JSON" };
  await alice.fails("POST", "/account/password", wrong);
  const anonymous = { body: { new_password: "x" }, status: 401, errcode: "M_MISSING_TOKEN" };
  await hs.anyone.fails("POST", "/account/password", anonymous);

  await hs.restart({ password_config: { policy } });
  const again = hs.again(alice);
  const auth = { ...alice.auth(), password: "x1" };
  for (const weak of ["short1", "long but no digit"]) {
    const refused = { body: { new_password: weak, auth }, status: 400, errcode: "M_WEAK_PASSWORD" };
    await again.fails("POST", "/account/password", refused);
  }
});

testEachServer("POST /account/deactivate closes the account and leaves its rooms", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await bob.createRoom({ preset: "public_chat" });
  await alice.join(roomId);
  const wrong = { ...alice.auth(), password: "wrong" };
  const refused = { body: { auth: wrong }, status: 401, errcode: "M_FORBIDDEN" };
  await alice.fails("POST", "/account/deactivate", refused);
  assert.equal(
    (await alice.post("/account/deactivate", { auth: alice.auth(), erase: true })).id_server_unbind_result,
    "success",
  );

  await alice.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  const login = { ...alice.auth() };
  await hs.anyone.fails("POST", "/login", { body: login, status: 403, errcode: "M_USER_DEACTIVATED" });
  const taken = { username: "alice", password: "x", auth: { type: "m.login.dummy" } };
  await hs.anyone.fails("POST", "/register", { body: taken, status: 400, errcode: "M_USER_IN_USE" });
  const { joined } = await untilAnswer(
    () => bob.get(path`/rooms/${roomId}/joined_members`),
    (answer) => !Object.hasOwn(answer.joined, alice.userId),
  );
  assert.deepEqual(Object.keys(joined), [bob.userId]);
});

testEachServer("addresses are listed, and adding one needs a proof", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  assert.deepEqual(await alice.get("/account/3pid"), { threepids: [] });
  const denied = { body: {}, status: 400, errcode: "M_MISSING_PARAM" };
  for (const target of ["/account/3pid", "/account/3pid/add", "/account/3pid/bind"]) {
    await alice.fails("POST", target, denied);
    await hs.anyone.fails("POST", target, { body: {}, status: 401, errcode: "M_MISSING_TOKEN" });
  }
  const request = { body: {}, status: 400, errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED" };
  await hs.anyone.fails("POST", "/account/password/email/requestToken", request);
  const body = { medium: "email", address: "a@b.c" };
  assert.deepEqual(await alice.post("/account/3pid/delete", body), { id_server_unbind_result: "no-support" });
});

testEachServer("GET /capabilities and /versions say what works", async (database) => {
  await using hs = await TestServer.start({ database, config: { enable_set_displayname: false } });
  const [alice] = await hs.register("alice");
  const { capabilities } = await alice.get("/capabilities");
  assert.deepEqual(capabilities["m.set_displayname"], { enabled: false });
  assert.deepEqual(capabilities["m.profile_fields"], { enabled: true, disallowed: ["displayname"] });
  assert.deepEqual(capabilities["uk.tcpip.msc4133.profile_fields"], capabilities["m.profile_fields"]);
  assert.equal(capabilities["m.room_versions"].available[capabilities["m.room_versions"].default], "stable");
  assert.deepEqual(capabilities["m.forget_forced_upon_leave"], { enabled: false });
  assert.equal(capabilities["m.account_moderation"], undefined);
  const ofAdmin = (await (await hs.registerAdmin("admin")).get("/capabilities")).capabilities;
  assert.deepEqual(ofAdmin, { ...capabilities, "m.account_moderation": { lock: true, suspend: true } });
  assert.equal(capabilities["org.matrix.msc4140.delayed_events"], undefined);
  await hs.restart({ max_event_delay_duration: "1h" });
  const delayed = (await hs.again(alice).get("/capabilities")).capabilities["org.matrix.msc4140.delayed_events"];
  assert.deepEqual(delayed, { max_delay_ms: 3_600_000, max_scheduled: 100 });
  await hs.anyone.fails("GET", "/capabilities", { status: 401, errcode: "M_MISSING_TOKEN" });
  const { versions } = await hs.anyone.get("/_matrix/client/versions");
  assert.ok(versions.includes("v1.11"));
  await hs.again(alice).fails("PUT", path`/profile/${alice.userId}/displayname`, {
    body: { displayname: "x" },
    status: 403,
    errcode: "M_FORBIDDEN",
  });
});

/** Asks again until the answer is as wanted. */
async function untilAnswer<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + 20_000;
  while (true) {
    const answer = await ask();
    if (wanted(answer) || performance.now() > deadline) return answer;
  }
}
