/** Logins by SAML 2 with a provider that signs real assertions, through real HTTP. */
import assert from "node:assert/strict";
import type { Json } from "../harness/client.ts";
import { Browser, type BrowserAnswer } from "../harness/browser.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { makeRsaCertificate, type SamlChanges, type SamlRequest, StubSamlIdp } from "../harness/saml_idp.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { CLIENT, errorOn, PUBLIC, tokenOn, useToken } from "../harness/sso.ts";

const ACS = `${PUBLIC}_synapse/client/saml2/authn_response`;
const METADATA = `${PUBLIC}_synapse/client/saml2/metadata.xml`;
const FRIEDA = { uid: "frieda.k", displayName: "Frieda &amp; Diego", email: "frieda@example.org" };

interface Site extends AsyncDisposable {
  readonly hs: TestServer;
  readonly idp: StubSamlIdp;
  readonly newBrowser: () => Browser;
}

async function setUp(
  database: TestDatabase,
  { saml = {}, sp = {}, more = {}, config = {} }: { saml?: Json; sp?: Json; more?: Json; config?: Json } = {},
): Promise<Site> {
  const idp = await StubSamlIdp.make();
  const spConfig = { metadata: { inline: [idp.metadata] }, service: { sp }, ...more };
  const hs = await TestServer.start({
    database,
    config: { saml2_config: { sp_config: spConfig, ...saml }, ...config },
  });
  const newBrowser = () => new Browser({ publicBase: PUBLIC, base: hs.base });
  return { hs, idp, newBrowser, [Symbol.asyncDispose]: () => hs[Symbol.asyncDispose]() };
}

async function leave({ idp }: Site, browser: Browser): Promise<SamlRequest> {
  const path = `_matrix/client/v3/login/sso/redirect/saml?redirectUrl=${encodeURIComponent(CLIENT)}`;
  const { status, location } = await browser.get(`${PUBLIC}${path}`);
  assert.equal(status, 302);
  assert.match(location ?? "", /^https:\/\/idp\.test\/sso\?tenant=1&SAMLRequest=/);
  return idp.read(location ?? "");
}

async function logIn(site: Site, changes: SamlChanges = {}): Promise<BrowserAnswer> {
  const browser = site.newBrowser();
  return await browser.post(ACS, site.idp.answer(await leave(site, browser), { attributes: FRIEDA, ...changes }));
}

testEachServer("a login makes an account, finds it again, and confirms requests", async (database) => {
  await using site = await setUp(database, { sp: { name: "Example <chat>" } });
  const { hs, newBrowser } = site;
  const { flows } = await hs.anyone.get("/login");
  const { identity_providers: providers } = flows.find(({ type }: Json) => type === "m.login.sso");
  assert.deepEqual(providers, [{ id: "saml", name: "SAML" }]);
  const metadata = await newBrowser().get(METADATA);
  assert.equal(metadata.headers.get("content-type"), "text/xml; charset=utf-8");
  assert.ok(
    metadata.text.includes(`entityID="${METADATA}"`) && metadata.text.includes(`Location="${ACS}"`),
    metadata.text,
  );

  const browser = newBrowser();
  const request = await leave(site, browser);
  assert.deepEqual([request.acsUrl, request.issuer, request.relayState], [ACS, METADATA, request.id]);
  const back = await browser.post(ACS, site.idp.answer(request, { attributes: FRIEDA }));
  assert.deepEqual(browser.cookies, []);
  const session = await useToken(hs, tokenOn(back));
  assert.equal(session.user_id, "@frieda.k:hs.test");
  const own = { token: session.access_token };
  assert.equal((await hs.anyone.ok("GET", `/profile/${session.user_id}`, own)).displayname, "Frieda & Diego");
  const { threepids } = await hs.anyone.ok("GET", "/account/3pid", own);
  assert.deepEqual(threepids.map(({ address }: Json) => address), ["frieda@example.org"]);

  // Names by number are known, and white space and comments of others change nothing.
  const oids = { "urn:oid:0.9.2342.19200300.100.1.1": " frieda.k<!-- x --> ", "urn:oid:2.5.4.3": "F" };
  const again = await useToken(hs, tokenOn(await logIn(site, { attributes: oids })));
  assert.equal(again.user_id, session.user_id);
  for (const changes of [{ sign: "both" }, { lifetimeMs: 60_000 }] as const) tokenOn(await logIn(site, changes));

  const challenge = await hs.anyone.fails("POST", "/delete_devices", {
    ...{ ...own, body: { devices: [again.device_id] }, status: 401, errcode: undefined },
  });
  assert.deepEqual(challenge.flows, [{ stages: ["m.login.sso"] }]);
  const confirming = newBrowser();
  const path = `_matrix/client/v3/auth/m.login.sso/fallback/web?session=${challenge.session}`;
  const page = await confirming.get(`${PUBLIC}${path}`);
  const link = /href="(https:\/\/idp\.test[^"]*)"/.exec(page.text)?.[1]?.replaceAll("&amp;", "&") ?? "";
  const confirmed = await confirming.post(ACS, site.idp.answer(site.idp.read(link), { attributes: FRIEDA }));
  assert.equal(confirmed.status, 200, confirmed.text);
  const auth = { session: challenge.session };
  await hs.anyone.ok("POST", "/delete_devices", { ...own, body: { devices: [again.device_id], auth } });
});

