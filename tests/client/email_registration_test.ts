/** E-mail addresses of accounts, from the request to the link of the mail. */
import assert from "node:assert/strict";
import type { Json, TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { linkIn, SmtpSink } from "../harness/smtp.ts";

const EMAIL = "m.login.email.identity";
const DUMMY = { type: "m.login.dummy" };

function creds(sid: string, secret = "secret"): Json {
  return { type: EMAIL, threepid_creds: { sid, client_secret: secret } };
}

async function addAddress(client: TestClient, { mails, email }: { mails: SmtpSink; email: string }): Promise<void> {
  const count = mails.mails.length;
  const body = { email, client_secret: `add${count}`, send_attempt: 1 };
  const { sid } = await client.post("/account/3pid/email/requestToken", body);
  const mail = await mails.mail(count);
  await client.ok("GET", linkIn(mail));
  await client.post("/account/3pid/add", { sid, client_secret: `add${count}`, auth: client.auth() });
}

testEachServer("an account is made with an address once its link was opened", async (database) => {
  await using mails = await SmtpSink.start();
  const config = { ...mails.config(), registrations_require_3pid: ["email"] };
  await using hs = await TestServer.start({ database, config });
  const wanted = { username: "alice", password: "secret" };
  const challenge = await hs.anyone.fails("POST", "/register", { body: wanted, status: 401, errcode: undefined });
  assert.deepEqual(challenge.flows, [{ stages: [EMAIL] }]);
  const request = { email: "Alice@Example.org", client_secret: "secret", send_attempt: 1 };
  const { sid } = await hs.anyone.post("/register/email/requestToken", request);
  const mail = await mails.mail(0);
  assert.deepEqual([mail.from, mail.to], ["noreply@hs.test", ["alice@example.org"]]);
  assert.match(mail.headers, /Subject: \[hs\.test\] Validate your email/);
  assert.match(mail.headers, /From: Matrix <noreply@hs\.test>/);
  assert.match(
    mail.text,
    /text\/plain[^]*making an account on hs\.test[^]*text\/html[^]*making an account on hs\.test/,
  );

  const auth = { ...creds(sid), session: challenge.session };
  const early = { body: { ...wanted, auth }, status: 401, errcode: "M_UNAUTHORIZED" };
  await hs.anyone.fails("POST", "/register", early);
  const page = await hs.anyone.request("GET", linkIn(mail));
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
  assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'none'; style-src 'sha256-/);
  const wrongSecret = { ...creds(sid, "other"), session: challenge.session };
  await hs.anyone.fails("POST", "/register", { ...early, body: { ...wanted, auth: wrongSecret } });
  const session = await hs.anyone.post("/register", { ...wanted, auth });
  const headers = { authorization: `Bearer ${session.access_token}` };
  const { threepids } = await hs.anyone.ok("GET", "/account/3pid", { headers });
  assert.deepEqual(threepids.map(({ medium, address }: Json) => [medium, address]), [["email", "alice@example.org"]]);

  const taken = { body: { ...request, client_secret: "again" }, status: 400, errcode: "M_THREEPID_IN_USE" };
  await hs.anyone.fails("POST", "/register/email/requestToken", taken);
  const identifier = { type: "m.id.thirdparty", medium: "email", address: "ALICE@example.org" };
  const login = await hs.anyone.post("/login", { type: "m.login.password", identifier, password: "secret" });
  assert.equal(login.user_id, "@alice:hs.test");
});

testEachServer(
  "the same attempt sends no second mail, the next one does, and its link alone works",
  async (database) => {
    await using mails = await SmtpSink.start();
    await using hs = await TestServer.start({ database, config: mails.config() });
    const request = {
      email: "bob@example.org",
      client_secret: "s",
      send_attempt: 1,
      next_link: "https://app.test/go?a=b",
    };
    const first = await hs.anyone.post("/register/email/requestToken", request);
    assert.deepEqual(await hs.anyone.post("/register/email/requestToken", request), first);
    assert.equal(mails.mails.length, 1);
    assert.deepEqual(await hs.anyone.post("/register/email/requestToken", { ...request, send_attempt: 2 }), first);
    const [old, recent] = [await mails.mail(0), await mails.mail(1)];
    const stale = await hs.anyone.request("GET", linkIn(old));
    assert.equal(stale.status, 400);
    assert.match(stale.body, /the link is not known/);
    const next = await hs.anyone.request("GET", linkIn(recent));
    assert.deepEqual([next.status, next.headers.get("location")], [302, "https://app.test/go?a=b"]);
    // A link proves an address for what it was asked for only.
    const wrongPage = linkIn(recent).replace("registration", "add_threepid");
    assert.equal((await hs.anyone.request("GET", wrongPage)).status, 400);
  },
);

testEachServer("requests for mails are checked", async (database) => {
  await using mails = await SmtpSink.start();
  const config = {
    ...mails.config(),
    next_link_domain_whitelist: ["good.test"],
    allowed_local_3pids: [{ medium: "email", pattern: "[^@]+@example\\.org$" }],
  };
  await using hs = await TestServer.start({ database, config });
  const good = { email: "bob@example.org", client_secret: "s", send_attempt: 1 };
  const bad: [Json, number, string][] = [
    [{}, 400, "M_MISSING_PARAM"],
    [{ ...good, email: "nobody" }, 400, "M_INVALID_PARAM"],
    [{ ...good, email: "a@b.org, c@d.org" }, 400, "M_INVALID_PARAM"],
    [{ ...good, email: "a@b.org\r\nBcc: c@d.org" }, 400, "M_INVALID_PARAM"],
    [{ ...good, client_secret: "a b" }, 400, "M_INVALID_PARAM"],
    [{ ...good, send_attempt: -1 }, 400, "M_BAD_JSON"],
    [{ ...good, next_link: "file:///etc/passwd" }, 400, "M_INVALID_PARAM"],
    [{ ...good, next_link: "https://bad.test/" }, 400, "M_INVALID_PARAM"],
    [{ ...good, email: "bob@elsewhere.org" }, 403, "M_THREEPID_DENIED"],
  ];
  for (const [body, status, errcode] of bad) {
    await hs.anyone.fails("POST", "/register/email/requestToken", { body, status, errcode });
  }
  assert.equal(mails.mails.length, 0);
  await hs.anyone.post("/register/email/requestToken", { ...good, next_link: "https://good.test/" });
  await hs.restart({ enable_registration: false });
  const closed = { body: good, status: 403, errcode: "M_FORBIDDEN" };
  await hs.anyone.fails("POST", "/register/email/requestToken", closed);
});

testEachServer("users add and remove addresses, which belong to one user each", async (database) => {
  await using mails = await SmtpSink.start();
  await using hs = await TestServer.start({ database, config: mails.config() });
  const [alice, bob] = await hs.register("alice", "bob");
  assert.deepEqual((await alice.get("/capabilities")).capabilities["m.3pid_changes"], { enabled: true });
  const request = { email: "bob@example.org", client_secret: "s", send_attempt: 1 };
  const { sid } = await bob.post("/account/3pid/email/requestToken", request);
  const unproven = {
    body: { sid, client_secret: "s", auth: bob.auth() },
    status: 400,
    errcode: "M_THREEPID_AUTH_FAILED",
  };
  await bob.fails("POST", "/account/3pid/add", unproven);
  await addAddress(alice, { mails, email: "alice@example.org" });
  const challenge = { body: { sid: "x", client_secret: "s" }, status: 401, errcode: undefined };
  await alice.fails("POST", "/account/3pid/add", challenge);
  await hs.anyone.fails("POST", "/account/3pid/add", { ...challenge, errcode: "M_MISSING_TOKEN" });
  const inUse = { body: { ...request, email: "alice@example.org" }, status: 400, errcode: "M_THREEPID_IN_USE" };
  await bob.fails("POST", "/account/3pid/email/requestToken", inUse);

  // The older endpoint takes the same proof without asking for the password.
  await hs.anyone.ok("GET", linkIn(await mails.mail(0)));
  await bob.post("/account/3pid", { three_pid_creds: { sid, client_secret: "s" } });
  assert.equal((await bob.get("/account/3pid")).threepids.length, 1);
  const other = { medium: "email", address: "alice@example.org" };
  assert.deepEqual(await bob.post("/account/3pid/delete", other), { id_server_unbind_result: "no-support" });
  assert.equal((await alice.get("/account/3pid")).threepids.length, 1);
  await alice.post("/account/3pid/delete", other);
  assert.equal((await alice.get("/account/3pid")).threepids.length, 0);

  await hs.restart({ enable_3pid_changes: false });
  const forbidden = { body: request, status: 403, errcode: "M_FORBIDDEN" };
  await hs.again(bob).fails("POST", "/account/3pid/email/requestToken", forbidden);
  const remove = { medium: "email", address: "bob@example.org" };
  await hs.again(bob).fails("POST", "/account/3pid/delete", { ...forbidden, body: remove });
});

testEachServer("a password is reset by mail, and other sessions end", async (database) => {
  await using mails = await SmtpSink.start();
  await using hs = await TestServer.start({ database, config: mails.config() });
  const [alice] = await hs.register("alice");
  await addAddress(alice, { mails, email: "alice@example.org" });
  const request = { email: "alice@example.org", client_secret: "reset", send_attempt: 1 };
  const unknown = { body: { ...request, email: "x@example.org" }, status: 400, errcode: "M_THREEPID_NOT_FOUND" };
  await hs.anyone.fails("POST", "/account/password/email/requestToken", unknown);
  const { sid } = await hs.anyone.post("/account/password/email/requestToken", request);
  const link = linkIn(await mails.mail(1));
  assert.match((await mails.mail(1)).headers, /Subject: \[hs\.test\] Password reset/);

  const wanted = { new_password: "brand new" };
  const challenge = await hs.anyone.fails("POST", "/account/password", {
    body: wanted,
    status: 401,
    errcode: undefined,
  });
  assert.deepEqual(challenge.flows, [{ stages: [EMAIL] }]);
  const auth = { ...creds(sid, "reset"), session: challenge.session };
  const refused = { body: { ...wanted, auth }, status: 401, errcode: "M_UNAUTHORIZED" };
  // Opening the link alone, as mail programs do by themselves, changes nothing.
  const page = await hs.anyone.ok("GET", link);
  assert.match(page, /<form method="post">/);
  await hs.anyone.fails("POST", "/account/password", refused);
  const [path, query = ""] = link.split("?");
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const wrong = await hs.anyone.request("POST", path ?? "", { body: `${query}x&sid=y`, headers });
  assert.equal(wrong.status, 400);
  assert.match(await hs.anyone.ok("POST", path ?? "", { body: query, headers }), /Go back to your app/);
  await hs.anyone.post("/account/password", { ...wanted, auth });
  await alice.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  const login = { type: "m.login.password", identifier: { type: "m.id.user", user: "alice" } };
  await hs.anyone.fails("POST", "/login", {
    body: { ...login, password: alice.password },
    status: 403,
    errcode: "M_FORBIDDEN",
  });
  await hs.anyone.post("/login", { ...login, password: "brand new" });
  const again = { body: { ...wanted, auth: creds(sid, "reset") }, status: 401, errcode: "M_UNAUTHORIZED" };
  await hs.anyone.fails("POST", "/account/password", again);
});

testEachServer("whether an address is known can be kept from who asks, but not from its owner", async (database) => {
  await using mails = await SmtpSink.start();
  const config = { ...mails.config(), request_token_inhibit_3pid_errors: true };
  await using hs = await TestServer.start({ database, config });
  const [alice] = await hs.register("alice");
  await addAddress(alice, { mails, email: "alice@example.org" });
  const request = { email: "alice@example.org", client_secret: "s", send_attempt: 1 };
  const { sid } = await hs.anyone.post("/register/email/requestToken", request);
  assert.match((await mails.mail(1)).headers, /Subject: \[hs\.test\] Email already in use/);
  assert.equal(typeof sid, "string");
  const unknown = { ...request, email: "x@example.org" };
  assert.equal(typeof (await hs.anyone.post("/account/password/email/requestToken", unknown)).sid, "string");
  assert.equal(mails.mails.length, 2);
});

testEachServer("links expire, and mails are limited", async (database) => {
  await using mails = await SmtpSink.start();
  const config = {
    ...mails.config({ validation_token_lifetime: 1 }),
    rc_3pid_validation: { per_second: 0.001, burst_count: 1 },
  };
  await using hs = await TestServer.start({ database, config });
  const request = { email: "bob@example.org", client_secret: "s", send_attempt: 1 };
  await hs.anyone.post("/register/email/requestToken", request);
  const page = await hs.anyone.request("GET", linkIn(await mails.mail(0)));
  assert.equal(page.status, 400);
  const limited = { body: { ...request, email: "c@example.org" }, status: 429, errcode: "M_LIMIT_EXCEEDED" };
  await hs.anyone.fails("POST", "/register/email/requestToken", limited);
});

testEachServer("without mail no address is validated", async (database) => {
  await using hs = await TestServer.start({ database });
  const body = { email: "a@example.org", client_secret: "s", send_attempt: 1 };
  const refused = { body, status: 400, errcode: "M_THREEPID_MEDIUM_NOT_SUPPORTED" };
  await hs.anyone.fails("POST", "/register/email/requestToken", refused);
  await hs.anyone.fails("POST", "/register/msisdn/requestToken", refused);
  const anonymous = { body: { new_password: "x", auth: DUMMY }, status: 401, errcode: "M_MISSING_TOKEN" };
  await hs.anyone.fails("POST", "/account/password", anonymous);
});
