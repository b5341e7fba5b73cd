/** What becomes of people who came from an identity provider: their accounts, names, requests and devices. */
import assert from "node:assert/strict";
import { type LoginChanges, LOGOUT_EVENT } from "../harness/oidc_provider.ts";
import { path } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { CLIENT, errorOn, FRIEDA, MAPPING, PUBLIC, setUp, tokenOn, useToken } from "../harness/sso.ts";

const DETAILS = `${PUBLIC}_synapse/client/pick_username/account_details`;
const CHECK = `${PUBLIC}_synapse/client/pick_username/check`;

testEachServer("whoever has no name yet picks one, and what the account takes over", async (database) => {
  const config = { display_name_template: "{{ user.name }}", email_template: "{{ user.email }}" };
  await using site = await setUp(database, { provider: () => ({ user_mapping_provider: { config } }) });
  const { hs, browser, newBrowser, logIn } = site;
  await hs.register("taken");
  const claims = { name: "<script>x</script>", email: "frieda@example.org", picture: "https://pictures.example/<1>" };
  const page = await logIn({ claims });
  assert.equal(page.status, 200);
  assert.ok(page.text.includes("&lt;script&gt;x") && !page.text.includes("<script>x"));
  assert.match(page.headers.get("content-security-policy") ?? "", /form-action 'self' https:\/\/app\.example;/);
  assert.match(page.text, /frieda@example\.org/);

  const check = async (username: string) => JSON.parse((await browser.get(`${CHECK}?username=${username}`)).text);
  assert.deepEqual(await check("taken"), { available: false });
  assert.deepEqual(await check("free"), { available: true });
  assert.equal((await check("no!")).errcode, "M_INVALID_USERNAME");
  const stranger = await newBrowser().get(`${CHECK}?username=free`);
  assert.deepEqual([stranger.status, JSON.parse(stranger.text).errcode], [400, "M_UNKNOWN"]);
  assert.equal(errorOn(await newBrowser().get(DETAILS)).code, "bad_session");
  assert.equal(errorOn(await newBrowser().post(DETAILS, { username: "free" })).code, "bad_session");
  assert.equal(errorOn(await newBrowser().get(`${PUBLIC}_synapse/client/sso_register`)).code, "bad_session");
  assert.equal(errorOn(await browser.post(DETAILS, {})).code, "bad_param");

  // Nobody has an account before they picked a name, and a name that cannot be is asked for again.
  assert.match((await browser.follow(`${PUBLIC}_synapse/client/sso_register`)).text, /name="username"/);
  for (const username of ["taken", "no!", "", "1234"]) {
    const again = await browser.post(DETAILS, { username });
    assert.equal(again.status, 400, username);
    assert.match(again.text, /name="username"/);
  }
  const emails: [string, string][] = [["use_email", "frieda@example.org"], ["use_email", "admin@example.org"]];
  const form = new URLSearchParams([["username", "Painter"], ["use_display_name", "true"], ...emails]);
  const picked = await browser.post(DETAILS, form);
  assert.equal(picked.location, `${PUBLIC}_synapse/client/sso_register`);
  const done = await browser.follow(picked.location ?? "");
  assert.deepEqual(browser.cookies, []);
  const session = await useToken(hs, tokenOn(done));
  assert.equal(session.user_id, "@painter:hs.test");
  const own = { token: session.access_token };
  assert.equal((await hs.anyone.ok("GET", "/profile/@painter:hs.test", own)).displayname, "<script>x</script>");
  const { threepids } = await hs.anyone.ok("GET", "/account/3pid", own);
  assert.deepEqual(threepids.map(({ address }: { address: string }) => address), ["frieda@example.org"]);
  assert.equal(errorOn(await browser.get(picked.location ?? "")).code, "bad_session");
});

