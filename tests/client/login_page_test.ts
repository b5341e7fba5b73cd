/** The page for clients that know no way to log in, with providers: all by links and forms, without JavaScript. */
import assert from "node:assert/strict";
import type { Json } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { FRIEDA, PUBLIC, setUp } from "../harness/sso.ts";

const PAGE = `${PUBLIC}_matrix/static/client/login/`;

function links(text: string): string[] {
  return [...text.matchAll(/<a href="([^"]*)"/g)].map(([, href = ""]) => href.replaceAll("&amp;", "&"));
}

function sessionIn(text: string): Json {
  return JSON.parse(/id="session">([^<]*)</.exec(text)?.[1] ?? "null");
}

testEachServer("the login page leads to a provider and logs in whoever comes back", async (database) => {
  const provider = () => ({
    user_mapping_provider: {
      config: { localpart_template: "{{ user.preferred_username }}", extra_attributes: { lang: "{{ user.lang }}" } },
    },
  });
  await using site = await setUp(database, { provider, config: { cas_config: { server_url: "https://cas.example" } } });
  const { hs, idp, browser } = site;
  const page = await browser.get(
    `${PAGE}?device_id=PHONE&initial_device_display_name=Old%20%3Cphone%3E&redirectUrl=https://evil.example`,
  );
  assert.equal(page.status, 200);
  assert.match(page.text, /<form method="post">/);
  assert.ok(page.text.includes("Stub &lt;&amp;&gt;"), page.text);
  assert.ok(!page.text.includes("evil.example") && !page.text.includes("<script"), page.text);
  const [cas = "", stub = ""] = links(page.text);
  assert.match(cas, /\/login\/sso\/redirect\/cas\?/);
  assert.match((await browser.follow(cas)).location ?? "", /^https:\/\/cas\.example\/login\?service=/);

  const departure = await browser.follow(stub);
  const back = await browser.follow(idp.logIn(departure.location ?? "", { claims: { ...FRIEDA, lang: "es" } }));
  assert.equal(back.status, 200, back.text);
  const session = sessionIn(back.text);
  assert.deepEqual([session.user_id, session.device_id, session.lang], ["@frieda:hs.test", "PHONE", "es"]);
  const { devices } = await hs.anyone.ok("GET", "/devices", { token: session.access_token });
  assert.equal(devices[0].display_name, "Old <phone>");
});

testEachServer("a login token on the login page works once, and looking does not use it up", async (database) => {
  await using site = await setUp(database, { config: { password_config: { enabled: false } } });
  const { hs, idp, browser } = site;
  const page = await browser.get(PAGE);
  assert.doesNotMatch(page.text, /<form/);
  const [stub = "", ...others] = links(page.text);
  assert.deepEqual(others, []);
  const departure = await browser.follow(stub);
  let answer = await browser.get(idp.logIn(departure.location ?? "", { claims: FRIEDA }));
  while (answer.location !== null && !answer.location.startsWith(PAGE)) answer = await browser.get(answer.location);
  const target = answer.location?.slice(PUBLIC.length) ?? "";
  const look = await fetch(`${hs.base}/${target}`, { method: "HEAD" });
  assert.equal(look.status, 200);
  assert.equal(sessionIn((await browser.get(`${PUBLIC}${target}`)).text).user_id, "@frieda:hs.test");
  for (const used of [target, `${target}x`]) {
    const again = await browser.get(`${PUBLIC}${used}`);
    assert.equal(again.status, 403, again.text);
    assert.match(again.text, /class="error"/);
    assert.equal(links(again.text).length, 1);
  }
  const form = await browser.post(PAGE, { user: "frieda", password: "x" });
  assert.equal(form.status, 400, "there is no login by password");
});
