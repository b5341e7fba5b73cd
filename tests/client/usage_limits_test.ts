/** How many may use the server, who must be approved, and when accounts end. */
import assert from "node:assert/strict";
import type { UserId } from "../../src/protocol/ids.ts";
import type { Json } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { linkIn, SmtpSink } from "../harness/smtp.ts";

const DAY_MS = 86_400_000;
const DUMMY = { type: "m.login.dummy" };

testEachServer("limit_usage_by_mau lets those go on who are in, and nobody else", async (database) => {
  const clock = new FakeClock();
  const limits = { limit_usage_by_mau: true, max_mau_value: 2, admin_contact: "mailto:admin@hs.test" };
  await using hs = await TestServer.start({ database, clock, config: limits });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  await alice.get("/sync");
  const roomId = await bob.createRoom();
  const full = { status: 403, errcode: "M_RESOURCE_LIMIT_EXCEEDED" };
  const refusal = await carol.fails("GET", "/sync", full);
  assert.deepEqual([refusal.limit_type, refusal.admin_contact], ["monthly_active_user", "mailto:admin@hs.test"]);
  await carol.fails("POST", "/createRoom", { ...full, body: {} });
  await hs.anyone.fails("POST", "/login", { ...full, body: carol.auth() });
  await hs.anyone.fails("POST", "/register", { ...full, body: { username: "dave", password: "x", auth: DUMMY } });
  await hs.anyone.post("/login", alice.auth());

  // After a month without Alice there is room for Carol. Bob was seen in between.
  clock.advance(20 * DAY_MS);
  await bob.put(`/rooms/${encodeURIComponent(roomId)}/send/m.room.message/1`, { msgtype: "m.text", body: "hi" });
  clock.advance(15 * DAY_MS);
  await carol.get("/sync");
  await alice.fails("GET", "/sync", full);
  await hs.restart({ max_mau_value: 3 });
  await hs.again(alice).get("/sync");
  await hs.restart({ max_mau_value: 0, mau_trial_days: 100 });
  const [erin] = await hs.register("erin");
  await erin.get("/sync");
});

testEachServer("reserved addresses are let in over the limit", async (database) => {
  await using mails = await SmtpSink.start();
  const reserved = [{ medium: "email", address: "Boss@Example.org" }];
  const limits = { limit_usage_by_mau: true, max_mau_value: 0, mau_limit_reserved_threepids: reserved };
  await using hs = await TestServer.start({ database, config: { ...mails.config(), ...limits } });
  const wanted = { username: "boss", password: "x" };
  const email = { email: "boss@example.org", client_secret: "s", send_attempt: 1 };
  const { sid } = await hs.anyone.post("/register/email/requestToken", email);
  await hs.anyone.ok("GET", linkIn(await mails.mail(0)));
  const auth = { type: "m.login.email.identity", threepid_creds: { sid, client_secret: "s" } };
  const session = await hs.anyone.post("/register", { ...wanted, auth });
  const headers = { authorization: `Bearer ${session.access_token}` };
  await hs.anyone.ok("GET", "/sync", { headers });
});

testEachServer("hs_disabled refuses all use with its message", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await hs.restart({ hs_disabled: true, hs_disabled_message: "Closed for repairs" });
  const closed = { status: 403, errcode: "M_RESOURCE_LIMIT_EXCEEDED" };
  const refusal = await hs.again(alice).fails("GET", "/sync", closed);
  assert.deepEqual([refusal.error, refusal.limit_type], ["Closed for repairs", "hs_disabled"]);
  await hs.anyone.fails("POST", "/login", { ...closed, body: alice.auth() });
});

testEachServer("an account that needs approval is made, and logs in once it has it", async (database) => {
  const msc3866 = { enabled: true, require_approval_for_new_accounts: true };
  await using hs = await TestServer.start({ database, config: { experimental_features: { msc3866 } } });
  const body = { username: "alice", password: "secret", auth: DUMMY };
  const waits = { status: 403, errcode: "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL" };
  const refusal = await hs.anyone.fails("POST", "/register", { ...waits, body });
  assert.equal(refusal.approval_notice_medium, "org.matrix.msc3866.none");
  const login = { type: "m.login.password", identifier: { type: "m.id.user", user: "alice" }, password: "secret" };
  await hs.anyone.fails("POST", "/login", { ...waits, body: login });
  await hs.anyone.fails("POST", "/login", { status: 403, errcode: "M_FORBIDDEN", body: { ...login, password: "x" } });
  await hs.parts.accounts.accounts.setApproved("@alice:hs.test" as UserId, true);
  await hs.anyone.post("/login", login);
  // Whoever an administrator makes is approved.
  const admin = await hs.registerAdmin("boss");
  await admin.get("/account/whoami");
});

