import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import type { Json } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { CLIENT_ID, type LoginChanges } from "../harness/oidc_provider.ts";
import { testEachServer } from "../harness/server.ts";
import { CLIENT, errorOn, FRIEDA, MAPPING, PUBLIC, setUp, tokenOn, useToken } from "../harness/sso.ts";

testEachServer("somebody logs in at a provider, gets an account, and comes back to it", async (database) => {
  await using site = await setUp(database);
  const { hs, idp, logIn, browser } = site;
  const { flows } = await hs.anyone.get("/login");
  const sso = flows.find((flow: Json) => flow.type === "m.login.sso");
  assert.deepEqual(sso.identity_providers, [{ id: "oidc-stub", name: "Stub <&>" }]);
  assert.ok(flows.some((flow: Json) => flow.type === "m.login.token"));

  const page = await logIn();
  assert.match(page.text, /app\.example/);
  assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'none'/);
  assert.deepEqual(browser.cookies, []);
  const session = await useToken(hs, tokenOn(page));
  assert.equal(session.user_id, "@frieda:hs.test");
  const profile = await hs.anyone.ok("GET", "/profile/@frieda:hs.test", { token: session.access_token });
  assert.equal(profile.displayname, "Frieda Kahlo");

  const [request] = idp.tokenRequests;
  const credentials = `${CLIENT_ID}:${encodeURIComponent("s3cret/+")}`;
  assert.equal(request?.authorization, `Basic ${btoa(credentials)}`);
  assert.equal(request?.form.get("redirect_uri"), `${PUBLIC}_synapse/client/oidc/callback`);
  assert.notEqual(request?.form.get("code_verifier"), null);

  // What the provider says later changes neither the account nor its name.
  const again = await useToken(hs, tokenOn(await logIn({ claims: { preferred_username: "other", name: "Other" } })));
  assert.equal(again.user_id, "@frieda:hs.test");
  // Somebody else by the same name gets another.
  const second = await useToken(hs, tokenOn(await logIn({ claims: { ...FRIEDA, sub: "person-2" } })));
  assert.equal(second.user_id, "@frieda1:hs.test");
});

testEachServer("a login token works once and not for long", async (database) => {
  const clock = new FakeClock();
  await using site = await setUp(database, { clock });
  const [used, late] = [tokenOn(await site.logIn()), tokenOn(await site.logIn())];
  await useToken(site.hs, used);
  clock.advance(120_001);
  for (const token of [used, late]) {
    const body = { type: "m.login.token", token };
    await site.hs.anyone.fails("POST", "/login", { body, status: 403, errcode: "M_FORBIDDEN" });
  }
});

testEachServer("a token of the provider that is not good logs nobody in", async (database) => {
  await using site = await setUp(database);
  const now = Math.floor(Date.now() / 1000);
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const bad: [LoginChanges, string][] = [
    [{ claims: { ...FRIEDA, nonce: "another" } }, "invalid_token"],
    [{ claims: { ...FRIEDA, iss: "https://evil.example" } }, "invalid_token"],
    [{ claims: { ...FRIEDA, aud: "another client" } }, "invalid_token"],
    [{ claims: { ...FRIEDA, aud: [CLIENT_ID, "another"] } }, "invalid_token"],
    [{ claims: { ...FRIEDA, azp: "another" } }, "invalid_token"],
    [{ claims: { ...FRIEDA, exp: now - 300 } }, "invalid_token"],
    [{ key: privateKey }, "invalid_token"],
    [{ algorithm: "PS256" }, "invalid_token"],
    [{ withoutIdToken: true }, "invalid_token"],
    [{ tokenError: { status: 400, body: { error: "access_denied" } } }, "access_denied"],
    [{ tokenError: { status: 502, body: "<html>" } }, "server_error"],
  ];
  for (const [change, code] of bad) {
    assert.deepEqual(errorOn(await site.logIn(change)), { status: 400, code }, JSON.stringify(change));
  }
  assert.equal((await site.hs.anyone.get("/register/available", { username: "frieda" })).available, true);
});

