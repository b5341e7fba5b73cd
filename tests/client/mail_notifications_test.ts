/** Mails about missed messages: pushers of kind `email`. */
import assert from "node:assert/strict";
import type { UserId } from "../../src/protocol/ids.ts";
import { selectPushers } from "../../src/storage/pushers.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { linkIn, SmtpSink } from "../harness/smtp.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const PUSHER = {
  kind: "email",
  app_id: "m.email",
  app_display_name: "Email Notifications",
  device_display_name: "alice@example.org",
  pushkey: "alice@example.org",
  lang: "en",
  data: {},
};

interface World extends AsyncDisposable {
  readonly hs: TestServer;
  readonly clock: FakeClock;
  readonly mails: SmtpSink;
  /** Has the address alice@example.org. */
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly roomId: string;
  say(text: string, extra?: Json): Promise<string>;
}

async function start(database: TestDatabase, email: Json = {}): Promise<World> {
  const mails = await SmtpSink.start();
  const clock = new FakeClock();
  const config = mails.config({ enable_notifs: true, app_name: "Chat", client_base_url: "https://app.test", ...email });
  const hs = await TestServer.start({ database, clock, config });
  const request = { email: "alice@example.org", client_secret: "s", send_attempt: 1 };
  const { sid } = await hs.anyone.post("/register/email/requestToken", request);
  await hs.anyone.ok("GET", linkIn(await mails.mail(0)));
  const auth = { type: "m.login.email.identity", threepid_creds: { sid, client_secret: "s" } };
  await hs.anyone.post("/register", {
    username: "alice",
    password: "correct horse battery staple",
    auth,
    inhibit_login: true,
  });
  const [bob] = await hs.register("bob");
  const alice = await hs.logIn("alice");
  const roomId = await bob.createRoom({ preset: "public_chat", name: "Kitchen" });
  await alice.join(roomId);
  let count = 0;
  return {
    ...{ hs, clock, mails, alice, bob, roomId },
    async say(text, extra = {}) {
      const target = path`/rooms/${roomId}/send/m.room.message/${`${count++}`}`;
      return (await bob.put(target, { msgtype: "m.text", body: text, ...extra })).event_id;
    },
    async [Symbol.asyncDispose]() {
      await hs[Symbol.asyncDispose]();
      await mails[Symbol.asyncDispose]();
    },
  };
}