testEachServer("answers that are not for this login, or not from the provider, let nobody in", async (database) => {
  await using site = await setUp(database);
  const { hs, idp, newBrowser } = site;
  const stranger = await makeRsaCertificate();
  const entities = Array.from({ length: 20 }, (_, i) => `<!ENTITY e${i + 1} "&e${i};&e${i};&e${i};">`).join("");
  const bomb = `<!DOCTYPE r [<!ENTITY e0 "boom">${entities}]>`;
  const bad: [string, SamlChanges, string][] = [
    ["unsigned", { sign: "none" }, "invalid_response"],
    ["assertion signed only", { sign: "assertion" }, "invalid_response"],
    ["another key", { signer: stranger }, "invalid_response"],
    ["another audience", { audience: "https://other.example" }, "invalid_response"],
    ["another recipient", { recipient: "https://other.example/acs" }, "invalid_response"],
    ["another issuer", { issuer: "https://other.example" }, "invalid_response"],
    ["too old", { lifetimeMs: -1_000 }, "invalid_response"],
    ["another request", { inResponseTo: "_other" }, "mismatching_session"],
    ["another request inside", { subjectInResponseTo: "_other" }, "invalid_response"],
    ["no request inside", { subjectInResponseTo: null }, "invalid_response"],
    ["no request", { inResponseTo: null }, "unsolicited_response"],
    ["refused", { status: "urn:oasis:names:tc:SAML:2.0:status:Responder" }, "unsuccessful_response"],
    ["changed", { edit: (xml) => xml.replace(">frieda.k<", ">admin<") }, "invalid_response"],
    ["no uid", { attributes: { mail: "x" } }, "mapping_error"],
    ["entities", { edit: (xml) => `${bomb}${xml.replace(">frieda.k<", ">&e20;<")}` }, "invalid_response"],
    ["deep", {
      edit: (xml) => xml.replace("<saml:Issuer>", `${"<a>".repeat(2_000)}${"</a>".repeat(2_000)}<saml:Issuer>`),
    }, "invalid_response"],
    [
      "many",
      { edit: (xml) => xml.replace("<saml:Issuer>", `${"<a/>".repeat(9_000)}<saml:Issuer>`) },
      "invalid_response",
    ],
    ["cut", { edit: (xml) => xml.slice(0, -30) }, "invalid_response"],
    ["no XML", { edit: () => "hello" }, "invalid_response"],
    ["nothing", { edit: () => "" }, "invalid_response"],
  ];
  for (const [name, changes, code] of bad) {
    const answer = await logIn(site, changes);
    assert.equal(errorOn(answer).code, code, `${name}: ${answer.text}`);
  }
  const form = idp.answer(await leave(site, newBrowser()), { attributes: FRIEDA });
  assert.equal(errorOn(await newBrowser().post(ACS, form)).code, "missing_session");
  assert.equal(errorOn(await newBrowser().get(ACS)).code, "unexpected_get");
  assert.equal(errorOn(await newBrowser().post(ACS, {})).code, "M_MISSING_PARAM");
  assert.equal(errorOn(await newBrowser().post(ACS, { SAMLResponse: "%%%" })).code, "invalid_response");
  assert.equal((await newBrowser().post(ACS, { SAMLResponse: "A".repeat(500_000) })).status, 413);
  assert.equal((await hs.anyone.get("/register/available", { username: "frieda.k" })).available, true);

  // The same browser with the same cookie, once more: whoever has both has nothing.
  const browser = newBrowser();
  const request = await leave(site, browser);
  const kept = browser.cookie("saml2_session");
  const good = idp.answer(request, { attributes: FRIEDA });
  tokenOn(await browser.post(ACS, good));
  browser.setCookie("saml2_session", { value: kept, path: "/_synapse/client/saml2" });
  assert.equal(errorOn(await browser.post(ACS, good)).code, "replayed_response");
});

