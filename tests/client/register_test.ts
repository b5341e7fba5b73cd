import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { Json } from "../harness/client.ts";
import { SERVER_NAME, SHARED_SECRET, testEachServer, TestServer } from "../harness/server.ts";

const DUMMY = { type: "m.login.dummy" };

testEachServer("POST /register lists its flows, then registers in the session it opened", async (database) => {
  await using hs = await TestServer.start({ database });
  const wanted = { username: "Alice", password: "pässword", device_id: "PHONE", initial_device_display_name: "Phone" };
  const challenge = await hs.anyone.fails("POST", "/register", { body: wanted, status: 401, errcode: undefined });
  assert.deepEqual(challenge.flows, [{ stages: ["m.login.dummy"] }]);
  assert.equal(typeof challenge.session, "string");

  const auth = { ...DUMMY, session: challenge.session };
  const session = await hs.anyone.post("/register", { ...wanted, auth });
  assert.equal(session.user_id, `@alice:${SERVER_NAME}`);
  assert.equal(session.device_id, "PHONE");
  const headers = { authorization: `Bearer ${session.access_token}` };
  const whoami = await hs.anyone.ok("GET", "/account/whoami", { headers });
  assert.deepEqual(whoami, { user_id: `@alice:${SERVER_NAME}`, device_id: "PHONE", is_guest: false });
  const device = await hs.anyone.ok("GET", "/devices/PHONE", { headers });
  assert.equal(device.display_name, "Phone");
  const profile = await hs.anyone.get(`/profile/${encodeURIComponent(session.user_id)}`);
  assert.deepEqual(profile, { displayname: "alice" });

  // A client that lost the answer asks again in the same session and is logged in.
  const repeated = await hs.anyone.post("/register", { ...wanted, auth });
  assert.equal(repeated.user_id, session.user_id);
  assert.notEqual(repeated.access_token, session.access_token);
});

testEachServer("POST /register gives names, refresh tokens and no login as asked", async (database) => {
  await using hs = await TestServer.start({ database });
  const { anyone } = hs;
  const unnamed = await anyone.post("/register", { password: "secret", auth: DUMMY, refresh_token: true });
  assert.match(unnamed.user_id, /^@[a-z0-9]{12}:hs\.test$/);
  assert.equal(typeof unnamed.refresh_token, "string");
  assert.equal(unnamed.expires_in_ms, 300_000);
  const quiet = await anyone.post("/register", { username: "quiet", password: "s", auth: DUMMY, inhibit_login: true });
  assert.deepEqual(quiet, { user_id: "@quiet:hs.test", home_server: "hs.test" });
});

testEachServer("POST /register refuses names that are taken or not allowed", async (database) => {
  await using hs = await TestServer.start({ database });
  await hs.register("taken");
  const attempt = (username: string) => ({ body: { username, password: "secret", auth: DUMMY }, status: 400 });
  await hs.anyone.fails("POST", "/register", { ...attempt("taken"), errcode: "M_USER_IN_USE" });
  for (const name of ["a!", "a:b", "é", "_leading", "12345", "", "a b", "@x:hs.test", "a\n", "x".repeat(250)]) {
    await hs.anyone.fails("POST", "/register", { ...attempt(name), errcode: "M_INVALID_USERNAME" });
    const query = { username: name };
    await hs.anyone.fails("GET", "/register/available", { query, status: 400, errcode: "M_INVALID_USERNAME" });
  }
  const query = { username: "taken" };
  await hs.anyone.fails("GET", "/register/available", { query, status: 400, errcode: "M_USER_IN_USE" });
  assert.deepEqual(await hs.anyone.get("/register/available", { username: "free" }), { available: true });
  await hs.anyone.fails("GET", "/register/available", { status: 400, errcode: "M_MISSING_PARAM" });
});

testEachServer("POST /register refuses bodies that are malformed", async (database) => {
  await using hs = await TestServer.start({ database });
  const bad: [Json, number, string][] = [
    ["{", 400, "M_NOT_JSON"],
    ["", 400, "M_NOT_JSON"],
    [new Uint8Array([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0x81, 0x22, 0x7d]), 400, "M_NOT_JSON"],
    ["[]", 400, "M_BAD_JSON"],
    [{ username: 1 }, 400, "M_BAD_JSON"],
    [{ auth: "dummy" }, 400, "M_BAD_JSON"],
    [{ auth: { type: 1 } }, 400, "M_BAD_JSON"],
    [{ auth: DUMMY, username: "nopassword" }, 400, "M_MISSING_PARAM"],
    [{ auth: { ...DUMMY, session: "unknown" } }, 400, "M_INVALID_PARAM"],
    [{ type: "m.login.application_service", username: "bot" }, 401, "M_MISSING_TOKEN"],
    [`${"[".repeat(500)}${"]".repeat(500)}`, 400, "M_BAD_JSON"],
    [{ username: "x".repeat(300_000) }, 413, "M_TOO_LARGE"],
  ];
  for (const [body, status, errcode] of bad) await hs.anyone.fails("POST", "/register", { body, status, errcode });
  await hs.anyone.fails("POST", "/register?kind=robot", { body: {}, status: 400, errcode: "M_INVALID_PARAM" });
});