/** Waits until the pusher knows of all that was said, and when its next mail is due. */
async function untilWaiting({ hs, alice, clock }: World): Promise<void> {
  while (true) {
    const hasSeenAll = hs.parts.push.position() >= hs.parts.core.notifier.position("events");
    const [pusher] = await selectPushers(hs.parts.core.db, alice.userId as UserId);
    if (hasSeenAll && (pusher?.retryTs ?? 0) > clock.now()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Lets time pass once the pusher waits. */
async function pass(world: World, ms: number): Promise<void> {
  await untilWaiting(world);
  world.clock.advance(ms);
}

testEachServer("what stays unread is mailed after a while, made safe, and ended by one click", async (database) => {
  await using world = await start(database);
  const { alice, mails, hs } = world;
  assert.deepEqual((await alice.get("/pushers")).pushers.map(({ kind, pushkey }: Json) => [kind, pushkey]), [
    ["email", "alice@example.org"],
  ]);
  await world.say("tea?");
  const formatted = { format: "org.matrix.custom.html", formatted_body: "<b>or</b> coffee<script>alert(1)</script>" };
  await world.say("or coffee", formatted);
  await pass(world, 11 * MINUTE_MS);
  const mail = await mails.mail(1);
  assert.deepEqual(mail.to, ["alice@example.org"]);
  assert.match(mail.headers, /Subject: \[Chat\] You have messages on Chat in the Kitchen room/);
  assert.match(mail.text, /Hello alice,[^]*<bob> [^:]*:\d\d: tea\?/);
  assert.match(mail.text, /<b>or<\/b> coffee/);
  assert.doesNotMatch(mail.text, /alert/);
  assert.match(mail.text, /https:\/\/app\.test\/#\/room\/!/);
  assert.match(mail.headers, /List-Unsubscribe-Post: List-Unsubscribe=One-Click/);
  const unsubscribe = /List-Unsubscribe:\s+<https:\/\/hs\.test(\/[^>]+)>/.exec(mail.headers)?.[1] ?? "";
  assert.match(await hs.anyone.ok("GET", unsubscribe), /<form method="post">/);
  assert.equal((await alice.get("/pushers")).pushers.length, 1);
  assert.equal((await hs.anyone.request("POST", unsubscribe.replace("alice", "bob"))).status, 403);
  const body = "List-Unsubscribe=One-Click";
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  await hs.anyone.ok("POST", unsubscribe, { body, headers });
  assert.deepEqual(await alice.get("/pushers"), { pushers: [] });
});

testEachServer("what is read is not mailed, and a room is mailed about ever more rarely", async (database) => {
  await using world = await start(database);
  const { alice, mails, roomId } = world;
  const read = await world.say("read");
  await alice.post(path`/rooms/${roomId}/receipt/m.read/${read}`);
  await world.say("one");
  await pass(world, 11 * MINUTE_MS);
  assert.match((await mails.mail(1)).text, /one/);
  // The next mail about the room comes ten minutes after the event, as the throttle has passed by then.
  await world.say("two");
  await pass(world, 11 * MINUTE_MS);
  const second = await mails.mail(2);
  assert.match(second.text, /two/);
  assert.match(second.headers, /Subject: \[Chat\] You have a message on Chat from bob in the Kitchen room/);
  // Now the room waits for a day.
  await world.say("three");
  await pass(world, HOUR_MS);
  await world.say("four");
  await pass(world, 24 * HOUR_MS);
  const third = await mails.mail(3);
  assert.match(third.text, /three[^]*four/);
  assert.equal(mails.mails.length, 4);
});

testEachServer("what waits to be mailed is mailed after a restart", async (database) => {
  await using world = await start(database);
  const { mails, hs, alice } = world;
  await world.say("before");
  await untilWaiting(world);
  await hs.restart();
  await pass(world, 11 * MINUTE_MS);
  assert.match((await mails.mail(1)).text, /before/);
  assert.equal((await hs.again(alice).get("/pushers")).pushers.length, 1);
});

testEachServer("a mail that was refused is sent later", async (database) => {
  await using world = await start(database);
  const { mails, clock } = world;
  mails.refuses = true;
  await world.say("late");
  await pass(world, 11 * MINUTE_MS);
  // Refused: the pusher waits for its next attempt.
  await untilWaiting(world);
  assert.equal(mails.mails.length, 1);
  mails.refuses = false;
  clock.advance(16 * MINUTE_MS);
  assert.match((await mails.mail(1)).text, /late/);
});

testEachServer("pushers of kind email are for one's own addresses, where they are on", async (database) => {
  await using world = await start(database, { notif_for_new_users: false });
  const { alice, bob, hs } = world;
  assert.deepEqual(await alice.get("/pushers"), { pushers: [] });
  await alice.post("/pushers/set", PUSHER);
  const bad = { body: PUSHER, status: 400, errcode: "M_THREEPID_NOT_FOUND" };
  await bob.fails("POST", "/pushers/set", bad);
  await alice.fails("POST", "/pushers/set", { ...bad, body: { ...PUSHER, app_id: "x" }, errcode: "M_INVALID_PARAM" });
  await alice.post("/account/3pid/delete", { medium: "email", address: "alice@example.org" });
  assert.deepEqual(await alice.get("/pushers"), { pushers: [] });
  await hs.restart({ email: null });
  await hs.again(alice).fails("POST", "/pushers/set", bad);
});