testEachServer("accounts expire, are told before, and are renewed by the link", async (database) => {
  await using mails = await SmtpSink.start();
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: mails.config() });
  const [alice] = await hs.register("alice");
  const email = { email: "alice@example.org", client_secret: "s", send_attempt: 1 };
  const { sid } = await alice.post("/account/3pid/email/requestToken", email);
  await hs.anyone.ok("GET", linkIn(await mails.mail(0)));
  await alice.post("/account/3pid/add", { sid, client_secret: "s", auth: alice.auth() });

  await hs.restart({ account_validity: { enabled: true, period: "30d", renew_at: "7d" } });
  const again = hs.again(alice);
  const [bob] = await hs.register("bob");
  await again.get("/account/whoami");
  clock.advance(24 * DAY_MS);
  const mail = await mails.mail(1);
  assert.match(mail.headers, /Subject: \[Matrix\] Renew your account on hs\.test/);
  assert.match(mail.text, /Hello alice,/);
  clock.advance(7 * DAY_MS);
  const expired = { status: 403, errcode: "ORG_MATRIX_EXPIRED_ACCOUNT" };
  await again.fails("GET", "/account/whoami", expired);
  await bob.fails("GET", "/sync", expired);
  const link = linkIn(mail);
  assert.match(await hs.anyone.ok("GET", link), /Account renewed/);
  await again.get("/account/whoami");
  assert.match(await hs.anyone.ok("GET", link), /already renewed/);
  const unknown: Json = await hs.anyone.request("GET", "/_matrix/client/unstable/account_validity/renew?token=x");
  assert.deepEqual([unknown.status, /not valid/.test(unknown.body)], [404, true]);
  // Bob has no address to write to; an administrator renews the account.
  const sendMail = "/_matrix/client/unstable/account_validity/send_mail";
  await bob.fails("POST", sendMail, { status: 400, errcode: "M_UNKNOWN" });
  const admin = await hs.registerAdmin("boss");
  const validity = "/_synapse/admin/v1/account_validity/validity";
  const { expiration_ts } = await admin.post(validity, { user_id: bob.userId });
  assert.equal(expiration_ts, clock.now() + 30 * DAY_MS);
  await bob.get("/sync");
  await bob.fails("POST", validity, { body: { user_id: bob.userId }, status: 403, errcode: "M_FORBIDDEN" });
  await admin.fails("POST", validity, { body: { user_id: "@nobody:hs.test" }, status: 404, errcode: "M_NOT_FOUND" });
  await again.post(sendMail);
  await mails.mail(2);
  await bob.post("/logout");
});

testEachServer("mau_limit_alerting pins a notice while the server is full", async (database) => {
  const limits = { limit_usage_by_mau: true, max_mau_value: 2, admin_contact: "mailto:admin@hs.test" };
  const server_notices = { system_mxid_localpart: "notices", auto_join: true };
  await using hs = await TestServer.start({ database, config: { ...limits, server_notices } });
  const [first, second] = await hs.register("alice", "bob");
  await first.get("/sync");
  assert.equal(await hs.parts.serverNotices.findRoom(first.userId as UserId), null);
  await second.get("/sync");
  await hs.restart();
  const alice = hs.again(first);
  await alice.sync();
  const roomId = await hs.parts.serverNotices.findRoom(alice.userId as UserId);
  assert(roomId !== null);
  const { pinned } = await alice.state(roomId, { type: "m.room.pinned_events" });
  assert.equal(pinned.length, 1);
  const { sender, content } = await alice.get(`/rooms/${roomId}/event/${pinned[0]}`);
  assert.equal(sender, "@notices:hs.test");
  assert.deepEqual(
    [content.msgtype, content.server_notice_type, content.limit_type, content.admin_contact],
    ["m.server_notice", "m.server_notice.usage_limit_reached", "monthly_active_user", "mailto:admin@hs.test"],
  );
  // What is said stays as it is, also after a restart.
  await hs.restart();
  const again = hs.again(first);
  await again.sync();
  assert.deepEqual((await again.state(roomId, { type: "m.room.pinned_events" })).pinned, pinned);
  await hs.restart({ max_mau_value: 10 });
  await hs.again(first).sync();
  assert.deepEqual((await hs.again(first).state(roomId, { type: "m.room.pinned_events" })).pinned, []);
});

testEachServer("without mau_limit_alerting nobody is told that the server is full", async (database) => {
  const limits = { limit_usage_by_mau: true, max_mau_value: 1, mau_limit_alerting: false };
  const server_notices = { system_mxid_localpart: "notices" };
  await using hs = await TestServer.start({ database, config: { ...limits, server_notices } });
  const [alice] = await hs.register("alice");
  await alice.sync();
  await hs.restart();
  await hs.again(alice).sync();
  assert.equal(await hs.parts.serverNotices.findRoom(alice.userId as UserId), null);
});
