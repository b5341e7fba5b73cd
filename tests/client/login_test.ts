import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Json } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const PASSWORD = "m.login.password";

function byUser(user: string, password: string): Json {
  return { type: PASSWORD, identifier: { type: "m.id.user", user }, password };
}

testEachServer("POST /login takes a user id, a localpart and capitals", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  assert.deepEqual(await hs.anyone.get("/login"), { flows: [{ type: PASSWORD }] });
  for (const user of [alice.userId, "alice", "@ALICE:hs.test"]) {
    const session = await hs.anyone.post("/login", byUser(user, alice.password));
    assert.equal(session.user_id, alice.userId);
    assert.equal(typeof session.device_id, "string");
    assert.equal(session.refresh_token, undefined);
  }
  const old = await hs.anyone.post("/login", { type: PASSWORD, user: "alice", password: alice.password });
  assert.equal(old.user_id, alice.userId);
});

testEachServer("POST /login cannot tell a wrong password from an unknown user", async (database) => {
  await using hs = await TestServer.start({ database });
  await hs.register("alice");
  const refused = { status: 403, errcode: "M_FORBIDDEN" };
  const bodies = [
    byUser("alice", "wrong"),
    byUser("nobody", "wrong"),
    byUser("@alice:other.example", "wrong"),
    { type: PASSWORD, identifier: { type: "m.id.thirdparty", medium: "email", address: "a@b.c" }, password: "x" },
    { type: PASSWORD, identifier: { type: "m.id.phone", country: "GB", phone: "123" }, password: "x" },
    byUser("alice", "x".repeat(2000)),
  ];
  const answers = new Set<string>();
  for (const body of bodies) answers.add(JSON.stringify(await hs.anyone.fails("POST", "/login", { body, ...refused })));
  assert.equal(answers.size, 1);
});

testEachServer("POST /login refuses what it does not understand", async (database) => {
  await using hs = await TestServer.start({ database });
  const bad: [Json, number, string][] = [
    [{}, 400, "M_MISSING_PARAM"],
    [{ type: 5 }, 400, "M_BAD_JSON"],
    [{ type: "m.login.unheard" }, 400, "M_UNKNOWN"],
    [{ type: PASSWORD }, 400, "M_MISSING_PARAM"],
    [{ type: PASSWORD, password: "x" }, 400, "M_MISSING_PARAM"],
    [{ type: PASSWORD, password: "x", identifier: { type: "m.id.fax" } }, 400, "M_INVALID_PARAM"],
    [{ type: PASSWORD, password: "x", identifier: "alice" }, 400, "M_BAD_JSON"],
    [{ type: "m.login.token" }, 400, "M_MISSING_PARAM"],
    [{ type: "m.login.token", token: "wrong" }, 403, "M_FORBIDDEN"],
    [{ type: "m.login.application_service" }, 401, "M_MISSING_TOKEN"],
    ["not json", 400, "M_NOT_JSON"],
  ];
  for (const [body, status, errcode] of bad) await hs.anyone.fails("POST", "/login", { body, status, errcode });
});

testEachServer("logging in on a device again ends its former token and keeps its name", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const body = { ...byUser("alice", alice.password), device_id: "D", initial_device_display_name: "First" };
  const first = await hs.anyone.post("/login", body);
  const second = await hs.anyone.post("/login", { ...body, initial_device_display_name: "Second" });
  const ended = { token: first.access_token, status: 401, errcode: "M_UNKNOWN_TOKEN" };
  await hs.anyone.fails("GET", "/account/whoami", ended);
  const device = await hs.anyone.ok("GET", "/devices/D", { token: second.access_token });
  assert.equal(device.display_name, "First");
});

testEachServer("tokens are taken from the header or the query, and nothing else", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const query = { access_token: alice.accessToken ?? "" };
  assert.equal((await hs.anyone.get("/account/whoami", query)).user_id, alice.userId);
  await hs.anyone.fails("GET", "/account/whoami", { status: 401, errcode: "M_MISSING_TOKEN" });
  const basic = { headers: { authorization: "Basic YTpi" }, status: 401, errcode: "M_MISSING_TOKEN" };
  await hs.anyone.fails("GET", "/account/whoami", basic);
  const unknown = await hs.anyone.fails("GET", "/account/whoami", {
    token: "syt_unknown",
    status: 401,
    errcode: "M_UNKNOWN_TOKEN",
  });
  assert.equal(unknown.soft_logout, false);
  await hs.anyone.fails("GET", "/account/whoami", { token: "x".repeat(5000), status: 401, errcode: "M_UNKNOWN_TOKEN" });
});

