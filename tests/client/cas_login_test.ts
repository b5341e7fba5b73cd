import assert from "node:assert/strict";
import { Browser, type BrowserAnswer } from "../harness/browser.ts";
import { type Json, path } from "../harness/client.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { CLIENT, errorOn, PUBLIC, tokenOn, useToken } from "../harness/sso.ts";

const START = `_matrix/client/v3/login/sso/redirect/cas?redirectUrl=${encodeURIComponent(CLIENT)}`;

/** A CAS server that knows tickets by the service they are for. */
class StubCas implements AsyncDisposable {
  readonly #server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => this.#answer(request));
  readonly #tickets = new Map<string, string>();
  readonly paths: string[] = [];

  get url(): string {
    return `http://127.0.0.1:${(this.#server.addr as Deno.NetAddr).port}/cas/`;
  }

  /** Logs in whoever was sent to `location`; returns where they go with their ticket. */
  logIn(location: string, success: string): string {
    const service = new URL(location).searchParams.get("service") ?? "";
    const ticket = `ST-${this.#tickets.size + 1}`;
    this.#tickets.set(`${ticket} ${service}`, success);
    return `${service}&ticket=${ticket}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #answer(request: Request): Response {
    const { pathname, searchParams } = new URL(request.url);
    this.paths.push(pathname);
    const key = `${searchParams.get("ticket")} ${searchParams.get("service")}`;
    const success = this.#tickets.get(key);
    this.#tickets.delete(key);
    if (success === "broken") return new Response("oops", { status: 500 });
    const content = success ?? '<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure>';
    return new Response(
      `<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">${content}</cas:serviceResponse>`,
    );
  }
}

function user(name: string, attributes = ""): string {
  return `<cas:authenticationSuccess><cas:user>${name}</cas:user>` +
    `<cas:attributes>${attributes}</cas:attributes></cas:authenticationSuccess>`;
}

interface Site extends AsyncDisposable {
  readonly hs: TestServer;
  readonly cas: StubCas;
  readonly browser: Browser;
  readonly logIn: (success: string) => Promise<BrowserAnswer>;
}

async function setUp(database: TestDatabase, options: Json = {}): Promise<Site> {
  const cas = new StubCas();
  const hs = await TestServer.start({ database, config: { cas_config: { server_url: cas.url, ...options } } });
  const browser = new Browser({ publicBase: PUBLIC, base: hs.base });
  return {
    ...{ hs, cas, browser },
    logIn: async (success) => await browser.get(cas.logIn((await browser.get(START)).location ?? "", success)),
    async [Symbol.asyncDispose]() {
      await hs[Symbol.asyncDispose]();
      await cas[Symbol.asyncDispose]();
    },
  };
}

testEachServer("somebody logs in by a ticket of the CAS server", async (database) => {
  await using site = await setUp(database, { displayname_attribute: "name", protocol_version: 3 });
  const { hs, cas, browser, logIn } = site;
  const types = (await hs.anyone.get("/login")).flows.map(({ type }: Json) => type);
  assert.deepEqual(types, ["m.login.cas", "m.login.sso", "m.login.token", "m.login.password"]);
  assert.equal((await browser.get(START.replace("sso/redirect/cas", "cas/redirect"))).status, 302);
  const name = "<cas:name>Grace &amp; Co</cas:name>";
  const session = await useToken(hs, tokenOn(await logIn(user("Grace H", name))));
  assert.equal(session.user_id, "@grace=20h:hs.test");
  const profile = await hs.anyone.ok("GET", path`/profile/${session.user_id}`, { token: session.access_token });
  assert.equal(profile.displayname, "Grace & Co");
  assert.deepEqual(cas.paths, ["/cas/p3/proxyValidate"]);
  // The account of that name is theirs, however it came to be.
  const [alice] = await hs.register("alice");
  assert.equal((await useToken(hs, tokenOn(await logIn(user("alice"))))).user_id, alice.userId);
  const { status, body } = await alice.request("DELETE", path`/devices/${alice.deviceId}`, { body: {} });
  assert.deepEqual([status, body.flows], [401, [{ stages: ["m.login.password"] }, { stages: ["m.login.sso"] }]]);
  const page = await browser.get(`/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${body.session}`);
  const link = /href="([^"]*)"/.exec(page.text)?.[1]?.replaceAll("&amp;", "&") ?? "";
  assert.equal((await browser.get(cas.logIn(link, user("alice")))).status, 200);
  const auth = { session: body.session };
  assert.equal((await alice.request("DELETE", path`/devices/${alice.deviceId}`, { body: { auth } })).status, 200);
});

testEachServer("tickets that are not good, or another's, log nobody in", async (database) => {
  await using site = await setUp(database, { required_attributes: { group: "staff" }, enable_registration: false });
  const { hs, cas, browser, logIn } = site;
  assert.equal(errorOn(await logIn(user("grace"))).code, "unauthorised");
  const staff = "<cas:group>guests</cas:group><cas:group>staff</cas:group>";
  assert.deepEqual(errorOn(await logIn(user("grace", staff))), { status: 403, code: "mapping_error" });
  assert.deepEqual(errorOn(await logIn("broken")), { status: 400, code: "server_error" });
  assert.equal(errorOn(await logIn(user(""))).code, "no_user");
  assert.equal(errorOn(await logIn(`<cas:user>grace</cas:user>`)).code, "unsuccessful_response");
  const [alice] = await hs.register("alice");
  const own = cas.logIn((await browser.get(START)).location ?? "", user("alice", staff));
  const stranger = new Browser({ publicBase: PUBLIC, base: hs.base });
  assert.equal(errorOn(await stranger.get(own)).code, "missing_session");
  const changed = own.replace("app.example", "evil.example");
  assert.equal(errorOn(await browser.get(changed)).code, "mismatching_session");
  assert.equal(errorOn(await browser.get(own)).code, "missing_session");
  await browser.get(START);
  assert.equal((await useToken(hs, tokenOn(await browser.get(own)))).user_id, alice.userId);
  await browser.get(START);
  assert.deepEqual(errorOn(await browser.get(own)), { status: 401, code: "unsuccessful_response" });
  const ticket = "/_matrix/client/r0/login/cas/ticket";
  assert.equal(errorOn(await browser.get(`${ticket}?redirectUrl=x`)).code, "M_MISSING_PARAM");
});

testEachServer("names that are numbers get their prefix where that is wanted", async (database) => {
  await using site = await setUp(database, { allow_numeric_ids: true, numeric_ids_prefix: "n" });
  assert.equal((await useToken(site.hs, tokenOn(await site.logIn(user("123"))))).user_id, "@n123:hs.test");
  await site.hs.restart({ cas_config: { server_url: site.cas.url } });
  const browser = new Browser({ publicBase: PUBLIC, base: site.hs.base });
  const page = await browser.get(site.cas.logIn((await browser.get(START)).location ?? "", user("456")));
  assert.equal(errorOn(page).code, "M_INVALID_USERNAME");
});