testEachServer("a login that was begun elsewhere, or changed on the way, ends nowhere", async (database) => {
  await using site = await setUp(database);
  const { browser, newBrowser, idp } = site;
  const start = `_matrix/client/v3/login/sso/redirect?redirectUrl=${encodeURIComponent(CLIENT)}`;
  const location = (await browser.get(start)).location ?? "";
  const back = idp.logIn(location, { claims: FRIEDA });
  // Somebody is made to finish a login that another began.
  assert.deepEqual(errorOn(await newBrowser().get(back)), { status: 400, code: "missing_session" });
  const other = newBrowser();
  await other.get(start);
  assert.deepEqual(errorOn(await other.get(back)), { status: 400, code: "mismatching_session" });
  const forger = newBrowser();
  await forger.get(start);
  const [payload = "", signature = ""] = forger.cookie("oidc_session").split(".");
  const state = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
  state.value.purpose.redirectUrl = "https://evil.example/";
  const forged = `${btoa(JSON.stringify(state)).replaceAll("+", "-").replaceAll("/", "_")}.${signature}`;
  for (const name of forger.cookies) forger.setCookie(name, { value: forged, path: "/_synapse/client/oidc" });
  assert.deepEqual(errorOn(await forger.get(back)), { status: 400, code: "invalid_session" });
  // The provider refuses.
  const refusal = await browser.get(
    `${PUBLIC}_synapse/client/oidc/callback?error=access_denied&error_description=<b>no`,
  );
  assert.deepEqual(errorOn(refusal), { status: 400, code: "access_denied" });
  assert.ok(refusal.text.includes("&lt;b&gt;no") && !refusal.text.includes("<b>no"));
  // The state is used up by that: the login begins anew.
  assert.deepEqual(errorOn(await browser.get(back)), { status: 400, code: "missing_session" });
  assert.equal(idp.tokenRequests.length, 0);
});

testEachServer(
  "only addresses of clients are redirected to, and the token goes only where the user says",
  async (database) => {
    const sso = { client_whitelist: ["https://trusted.example", "io.app:/"] };
    await using site = await setUp(database, { config: { sso } });
    const { hs, idp } = site;
    const redirect = (redirectUrl: string) =>
      `/_matrix/client/v3/login/sso/redirect/oidc-stub?redirectUrl=${encodeURIComponent(redirectUrl)}`;
    const bad = [
      "javascript:alert(1)",
      "data:text/html,x",
      "/relative",
      "",
      " https://x.example",
      `https://x/${"a".repeat(3000)}`,
    ];
    for (const url of bad) await hs.anyone.fails("GET", redirect(url), { status: 400, errcode: "M_INVALID_PARAM" });
    await hs.anyone.fails("GET", "/login/sso/redirect", { status: 400, errcode: "M_MISSING_PARAM" });
    const unknown = { status: 404, errcode: "M_NOT_FOUND", query: { redirectUrl: CLIENT } };
    await hs.anyone.fails("GET", "/login/sso/redirect/oidc-other", unknown);
    const arrivals: [string, number][] = [
      ["https://trusted.example/", 302],
      ["https://trusted.example/deep?x=1#y", 302],
      ["io.app:/callback", 302],
      ["https://trusted.example.evil/", 200],
      ["https://trusted.example@evil.example/", 200],
      ["https://other.example/", 200],
    ];
    for (const [url, status] of arrivals) {
      const browser = site.newBrowser();
      const departure = await browser.get(redirect(url));
      const answer = await browser.get(idp.logIn(departure.location ?? "", { claims: FRIEDA }));
      assert.equal(answer.status, status, url);
      if (answer.location === null) continue;
      assert.ok(answer.location.startsWith(url.split("?")[0] ?? ""));
      assert.match(answer.location, /[?&]loginToken=syl_/);
    }
  },
);