testEachServer("a refresh token works until what it gave is used", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const first = await hs.anyone.post("/login", { ...byUser("alice", alice.password), refresh_token: true });
  assert.equal(first.expires_in_ms, 300_000);
  const whoami = (token: string) => hs.anyone.request("GET", "/account/whoami", { token });
  const refresh = (token: string) => hs.anyone.request("POST", "/refresh", { body: { refresh_token: token } });

  const lost = (await refresh(first.refresh_token)).body;
  const second = (await refresh(first.refresh_token)).body;
  assert.equal((await whoami(lost.access_token)).status, 401);
  assert.equal((await whoami(first.access_token)).status, 200);
  assert.equal((await whoami(second.access_token)).status, 200);
  assert.equal((await whoami(first.access_token)).status, 401);
  const used = await refresh(first.refresh_token);
  assert.deepEqual([used.status, used.body.errcode], [401, "M_UNKNOWN_TOKEN"]);
  const third = (await refresh(second.refresh_token)).body;
  const fourth = (await refresh(third.refresh_token)).body;
  assert.equal((await refresh(second.refresh_token)).status, 401);
  assert.equal((await whoami(fourth.access_token)).status, 200);
  await hs.anyone.fails("POST", "/refresh", { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
});

testEachServer("tokens that ran out ask for a soft logout", async (database) => {
  const config = { session_lifetime: "2h", nonrefreshable_access_token_lifetime: "1h" };
  let offset = 0;
  const clock = { ...(await import("../../src/lib/clock.ts")).systemClock, now: () => Date.now() + offset };
  await using hs = await TestServer.start({ database, config, clock });
  const [alice] = await hs.register("alice");
  assert.equal((await alice.request("GET", "/account/whoami")).status, 200);
  offset = 3_600_001;
  const ended = await alice.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  assert.equal(ended.soft_logout, true);
});

testEachServer("POST /logout ends one device, /logout/all all of them", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const [phone, tablet] = [await alice.anotherDevice(), await alice.anotherDevice()];
  await phone.post("/logout");
  const ended = { status: 401, errcode: "M_UNKNOWN_TOKEN" };
  await phone.fails("GET", "/account/whoami", ended);
  const ids = (await alice.get("/devices")).devices.map((device: Json) => device.device_id);
  assert.deepEqual(new Set(ids), new Set([alice.deviceId, tablet.deviceId]));
  await tablet.post("/logout/all");
  await tablet.fails("GET", "/account/whoami", ended);
  await alice.fails("GET", "/account/whoami", ended);
  await hs.anyone.fails("POST", "/logout", { body: {}, status: 401, errcode: "M_MISSING_TOKEN" });
});

testEachServer("a login token from a session logs another device in, once", async (database) => {
  const path = "/_matrix/client/v1/login/get_token";
  await using hs = await TestServer.start({ database });
  const [off] = await hs.register("off");
  await off.fails("POST", path, { body: {}, status: 404, errcode: "M_UNRECOGNIZED" });

  await hs.restart({ login_via_existing_session: { enabled: true, token_timeout: "1m" } });
  const [alice] = await hs.register("alice");
  const flows = (await hs.anyone.get("/login")).flows;
  assert.deepEqual(flows[0], { type: "m.login.token", get_login_token: true });
  const challenge = await alice.fails("POST", path, { body: {}, status: 401, errcode: undefined });
  const { login_token: token, expires_in_ms } = await alice.post(path, { auth: alice.auth(challenge.session) });
  assert.equal(expires_in_ms, 60_000);
  const session = await hs.anyone.post("/login", { type: "m.login.token", token });
  assert.equal(session.user_id, alice.userId);
  const body = { type: "m.login.token", token };
  await hs.anyone.fails("POST", "/login", { body, status: 403, errcode: "M_FORBIDDEN" });
});

testEachServer("rc_login.failed_attempts stops guessing, and does not stop others", async (database) => {
  const config = { rc_login: { failed_attempts: { per_second: 0.01, burst_count: 2 } } };
  const many = { per_second: 1_000_000, burst_count: 1_000_000 };
  const limits = { rc_login: { ...config.rc_login, address: many, account: many } };
  await using hs = await TestServer.start({ database, config: limits });
  const [alice, bob] = await hs.register("alice", "bob");
  for (let attempt = 0; attempt < 2; attempt++) {
    await hs.anyone.fails("POST", "/login", { body: byUser("alice", "wrong"), status: 403, errcode: "M_FORBIDDEN" });
  }
  const right = { body: byUser("alice", alice.password), status: 429, errcode: "M_LIMIT_EXCEEDED" };
  await hs.anyone.fails("POST", "/login", right);
  await hs.anyone.post("/login", byUser("bob", bob.password));
});

testEachServer("the login page logs in by a form, and hands the session over", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const target = "/_matrix/static/client/login/?device_id=PHONE";
  assert.match(await hs.anyone.ok("GET", target), /<form method="post">/);
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const send = (fields: Record<string, string>) =>
    hs.anyone.request("POST", target, { body: new URLSearchParams(fields).toString(), headers });
  const wrong = await send({ user: '"><b>', password: "wrong" });
  assert.equal(wrong.status, 403);
  assert.match(wrong.body, /class="error"/);
  assert.doesNotMatch(wrong.body, /<b>/);
  const page = await send({ user: "alice", password: alice.password });
  assert.equal(page.status, 200);
  const policy = page.headers.get("content-security-policy") ?? "";
  for (const element of ["style", "script"]) {
    // What stands in the page is what its policy allows.
    const text = new RegExp(`<${element}>([^]*?)</${element}>`).exec(page.body)?.[1] ?? "";
    const hash = createHash("sha256").update(text).digest("base64");
    assert.ok(policy.includes(`${element}-src 'sha256-${hash}'`), policy);
  }
  const session = JSON.parse(/id="session">([^<]*)</.exec(page.body)?.[1] ?? "");
  assert.deepEqual([session.user_id, session.device_id], [alice.userId, "PHONE"]);
  const token = { authorization: `Bearer ${session.access_token}` };
  assert.equal((await hs.anyone.ok("GET", "/account/whoami", { headers: token })).device_id, "PHONE");
});