testEachServer("new users agree to the terms first", async (database) => {
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/en`);
  await Deno.writeTextFile(`${folder}/en/1.0.html`, "<p>Be kind.</p>");
  await using site = await setUp(database, {
    config: {
      form_secret: "a secret",
      user_consent: { template_dir: folder, version: "1.0", require_at_registration: true },
    },
  });
  const { hs, browser, logIn } = site;
  const page = await logIn();
  assert.match(page.text, /name="accepted_version" value="1\.0"/);
  assert.match(page.text, /@frieda:hs\.test/);
  const consent = `${PUBLIC}_synapse/client/new_user_consent`;
  // The name is not theirs to choose, and nothing lets them pass by the terms.
  assert.equal(errorOn(await browser.post(DETAILS, { username: "queen" })).code, "bad_param");
  assert.match((await browser.follow(`${PUBLIC}_synapse/client/sso_register`)).text, /accepted_version/);
  assert.equal(errorOn(await browser.post(consent, { accepted_version: "0.9" })).code, "bad_param");
  assert.equal(errorOn(await browser.post(consent, {})).code, "bad_param");
  const agreed = await browser.post(consent, { accepted_version: "1.0" });
  const session = await useToken(hs, tokenOn(await browser.follow(agreed.location ?? "")));
  assert.equal(session.user_id, "@frieda:hs.test");
  await Deno.remove(folder, { recursive: true });
});

testEachServer("accounts of before are found by name only where that is allowed", async (database) => {
  await using site = await setUp(database, { provider: () => ({ allow_existing_users: true }) });
  const { hs, logIn } = site;
  const [frieda] = await hs.register("frieda");
  assert.equal((await useToken(hs, tokenOn(await logIn()))).user_id, frieda.userId);
  // From then on it is the person that counts.
  const renamed = { claims: { preferred_username: "diego" } };
  assert.equal((await useToken(hs, tokenOn(await logIn(renamed)))).user_id, frieda.userId);
});

testEachServer("a provider may be for those only who have an account, or have some attribute", async (database) => {
  await using site = await setUp(database, {
    provider: () => ({
      enable_registration: false,
      attribute_requirements: [{ attribute: "groups", one_of: ["staff", "admins"] }, { attribute: "active" }],
    }),
  });
  const { logIn } = site;
  const staff = { ...FRIEDA, groups: ["guests", "staff"], active: true };
  assert.deepEqual(errorOn(await logIn({ claims: staff })), { status: 403, code: "mapping_error" });
  for (
    const claims of [{ ...staff, groups: "guests" }, { ...staff, groups: undefined }, { ...staff, active: undefined }]
  ) {
    assert.equal(errorOn(await logIn({ claims })).code, "unauthorised");
  }
});

testEachServer("the profile follows the provider where it should, with the picture", async (database) => {
  await using site = await setUp(database, {
    provider: () => ({
      user_mapping_provider: { config: { ...MAPPING.config, extra_attributes: { team: "{{ user.team }}" } } },
    }),
    config: {
      sso: { update_profile_information: true },
      ip_range_whitelist: ["127.0.0.1"],
      enable_set_displayname: false,
    },
  });
  const { hs, idp, logIn } = site;
  const session = await useToken(hs, tokenOn(await logIn({ claims: { ...FRIEDA, team: "Painters" } })));
  assert.equal(session.team, "Painters");
  const own = { token: session.access_token };
  const profile = path`/profile/${session.user_id}`;
  assert.equal((await hs.anyone.ok("GET", profile, own)).avatar_url, undefined);
  const picture = `${idp.issuer}/picture.png`;
  tokenOn(await logIn({ claims: { ...FRIEDA, name: "F. K.", picture } }));
  const changed = await hs.anyone.ok("GET", profile, own);
  assert.equal(changed.displayname, "F. K.");
  const [, mediaId] = /^mxc:\/\/hs\.test\/(.+)$/.exec(changed.avatar_url) ?? [];
  const file = await hs.anyone.request("GET", `/_matrix/client/v1/media/download/hs.test/${mediaId}`, own);
  assert.deepEqual([file.status, file.headers.get("content-type")], [200, "image/png"]);
  // A picture that cannot be had keeps nobody out, nor takes away the one there is.
  tokenOn(await logIn({ claims: { ...FRIEDA, picture: `${idp.issuer}/gone.png` } }));
  assert.equal((await hs.anyone.ok("GET", profile, own)).avatar_url, changed.avatar_url);
});

testEachServer("pictures are not fetched from within the server's own network", async (database) => {
  await using site = await setUp(database);
  tokenOn(await site.logIn({ claims: { ...FRIEDA, picture: `${site.idp.issuer}/picture.png` } }));
  assert.equal(site.idp.hits.get("/picture.png"), undefined);
});

testEachServer("requests of those without a password are confirmed at the provider", async (database) => {
  await using site = await setUp(database);
  const { hs, idp, browser, logIn } = site;
  const first = await useToken(hs, tokenOn(await logIn()));
  const second = await useToken(hs, tokenOn(await logIn()));
  const token = second.access_token;
  const target = path`/devices/${first.device_id}`;
  const challenge = await hs.anyone.request("DELETE", target, { body: {}, token });
  assert.equal(challenge.status, 401);
  assert.deepEqual(challenge.body.flows, [{ stages: ["m.login.sso"] }]);
  const { session } = challenge.body;
  const confirm = async (changes: LoginChanges) => {
    const page = await browser.get(`/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`);
    assert.match(page.text, /DELETE \/devices\//);
    const link = /href="([^"]*)"/.exec(page.text)?.[1]?.replaceAll("&amp;", "&") ?? "";
    return await browser.follow(idp.logIn(link, changes));
  };
  const auth = { session };
  // Another person confirms nothing, nor does one whom nobody knows.
  await useToken(hs, tokenOn(await logIn({ claims: { preferred_username: "diego", sub: "person-2" } })));
  for (const sub of ["person-2", "person-3"]) {
    const wrong = await confirm({ claims: { sub } });
    assert.equal(wrong.status, 403);
    assert.match(wrong.text, /@frieda:hs\.test/);
    assert.equal((await hs.anyone.request("DELETE", target, { body: { auth }, token })).status, 401);
  }
  const direct = { auth: { ...auth, type: "m.login.sso" } };
  await hs.anyone.fails("DELETE", target, { body: direct, token, status: 401, errcode: "M_FORBIDDEN" });
  assert.equal((await confirm({})).status, 200);
  assert.equal((await hs.anyone.request("DELETE", target, { body: { auth }, token })).status, 200);
  const unknown = await browser.get("/_matrix/client/v3/auth/m.login.sso/fallback/web?session=nonsense");
  assert.equal(unknown.status, 404);
  // Who has a password and no provider is not sent anywhere.
  const [alice] = await hs.register("alice");
  const own = await alice.request("DELETE", path`/devices/${alice.deviceId}`, { body: {} });
  assert.deepEqual(own.body.flows, [{ stages: ["m.login.password"] }]);
  const page = await browser.get(`/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${own.body.session}`);
  assert.deepEqual(errorOn(page), { status: 400, code: "M_INVALID_PARAM" });
});

testEachServer("closed accounts are told so", async (database) => {
  await using site = await setUp(database);
  const { hs, logIn } = site;
  const session = await useToken(hs, tokenOn(await logIn()));
  await hs.parts.accounts.accounts.deactivate(session.user_id, { erase: false });
  const page = await logIn();
  assert.equal(page.status, 403);
  assert.match(page.text, /closed/);
});

testEachServer("logging out at the provider ends the logins that came from there", async (database) => {
  await using site = await setUp(database, { provider: () => ({ backchannel_logout_enabled: true }) });
  const { hs, idp, logIn } = site;
  const here = await useToken(hs, tokenOn(await logIn({ claims: { ...FRIEDA, sid: "session-1" } })));
  const underWay = tokenOn(await logIn({ claims: { ...FRIEDA, sid: "session-1" } }));
  const elsewhere = await useToken(hs, tokenOn(await logIn({ claims: { ...FRIEDA, sid: "session-2" } })));
  const claims = {
    ...{ iss: idp.issuer, aud: "synapse-ts", iat: Math.floor(Date.now() / 1000), jti: "1", sid: "session-1" },
    ...{ sub: "person-1", events: { [LOGOUT_EVENT]: {} } },
  };
  const target = "/_synapse/client/oidc/backchannel_logout";
  const send = async (token: string) =>
    await hs.anyone.request("POST", target, { body: new URLSearchParams({ logout_token: token }).toString() });
  const bad = [
    { ...claims, events: {} },
    { ...claims, nonce: "x" },
    { ...claims, sid: undefined },
    { ...claims, aud: "another" },
    { ...claims, iss: "https://other.example" },
  ];
  for (const changed of bad) assert.equal((await send(await idp.sign(changed))).status, 400);
  for (const text of ["", "a.b.c", "x"]) assert.equal((await send(text)).status, 400);
  await hs.anyone.fails("POST", target, { body: "", status: 400, errcode: "M_MISSING_PARAM" });
  await hs.anyone.ok("GET", "/account/whoami", { token: here.access_token });
  // Another person's logout ends nothing of this one's.
  await useToken(hs, tokenOn(await logIn({ claims: { preferred_username: "diego", sub: "person-2" } })));
  assert.equal((await send(await idp.sign({ ...claims, sub: "person-2" }))).status, 200);
  await hs.anyone.ok("GET", "/account/whoami", { token: here.access_token });

  const again = tokenOn(await logIn({ claims: { ...FRIEDA, sid: "session-1" } }));
  assert.equal((await send(await idp.sign(claims))).status, 200);
  const ended = { token: here.access_token, status: 401, errcode: "M_UNKNOWN_TOKEN" };
  await hs.anyone.fails("GET", "/account/whoami", ended);
  await hs.anyone.ok("GET", "/account/whoami", { token: elsewhere.access_token });
  for (const token of [underWay, again]) {
    const body = { type: "m.login.token", token };
    await hs.anyone.fails("POST", "/login", { body, status: 403, errcode: "M_FORBIDDEN" });
  }
});

testEachServer("with several providers people choose", async (database) => {
  const second = { idp_id: "oidc", idp_name: "Second", issuer: "http://127.0.0.1:9", client_id: "x" };
  await using site = await setUp(database, {
    provider: (idp) => ({ idp_brand: "stub", idp_icon: "mxc://hs.test/icon", issuer: idp.issuer }),
    more: [second],
    config: { public_baseurl: PUBLIC },
  });
  const { hs, browser } = site;
  const redirectUrl = encodeURIComponent(CLIENT);
  const [sso] = (await hs.anyone.get("/login")).flows;
  assert.deepEqual(sso.identity_providers, [
    { id: "oidc-stub", name: "Stub <&>", icon: "mxc://hs.test/icon", brand: "stub" },
    { id: "oidc", name: "Second" },
  ]);
  // Cookies must belong to the public address: whoever came to another is sent there once.
  const moved = await browser.get(`_matrix/client/v3/login/sso/redirect?redirectUrl=${redirectUrl}`);
  assert.ok(moved.location?.startsWith(`${PUBLIC}_matrix/client/v3/login/sso/redirect?`), moved.location ?? "");
  const page = await browser.follow(moved.location ?? "");
  assert.match(page.text, /Stub &lt;&amp;&gt;/);
  const link = /href="(pick_idp\?idp=oidc-stub[^"]*)"/.exec(page.text)?.[1]?.replaceAll("&amp;", "&");
  const chosen = await browser.get(`${PUBLIC}_synapse/client/${link}`);
  const url = new URL(chosen.location ?? "");
  assert.equal(url.pathname, "/_matrix/client/v3/login/sso/redirect/oidc-stub");
  assert.equal(url.searchParams.get("redirectUrl"), CLIENT);
  const pick = `${PUBLIC}_synapse/client/pick_idp`;
  assert.equal(errorOn(await browser.get(`${pick}?redirectUrl=${redirectUrl}&idp=none`)).code, "unknown_idp");
  assert.equal(errorOn(await browser.get(pick)).code, "M_MISSING_PARAM");
  assert.equal(errorOn(await browser.get(`${pick}?redirectUrl=javascript:alert(1)`)).code, "M_INVALID_PARAM");
});

testEachServer("without providers there is no such login", async (database) => {
  await using site = await setUp(database, { provider: () => null });
  const unrecognized = { status: 404, errcode: "M_UNRECOGNIZED" };
  await site.hs.anyone.fails("GET", "/login/sso/redirect", { query: { redirectUrl: CLIENT }, ...unrecognized });
  await site.hs.anyone.fails("GET", "/_synapse/client/oidc/callback", unrecognized);
});