testEachServer("registration can be switched off, and a token asked for", async (database) => {
  await using hs = await TestServer.start({ database, config: { enable_registration: false } });
  const body = { username: "alice", password: "secret", auth: DUMMY };
  await hs.anyone.fails("POST", "/register", { body, status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("GET", "/register/available?username=a", { status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("POST", "/register?kind=guest", { body: {}, status: 403, errcode: "M_FORBIDDEN" });

  await hs.restart({ enable_registration: true, registration_requires_token: true });
  const first = { username: "alice", password: "secret" };
  const challenge = await hs.anyone.fails("POST", "/register", { body: first, status: 401, errcode: undefined });
  assert.deepEqual(challenge.flows, [{ stages: ["m.login.registration_token", "m.login.dummy"] }]);
  const half = { body: { ...first, auth: { ...DUMMY, session: challenge.session } }, status: 401, errcode: undefined };
  assert.deepEqual((await hs.anyone.fails("POST", "/register", half)).completed, ["m.login.dummy"]);
  const wrong = { type: "m.login.registration_token", token: "wrong", session: challenge.session };
  const refused = { body: { ...body, auth: wrong }, status: 401, errcode: "M_UNAUTHORIZED" };
  await hs.anyone.fails("POST", "/register", refused);
  const validity = "/_matrix/client/v1/register/m.login.registration_token/validity";
  assert.deepEqual(await hs.anyone.get(validity, { token: "wrong" }), { valid: false });
  await hs.anyone.fails("GET", validity, { status: 400, errcode: "M_MISSING_PARAM" });
});

testEachServer("guests get in where they are allowed, and no further", async (database) => {
  await using hs = await TestServer.start({ database, config: { allow_guest_access: true } });
  const guest = await hs.registerGuest();
  assert.equal((await guest.get("/account/whoami")).is_guest, true);
  await guest.fails("GET", "/account/3pid", { status: 403, errcode: "M_GUEST_ACCESS_FORBIDDEN" });
  await guest.fails("POST", "/createRoom", { body: {}, status: 403, errcode: "M_GUEST_ACCESS_FORBIDDEN" });
});

testEachServer("/_synapse/admin/v1/register takes requests signed with the shared secret", async (database) => {
  await using hs = await TestServer.start({ database });
  const url = "/_synapse/admin/v1/register";
  const sign = (...parts: string[]) => createHmac("sha1", SHARED_SECRET).update(parts.join("\0")).digest("hex");
  const { nonce } = await hs.anyone.get(url);
  const body = { nonce, username: "Boss", password: "secret", admin: true };
  const mac = sign(nonce, "Boss", "secret", "admin");
  await hs.anyone.fails("POST", url, { body: { ...body, nonce: "other", mac }, status: 400, errcode: "M_UNKNOWN" });
  const session = await hs.anyone.post(url, { ...body, mac });
  assert.equal(session.user_id, "@boss:hs.test");
  await hs.anyone.fails("POST", url, { body: { ...body, mac }, status: 400, errcode: "M_UNKNOWN" });

  const second = (await hs.anyone.get(url)).nonce;
  const forged = { nonce: second, username: "eve", password: "secret", admin: true };
  const macOfUser = sign(second, "eve", "secret", "notadmin");
  await hs.anyone.fails("POST", url, { body: { ...forged, mac: macOfUser }, status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("POST", url, { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
});

testEachServer("rc_registration answers 429 with Retry-After", async (database) => {
  const config = { rc_registration: { per_second: 0.1, burst_count: 2 } };
  await using hs = await TestServer.start({ database, config });
  await hs.register("one", "two");
  const body = { username: "three", password: "secret", auth: DUMMY };
  const answer = await hs.anyone.request("POST", "/register", { body });
  assert.equal(answer.status, 429);
  assert.equal(answer.body.errcode, "M_LIMIT_EXCEEDED");
  assert.ok(answer.body.retry_after_ms > 0 && answer.body.retry_after_ms <= 10_000);
  assert.equal(answer.headers.get("retry-after"), String(Math.ceil(answer.body.retry_after_ms / 1000)));
});