/** Ways to put a forged assertion where it is read and leave the signed one where its signature is checked. */
function wrappings(signed: string): string[] {
  const assertion = /<saml:Assertion[^]*<\/saml:Assertion>/.exec(signed)?.[0] ?? "";
  const signature = /<(ds:)?Signature [^]*?<\/(ds:)?Signature>/.exec(signed)?.[0] ?? "";
  const forged = assertion.replace(signature, "").replace(/ ID="[^"]*"/, ' ID="_forged"').replace(
    ">frieda.k<",
    ">admin<",
  );
  const ext = (content: string) => `<samlp:Extensions>${content}</samlp:Extensions>`;
  const root = /^<samlp:Response[^>]*>/.exec(signed)?.[0] ?? "";
  const evilRoot = root.replace(/ ID="[^"]*"/, ' ID="_root"');
  const inObject = signature.replace(
    /<\/(ds:)?Signature>$/,
    (end) => `<Object xmlns="http://www.w3.org/2000/09/xmldsig#">${assertion.replace(signature, "")}</Object>${end}`,
  );
  return [
    signed.replace(assertion, `${forged}${ext(assertion)}`),
    signed.replace(assertion, `${ext(assertion)}${forged}`),
    signed.replace(assertion, forged + assertion),
    signed.replace(assertion, assertion + forged),
    signed.replace(assertion, forged.replace("</saml:Issuer>", `</saml:Issuer>${inObject}`)),
    signed.replace(assertion, forged.replace("</saml:Issuer>", `</saml:Issuer>${signature}`)),
    signed.replace(assertion, forged.replace("<saml:Subject>", `${assertion}<saml:Subject>`)),
    signed.replace(/ ID="[^"]*"/, "").replace(assertion, forged),
    `${evilRoot}${signature}${ext(signed)}${forged}</samlp:Response>`,
    `${evilRoot}${
      ext(signed)
    }<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>${forged}</samlp:Response>`,
  ];
}

testEachServer("a signed assertion vouches for no forged one around or beside it", async (database) => {
  await using site = await setUp(database, { sp: { want_assertions_or_response_signed: true } });
  const { hs, idp, newBrowser } = site;
  for (const sign of ["assertion", "response", "both"] as const) {
    tokenOn(await logIn(site, { sign }));
    const count = wrappings(
      Buffer.from(
        idp.answer(await leave(site, newBrowser()), { sign, attributes: FRIEDA }).SAMLResponse ?? "",
        "base64",
      ).toString(),
    ).length;
    for (let n = 0; n < count; n++) {
      const answer = await logIn(site, { sign, edit: (xml) => wrappings(xml)[n] ?? "" });
      const { code } = errorOn(answer);
      // Where the forged one is not what was read, the signed one may be.
      if (code === undefined) {
        assert.equal((await useToken(hs, tokenOn(answer))).user_id, "@frieda.k:hs.test", `${sign} ${n}`);
      }
    }
  }
  assert.equal((await hs.anyone.get("/register/available", { username: "admin" })).available, true);
});

