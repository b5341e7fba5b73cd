/** Phone numbers, validated by an identity server of the operator's choice, through real HTTP. */
import assert from "node:assert/strict";
import type { Caller, Json } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { StubSmsServer } from "../harness/sms_server.ts";

const SUBMIT = "/_matrix/client/unstable/add_threepid/msisdn/submit_token";
const NUMBER = "4915112345678";
const DIALLED = { country: "DE", phone_number: "0151 12345678", client_secret: "s3cret", send_attempt: 1 };

/** Opens a session and sends its code back; returns what the client shows as proof. */
async function prove(client: Caller, { sms, path }: { sms: StubSmsServer; path: string }): Promise<Json> {
  const { sid, submit_url } = await client.post(`/${path}/msisdn/requestToken`, DIALLED);
  assert.equal(new URL(submit_url).pathname, SUBMIT);
  const creds = { sid, client_secret: DIALLED.client_secret };
  assert.deepEqual(await client.ok("POST", SUBMIT, { body: { ...creds, token: "wrong" } }), { success: false });
  assert.deepEqual(await client.ok("POST", SUBMIT, { body: { ...creds, token: sms.code } }), { success: true });
  return creds;
}

testEachServer("a number is proven, becomes the account's, logs in and resets the password", async (database) => {
  await using sms = new StubSmsServer();
  await using hs = await TestServer.start({ database, config: sms.config });
  const [alice, bob] = await hs.register("alice", "bob");
  assert.deepEqual((await alice.get("/capabilities")).capabilities["m.3pid_changes"], { enabled: true });
  const opened = await alice.post("/account/3pid/msisdn/requestToken", DIALLED);
  assert.deepEqual(Object.keys(opened).sort(), ["intl_fmt", "msisdn", "sid", "submit_url"]);
  assert.deepEqual(sms.requests[0], DIALLED);
  const early = { sid: opened.sid, client_secret: DIALLED.client_secret, auth: alice.auth() };
  await alice.fails("POST", "/account/3pid/add", { body: early, status: 400, errcode: "M_THREEPID_AUTH_FAILED" });

  const creds = await prove(alice, { sms, path: "account/3pid" });
  const anonymous = { new_password: "n3w", auth: { type: "m.login.msisdn", threepid_creds: creds } };
  // Proven to be added, not to reset a password.
  const flows = await hs.anyone.fails("POST", "/account/password", {
    body: anonymous,
    status: 401,
    errcode: "M_UNAUTHORIZED",
  });
  assert.deepEqual(flows.flows, [{ stages: ["m.login.msisdn"] }]);
  const stolen = { ...creds, client_secret: "other", auth: bob.auth() };
  await bob.fails("POST", "/account/3pid/add", { body: stolen, status: 400, errcode: "M_THREEPID_AUTH_FAILED" });
  await alice.post("/account/3pid/add", { ...creds, auth: alice.auth() });
  const { threepids: [added] } = await alice.get("/account/3pid");
  assert.deepEqual([added.medium, added.address, added.validated_at], ["msisdn", NUMBER, 1_500_000_000_000]);
  const again = { ...creds, auth: alice.auth() };
  await alice.fails("POST", "/account/3pid/add", { body: again, status: 400, errcode: "M_THREEPID_AUTH_FAILED" });
  for (const path of ["account/3pid", "register"]) {
    const taken = { body: DIALLED, status: 400, errcode: "M_THREEPID_IN_USE" };
    await bob.fails("POST", `/${path}/msisdn/requestToken`, taken);
  }

  for (const phone of ["0151/12345678", "+49 151 12345678"]) {
    const identifier = { type: "m.id.phone", country: "de", phone };
    const login = { type: "m.login.password", identifier, password: alice.password };
    assert.equal((await hs.anyone.post("/login", login)).user_id, alice.userId);
  }
  const reset = await prove(hs.anyone, { sms, path: "account/password" });
  const body = { new_password: "n3w passw0rd", auth: { type: "m.login.msisdn", threepid_creds: reset } };
  await hs.anyone.post("/account/password", body);
  await hs.anyone.fails("POST", "/account/password", {
    body: { ...body, new_password: "again" },
    status: 401,
    errcode: "M_UNAUTHORIZED",
  });
  const identifier = { type: "m.id.thirdparty", medium: "msisdn", address: NUMBER };
  await hs.anyone.post("/login", { type: "m.login.password", identifier, password: "n3w passw0rd" });
});