testEachServer("keys that the provider changed are asked for again, and not for every token", async (database) => {
  const clock = new FakeClock();
  await using site = await setUp(database, { clock, provider: () => ({ backchannel_logout_enabled: true }) });
  const { hs, idp, logIn } = site;
  tokenOn(await logIn());
  assert.equal(idp.hits.get("/jwks"), 1);
  const forged = { iss: idp.issuer, aud: CLIENT_ID, sid: "x", events: {} };
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  for (let i = 0; i < 3; i++) {
    const logout_token = await new SignJWT(forged).setProtectedHeader({ alg: "RS256", kid: `k${i}` }).sign(privateKey);
    const body = new URLSearchParams({ logout_token }).toString();
    await hs.anyone.fails("POST", "/_synapse/client/oidc/backchannel_logout", {
      body,
      status: 400,
      errcode: "M_UNKNOWN",
    });
  }
  assert.equal(idp.hits.get("/jwks"), 1);
  idp.changeKeys();
  assert.equal(errorOn(await logIn()).code, "invalid_token");
  clock.advance(30_000);
  tokenOn(await logIn());
  assert.equal(idp.hits.get("/jwks"), 2);
  assert.equal(idp.hits.get("/.well-known/openid-configuration"), 1);
});

testEachServer("a provider that cannot be reached is said to be unavailable, and tried again", async (database) => {
  await using site = await setUp(database);
  const { browser, idp, logIn } = site;
  idp.metadata = { issuer: "https://somebody.else" };
  const start = `_matrix/client/v3/login/sso/redirect?redirectUrl=${encodeURIComponent(CLIENT)}`;
  assert.deepEqual(errorOn(await browser.get(start)), { status: 503, code: "provider_unavailable" });
  idp.metadata = {};
  tokenOn(await logIn());
});

testEachServer("providers are asked as they are configured", async (database) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  await using site = await setUp(database, {
    provider: () => ({
      ...{ client_secret: undefined, client_secret_jwt_key: { key, jwt_header: { alg: "ES256", kid: "K" } } },
      ...{ client_auth_method: "client_secret_post", pkce_method: "never", scopes: ["openid", "profile"] },
      additional_authorization_parameters: { acr_values: "2fa" },
      passthrough_authorization_parameters: ["login_hint"],
      user_profile_method: "userinfo_endpoint",
    }),
  });
  const { browser, idp, logIn } = site;
  const redirectUrl = encodeURIComponent(CLIENT);
  const path = `_matrix/client/v3/login/sso/redirect/oidc-stub?redirectUrl=${redirectUrl}&login_hint=f@x.y&prompt=none`;
  const asked = new URL((await browser.get(path)).location ?? "").searchParams;
  assert.deepEqual(
    ["scope", "acr_values", "login_hint", "prompt", "code_challenge", "response_type"].map((name) => asked.get(name)),
    ["openid profile", "2fa", "f@x.y", null, null, "code"],
  );
  tokenOn(await logIn());
  const form = idp.tokenRequests.at(-1)?.form;
  assert.equal(form?.get("client_id"), CLIENT_ID);
  const { payload, protectedHeader } = await jwtVerify(form?.get("client_secret") ?? "", publicKey);
  assert.deepEqual([payload.sub, payload.aud, protectedHeader.kid], [CLIENT_ID, idp.issuer, "K"]);
  assert.equal(idp.hits.get("/userinfo"), 1);
});

testEachServer("a plain OAuth 2.0 server does where its endpoints are given", async (database) => {
  await using site = await setUp(database, {
    provider: ({ issuer }) => ({
      ...{ discover: false, scopes: ["read:user"], client_secret: undefined },
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      userinfo_endpoint: `${issuer}/userinfo`,
      user_mapping_provider: { config: { ...MAPPING.config, subject_template: "{{ user.id }}" } },
    }),
  });
  tokenOn(await site.logIn({ claims: { ...FRIEDA, id: 4711 }, withoutIdToken: true }));
  const [request] = site.idp.tokenRequests;
  assert.deepEqual([request?.authorization, request?.form.get("client_id")], [null, CLIENT_ID]);
  assert.equal(request?.form.get("client_secret"), null);
  assert.equal(site.idp.hits.get("/jwks"), undefined);
  // Whoever has no id there is nobody.
  assert.equal(errorOn(await site.logIn({ withoutIdToken: true })).code, "mapping_error");
});
