/** Packages that `dist/synapse-ts` loads at their first use only: all of each must be inside. */
import { equal, match, ok } from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { connect } from "node:tls";
import { SignJWT } from "jose";
import { Browser } from "../harness/browser.ts";
import { CLIENT_ID, StubOidcProvider } from "../harness/oidc_provider.ts";
import { freePort } from "../harness/ports.ts";
import { StubSamlIdp } from "../harness/saml_idp.ts";
import { StubSmsServer } from "../harness/sms_server.ts";
import { linkIn, SmtpSink } from "../harness/smtp.ts";
import { CA_PATH } from "../federation/certificates.ts";
import { startPeer } from "../federation/peer.ts";
import { startAcmeServer } from "../operator/acme_server.ts";
import { newSite, type Site } from "./site.ts";

const PUBLIC = "https://localhost/";
const CLIENT = "https://app.example/login";
const JWT_SECRET = "a secret that the operator's portal and the server share";
const WAIT_MS = 30_000;

/** Leaves for a provider. */
async function leave(browser: Browser, provider: string): Promise<string> {
  const path = `_matrix/client/v3/login/sso/redirect/${provider}?redirectUrl=${encodeURIComponent(CLIENT)}`;
  const { location, text } = await browser.follow(`${PUBLIC}${path}`);
  ok(location, text);
  return location;
}

/** Logs in with the token on the page that asks whether to go on; returns who that is. */
async function useToken(site: Site, page: string): Promise<unknown> {
  const link = /href="(https:\/\/app\.example\/login[^"]*)"/.exec(page)?.[1]?.replaceAll("&amp;", "&");
  ok(link, page);
  const token = new URL(link).searchParams.get("loginToken");
  return (await site.call("POST", "/_matrix/client/v3/login", { body: { type: "m.login.token", token } })).user_id;
}

Deno.test("the executable logs people in by OpenID Connect, SAML and JSON web tokens", async () => {
  await using site = await newSite();
  await using oidc = new StubOidcProvider();
  const saml = await StubSamlIdp.make();
  await site.generateConfig({
    oidc_providers: [{
      ...{ idp_id: "stub", idp_name: "Stub", issuer: oidc.issuer, client_id: CLIENT_ID, client_secret: "s3cret/+" },
      user_mapping_provider: { config: { localpart_template: "{{ user.preferred_username }}" } },
    }],
    saml2_config: { sp_config: { metadata: { inline: [saml.metadata] } } },
    jwt_config: { enabled: true, secret: JWT_SECRET, algorithm: "HS256" },
  });
  await site.serve();
  const browser = new Browser({ publicBase: PUBLIC, base: site.url });
  const departure = await leave(browser, "oidc-stub");
  const back = await browser.follow(oidc.logIn(departure, { claims: { preferred_username: "frieda" } }));
  equal(await useToken(site, back.text), "@frieda:localhost");

  const request = saml.read(await leave(browser, "saml"));
  const answer = saml.answer(request, { attributes: { uid: "diego" } });
  const arrived = await browser.post(`${PUBLIC}_synapse/client/saml2/authn_response`, answer);
  equal(await useToken(site, arrived.text), "@diego:localhost");

  const token = await new SignJWT({ sub: "olga" }).setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(JWT_SECRET));
  const body = { type: "org.matrix.login.jwt", token };
  equal((await site.call("POST", "/_matrix/client/v3/login", { body })).user_id, "@olga:localhost");
  equal(await site.stop(), 0);
});

Deno.test("the executable sends mails and reads phone numbers", async () => {
  await using site = await newSite();
  await using mails = await SmtpSink.start();
  await using sms = new StubSmsServer();
  const verified = { enable_registration: true, registrations_require_3pid: ["email"] };
  await site.generateConfig({ ...mails.config(), ...sms.config, ...verified });
  await site.serve();
  const asked = { client_secret: "s3cret", send_attempt: 1 };
  const mail = { ...asked, email: "frieda@example.org" };
  await site.call("POST", "/_matrix/client/v3/register/email/requestToken", { body: mail });
  match(linkIn(await mails.mail(0)), /\/registration\/email\/submit_token\?/);
  const phone = { ...asked, country: "DE", phone_number: "0151 12345678" };
  const { msisdn } = await site.call("POST", "/_matrix/client/v3/register/msisdn/requestToken", { body: phone });
  equal(msisdn, "4915112345678");
  equal(await site.stop(), 0);
});

Deno.test("the executable asks other servers, and tells its metrics", async () => {
  await using site = await newSite();
  await using peer = await startPeer({ names: ["IP:127.0.0.1"], handler: () => ({ json: { displayname: "Bob" } }) });
  const port = freePort();
  await site.generateConfig({
    listeners: [{ port, bind_addresses: ["127.0.0.1"], type: "metrics" }],
    enable_metrics: true,
    federation_custom_ca_list: [CA_PATH],
    ip_range_blacklist: [],
  });
  await site.serve();
  const user = encodeURIComponent(`@bob:127.0.0.1:${peer.port}`);
  const { displayname } = await site.call("GET", `/_matrix/client/v3/profile/${user}`);
  equal(displayname, "Bob");
  const metrics = await (await fetch(`http://127.0.0.1:${port}/_synapse/metrics`)).text();
  match(metrics, /^process_cpu_seconds_total /m);
  equal(await site.stop(), 0);
});

/** Returns who issued the certificate that a new connection is shown; nobody while there is no connection. */
function issuerAt(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(new X509Certificate(raw).issuer);
    });
    socket.once("error", () => resolve(""));
  });
}

Deno.test("the executable gets a certificate from an ACME server", async () => {
  await using site = await newSite();
  await using acme = await startAcmeServer();
  const port = freePort();
  await site.generateConfig({
    public_baseurl: "https://matrix.hs.test/",
    listeners: [{ port, bind_addresses: ["127.0.0.1"], type: "http", tls: true, resources: [{ names: ["client"] }] }],
    tls_certificate_path: site.path("tls.crt"),
    tls_private_key_path: site.path("tls.key"),
    acme: {
      ...{ enabled: true, url: acme.url, ca_file: acme.caFile, contact: "admin@hs.test" },
      ...{ port: acme.httpPort, bind_addresses: ["127.0.0.1"], account_key_file: site.path("account.key") },
    },
  });
  await site.serve();
  const end = performance.now() + WAIT_MS;
  let issuer = await issuerAt(port);
  while (!issuer.includes("Pebble") && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    issuer = await issuerAt(port);
  }
  match(issuer, /Pebble/);
  equal(await site.stop(), 0);
  // It is kept, and known for what it is: another start orders none.
  const kept = await Deno.readTextFile(site.path("tls.crt"));
  await site.serve();
  match(await issuerAt(port), /Pebble/);
  equal(await site.stop(), 0);
  equal(await Deno.readTextFile(site.path("tls.crt")), kept);
});