testEachServer("a registration may need a number", async (database) => {
  await using sms = new StubSmsServer();
  const config = { ...sms.config, registrations_require_3pid: ["msisdn"] };
  await using hs = await TestServer.start({ database, config });
  const wanted = { username: "carol", password: "secret" };
  const challenge = await hs.anyone.fails("POST", "/register", { body: wanted, status: 401, errcode: undefined });
  assert.deepEqual(challenge.flows, [{ stages: ["m.login.msisdn"] }]);
  const creds = await prove(hs.anyone, { sms, path: "register" });
  const auth = { type: "m.login.msisdn", session: challenge.session };
  const attempt = (given: Json) =>
    hs.anyone.request("POST", "/register", { body: { ...wanted, auth: { ...auth, ...given } } });
  assert.equal((await attempt({})).body.errcode, "M_MISSING_PARAM");
  assert.equal((await attempt({ threepid_creds: { ...creds, sid: "99" } })).body.errcode, "M_UNAUTHORIZED");
  const { status, body: session } = await attempt({ threepid_creds: creds });
  assert.deepEqual([status, session.user_id], [200, "@carol:hs.test"]);
  const { threepids } = await hs.anyone.ok("GET", "/account/3pid", { token: session.access_token });
  assert.deepEqual(threepids.map(({ medium, address }: Json) => [medium, address]), [["msisdn", NUMBER]]);
  await hs.restart({ registrations_require_3pid: [], disable_msisdn_registration: true });
  const other = await hs.anyone.fails("POST", "/register", {
    body: { ...wanted, username: "d" },
    status: 401,
    errcode: undefined,
  });
  assert.deepEqual(other.flows, [{ stages: ["m.login.dummy"] }]);
});

testEachServer("bad numbers, forbidden ones and what the identity server refuses", async (database) => {
  await using sms = new StubSmsServer();
  const rules = {
    allowed_local_3pids: [{ medium: "msisdn", pattern: "^49" }],
    next_link_domain_whitelist: ["ok.example"],
  };
  await using hs = await TestServer.start({ database, config: { ...sms.config, ...rules } });
  const ask = (changes: Json, path = "register") =>
    hs.anyone.request("POST", `/${path}/msisdn/requestToken`, { body: { ...DIALLED, ...changes } });
  const codes: [Json, number, string][] = [
    [{ country: "XX" }, 400, "M_INVALID_PARAM"],
    [{ phone_number: "not a number" }, 400, "M_INVALID_PARAM"],
    [{ phone_number: "1".repeat(400) }, 400, "M_INVALID_PARAM"],
    [{ phone_number: 4912 }, 400, "M_BAD_JSON"],
    [{ client_secret: "no spaces" }, 400, "M_INVALID_PARAM"],
    [{ country: undefined }, 400, "M_MISSING_PARAM"],
    [{ next_link: "https://evil.example/" }, 400, "M_INVALID_PARAM"],
    [{ country: "GB", phone_number: "07470 674927" }, 403, "M_THREEPID_DENIED"],
  ];
  for (const [changes, status, errcode] of codes) {
    const answer = await ask(changes);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(changes).slice(0, 80));
  }
  assert.equal((await ask({ country: "GB", phone_number: "07470 674927" }, "account/3pid")).status, 403);
  assert.equal((await ask({}, "account/password")).body.errcode, "M_THREEPID_NOT_FOUND");
  assert.equal(sms.requests.length, 0);
  const refusals: [number, string, number, string][] = [
    [400, '{"errcode":"M_INVALID_PARAM","error":"no"}', 400, "M_INVALID_PARAM"],
    [401, '{"errcode":"M_UNKNOWN_TOKEN","error":"no"}', 400, "M_UNKNOWN"],
    [429, '{"errcode":"M_LIMIT_EXCEEDED"}', 429, "M_LIMIT_EXCEEDED"],
    [500, "oops", 502, "M_UNKNOWN"],
    [302, "", 502, "M_UNKNOWN"],
    [200, "no json", 502, "M_UNKNOWN"],
    [200, "[]", 502, "M_UNKNOWN"],
    [200, '{"sid":"no good one"}', 502, "M_UNKNOWN"],
  ];
  for (const [status, text, expected, errcode] of refusals) {
    sms.refusal = { status, text };
    const answer = await ask({});
    assert.deepEqual([answer.status, answer.body.errcode], [expected, errcode], text);
  }
  const unknown = { sid: "77", client_secret: "s", token: "t" };
  await hs.anyone.fails("POST", SUBMIT, { body: unknown, status: 400, errcode: "M_UNKNOWN" });
  await hs.anyone.fails("POST", SUBMIT, { body: { sid: "1" }, status: 400, errcode: "M_MISSING_PARAM" });
  await hs.restart({ enable_3pid_changes: false });
  assert.equal((await ask({}, "account/3pid")).body.errcode, "M_FORBIDDEN");
});

testEachServer("without an identity server no number is validated; a dead one is said to be", async (database) => {
  await using hs = await TestServer.start({ database });
  const refused = { body: DIALLED, status: 400, errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED" };
  for (const path of ["register", "account/3pid", "account/password"]) {
    await hs.anyone.fails("POST", `/${path}/msisdn/requestToken`, refused);
  }
  const creds = { sid: "1", client_secret: "s", token: "t" };
  await hs.anyone.fails("POST", SUBMIT, { ...refused, body: creds });
  const sms = new StubSmsServer();
  const { config } = sms;
  await sms[Symbol.asyncDispose]();
  await hs.restart({ ...config, request_token_inhibit_3pid_errors: true });
  await hs.anyone.fails("POST", "/register/msisdn/requestToken", { body: DIALLED, status: 502, errcode: "M_UNKNOWN" });
  const hidden = await hs.anyone.post("/account/password/msisdn/requestToken", DIALLED);
  assert.deepEqual(Object.keys(hidden).sort(), ["sid", "submit_url"]);
});
