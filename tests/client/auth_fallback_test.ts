/** The stages of registration, by the pages that clients show which do not know a stage. */
import assert from "node:assert/strict";
import type { Json } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { linkIn, SmtpSink } from "../harness/smtp.ts";

const FORM = { "content-type": "application/x-www-form-urlencoded" };
const WANTED = { username: "alice", password: "secret" };

function pagePath(stage: string): string {
  return `/_matrix/client/v3/auth/${stage}/fallback/web`;
}

/** Sends a stage's form and returns status and page. */
async function send(
  hs: TestServer,
  { stage, ...fields }: Record<string, string>,
): Promise<{ status: number; body: Json }> {
  const body = new URLSearchParams(fields).toString();
  return await hs.anyone.request("POST", pagePath(stage ?? ""), { body, headers: FORM });
}

async function begin(hs: TestServer): Promise<Json> {
  return await hs.anyone.fails("POST", "/register", { body: WANTED, status: 401, errcode: undefined });
}

/** Starts what checks captchas; it takes the answer "right" and the secret "private". */
function captchaService(): { url: string; stop: () => Promise<void> } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const form = new URLSearchParams(await request.text());
    if (form.get("response") === "broken") return new Response("oops", { status: 500 });
    const success = form.get("secret") === "private" && form.get("response") === "right" && form.get("remoteip") !== "";
    return Response.json({ success, ...(success ? {} : { "error-codes": ["invalid-input-response"] }) });
  });
  return { url: `http://127.0.0.1:${server.addr.port}/siteverify`, stop: () => server.shutdown() };
}

testEachServer(
  "a captcha is checked by the service of the configuration, in the client or on the page",
  async (database) => {
    const captcha = captchaService();
    const config = {
      enable_registration_captcha: true,
      recaptcha_public_key: "public",
      recaptcha_private_key: "private",
      recaptcha_siteverify_api: captcha.url,
    };
    try {
      await using hs = await TestServer.start({ database, config });
      const challenge = await begin(hs);
      assert.deepEqual(challenge.flows, [{ stages: ["m.login.recaptcha", "m.login.dummy"] }]);
      assert.deepEqual(challenge.params, { "m.login.recaptcha": { public_key: "public" } });
      const { session } = challenge;
      const stage = { type: "m.login.recaptcha", session };
      const attempt = (auth: Json, errcode: string, status = 401) =>
        hs.anyone.fails("POST", "/register", { body: { ...WANTED, auth }, status, errcode });
      await attempt(stage, "M_CAPTCHA_NEEDED");
      await attempt({ ...stage, response: "wrong" }, "M_CAPTCHA_INVALID");
      await attempt({ ...stage, response: "broken" }, "M_UNKNOWN", 503);

      const page = await hs.anyone.request("GET", `${pagePath("m.login.recaptcha")}?session=${session}`);
      assert.match(page.body, /class="g-recaptcha" data-sitekey="public"/);
      assert.match(
        page.headers.get("content-security-policy") ?? "",
        /script-src https:\/\/www\.recaptcha\.net\/recaptcha\//,
      );
      assert.equal(
        (await send(hs, { stage: "m.login.recaptcha", session, "g-recaptcha-response": "wrong" })).status,
        401,
      );
      assert.equal(
        (await send(hs, { stage: "m.login.recaptcha", session, "g-recaptcha-response": "right" })).status,
        200,
      );
      const half = await hs.anyone.fails("POST", "/register", {
        body: { ...WANTED, auth: { session } },
        status: 401,
        errcode: undefined,
      });
      assert.deepEqual(half.completed, ["m.login.recaptcha"]);
      const done = await hs.anyone.post("/register", { ...WANTED, auth: { session, type: "m.login.dummy" } });
      assert.equal(done.user_id, "@alice:hs.test");
    } finally {
      await captcha.stop();
    }
  },
);

testEachServer("token, e-mail and dummy stages work without JavaScript", async (database) => {
  await using mails = await SmtpSink.start();
  const config = {
    ...mails.config(),
    registrations_require_3pid: ["email"],
    registration_requires_token: true,
    enable_registration_token_3pid_bypass: true,
  };
  await using hs = await TestServer.start({ database, config });
  const challenge = await begin(hs);
  assert.deepEqual(challenge.flows, [
    { stages: ["m.login.registration_token", "m.login.email.identity"] },
    { stages: ["m.login.registration_token", "m.login.dummy"] },
  ]);
  const { session } = challenge;
  const page = await hs.anyone.ok("GET", `${pagePath("m.login.registration_token")}?session=${session}`);
  assert.match(page, /<meta name="viewport"/);
  assert.doesNotMatch(page, /<script/);
  const wrong = await send(hs, { stage: "m.login.registration_token", session, token: "<wrong>" });
  assert.equal(wrong.status, 401);
  assert.match(wrong.body, /class="error"/);

  const asked = await send(hs, { stage: "m.login.email.identity", session, email: "bob@example.org" });
  assert.match(asked.body, /on its way to bob@example\.org/);
  const field = (name: string) => new RegExp(`name="${name}" value="([^"]*)"`).exec(asked.body)?.[1] ?? "";
  const creds = { session, email: "bob@example.org", sid: field("sid"), client_secret: field("client_secret") };
  const early = await send(hs, { stage: "m.login.email.identity", ...creds });
  assert.equal(early.status, 401);
  assert.match(early.body, /has not been validated yet[^]*name="sid"/);
  await hs.anyone.ok("GET", linkIn(await mails.mail(0)));
  assert.match((await send(hs, { stage: "m.login.email.identity", ...creds })).body, /<h1>Done<\/h1>/);
  assert.equal((await send(hs, { stage: "m.login.dummy", session })).status, 200);
  const state = { body: { ...WANTED, auth: { session } }, status: 401, errcode: undefined };
  const { completed } = await hs.anyone.fails("POST", "/register", state);
  assert.deepEqual(completed, ["m.login.email.identity", "m.login.dummy"]);
});

testEachServer("a password is asked for on a page too, and its session belongs to its user", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const device = await alice.anotherDevice("OTHER");
  const body = {};
  const { session } = await alice.fails("DELETE", "/devices/OTHER", { body, status: 401, errcode: undefined });
  assert.equal((await send(hs, { stage: "m.login.password", session, password: "wrong" })).status, 401);
  assert.equal((await send(hs, { stage: "m.login.password", session, password: alice.password })).status, 200);
  await alice.ok("DELETE", "/devices/OTHER", { body: { auth: { session } } });
  await device.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
});

testEachServer("pages of unknown stages and sessions do not exist", async (database) => {
  await using hs = await TestServer.start({ database });
  await hs.anyone.fails("GET", `${pagePath("m.login.recaptcha")}?session=x`, { status: 404, errcode: "M_NOT_FOUND" });
  await hs.anyone.fails("GET", pagePath("m.login.dummy"), { status: 400, errcode: "M_MISSING_PARAM" });
  assert.equal((await send(hs, { stage: "m.login.dummy", session: "unknown" })).status, 404);
  const escaped = await hs.anyone.ok("GET", `${pagePath("m.login.dummy")}?session=${encodeURIComponent('"><script>')}`);
  assert.doesNotMatch(escaped, /<script>/);
});