testEachServer("names, requirements, old accounts and encrypted assertions by the configuration", async (database) => {
  const folder = await Deno.makeTempDir();
  const own = await makeRsaCertificate();
  await Deno.writeTextFile(`${folder}/key.pem`, own.key);
  await Deno.writeTextFile(`${folder}/cert.pem`, own.cert);
  const pair = { key_file: `${folder}/key.pem`, cert_file: `${folder}/cert.pem` };
  await using site = await setUp(database, {
    saml: {
      user_mapping_provider: { config: { mxid_source_attribute: "nick", mxid_mapping: "dotreplace" } },
      attribute_requirements: [{ attribute: "group", value: "staff" }],
      grandfathered_mxid_source_attribute: "upn",
      saml_session_lifetime: "5m",
    },
    sp: { allow_unsolicited: true, authn_requests_signed: true },
    more: { entityid: "urn:example:chat", encryption_keypairs: [pair], ...pair },
  });
  const { hs, idp, newBrowser } = site;
  const [olga] = await hs.register("olga");
  const staff = { uid: "1", nick: "Fri Éda", group: ["users", "staff"] };
  const account = async (changes: SamlChanges) => (await useToken(hs, tokenOn(await logIn(site, changes)))).user_id;
  assert.equal(await account({ attributes: staff }), "@fri..da:hs.test");
  assert.equal(await account({ attributes: { ...staff, uid: "2" } }), "@fri..da1:hs.test");
  assert.equal(await account({ attributes: { ...staff, uid: "3", upn: "Olga" } }), olga.userId);
  assert.equal(errorOn(await logIn(site, { attributes: { ...staff, group: "users" } })).code, "unauthorised");
  assert.equal(errorOn(await logIn(site, { attributes: { uid: "4", group: "staff" } })).code, "mapping_error");
  assert.equal(await account({ attributes: staff, encryptTo: own.cert }), "@fri..da:hs.test");
  assert.equal(errorOn(await logIn(site, { attributes: staff, encryptTo: idp.cert })).code, "invalid_response");

  const browser = newBrowser();
  const request = await leave(site, browser);
  assert.equal(request.issuer, "urn:example:chat");
  const metadata = (await newBrowser().get(METADATA)).text;
  assert.ok(metadata.includes('use="encryption"') && metadata.includes('use="signing"'), metadata);
  const unasked = { attributes: staff, inResponseTo: null };
  const relay = (RelayState: string, changes: SamlChanges = {}) => ({
    ...idp.answer(request, { ...unasked, ...changes }),
    RelayState,
  });
  const form = relay(CLIENT);
  tokenOn(await newBrowser().post(ACS, form));
  assert.equal(errorOn(await newBrowser().post(ACS, form)).code, "replayed_response");
  assert.equal(errorOn(await newBrowser().post(ACS, relay(CLIENT, { issuedMs: -600_000 }))).code, "replayed_response");
  assert.equal(errorOn(await newBrowser().post(ACS, relay("javascript:alert(1)"))).code, "M_INVALID_PARAM");
  await Deno.remove(folder, { recursive: true });
});

testEachServer(
  "metadata come from elsewhere, signed where that is wanted, and stay while that is gone",
  async (database) => {
    const idp = await StubSamlIdp.make();
    const [signer, stranger] = [await makeRsaCertificate(), await makeRsaCertificate()];
    const certFile = await Deno.makeTempFile({ suffix: ".pem" });
    await Deno.writeTextFile(certFile, signer.cert);
    let text = "no metadata";
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response(text));
    const remote = [{ url: `http://127.0.0.1:${server.addr.port}/metadata`, cert: certFile }];
    const config = { saml2_config: { sp_config: { metadata: { remote } } } };
    await using hs = await TestServer.start({ database, config });
    const newBrowser = () => new Browser({ publicBase: PUBLIC, base: hs.base });
    const path = `${PUBLIC}_matrix/client/v3/login/sso/redirect/saml?redirectUrl=${encodeURIComponent(CLIENT)}`;
    for (const bad of [text, idp.metadata, idp.metadataSignedBy(stranger), `<!DOCTYPE a>${idp.metadata}`]) {
      text = bad;
      assert.deepEqual(errorOn(await newBrowser().get(path)), { status: 503, code: "provider_unavailable" });
    }
    text = idp.metadataSignedBy(signer);
    for (const isGone of [false, true]) {
      if (isGone) await server.shutdown();
      assert.match((await newBrowser().get(path)).location ?? "", /^https:\/\/idp\.test\/sso/);
    }
    await Deno.remove(certFile);
  },
);
