/** A server whose accounts are with a Matrix Authentication Service. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { ConfigError, defaultConfig } from "../../src/config/load.ts";
import { type Json, path, type RequestOptions } from "../harness/client.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { MAS_SECRET, StubMas } from "../harness/mas.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ENDED = { status: 401, errcode: "M_UNKNOWN_TOKEN" };
const GONE = { status: 404, errcode: "M_UNRECOGNIZED" };

/** Returns a public key in base64. */
function newKey(): string {
  const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  return x.replaceAll("-", "+").replaceAll("_", "/");
}

interface Site extends AsyncDisposable {
  readonly hs: TestServer;
  readonly mas: StubMas;
  readonly clock: FakeClock;
  /** Calls what only the service may call. */
  readonly call: (name: string, body: Json) => Promise<{ status: number; body: Json }>;
  /** Makes an account with a device and returns a token of it. */
  readonly provision: (localpart: string, device?: string) => Promise<string>;
}

async function setUp(database: TestDatabase, config: Json = {}): Promise<Site> {
  const [mas, clock] = [new StubMas(), new FakeClock()];
  const matrix_authentication_service = { enabled: true, endpoint: `${mas.endpoint}/`, secret: MAS_SECRET };
  const own = { enable_registration: false, enable_registration_without_verification: false };
  const hs = await TestServer.start({
    ...{ database, clock },
    config: { public_baseurl: "https://hs.test/", matrix_authentication_service, ...own, ...config },
  });
  const call = async (name: string, body: Json) =>
    await hs.anyone.request("POST", `/_synapse/mas/${name}`, { body, token: MAS_SECRET });
  return {
    ...{ hs, mas, clock, call },
    async provision(localpart, device = "DEVICE") {
      await call("provision_user", { localpart });
      await call("upsert_device", { localpart, device_id: device, display_name: "Phone" });
      return mas.give(localpart, { device });
    },
    async [Symbol.asyncDispose]() {
      await hs[Symbol.asyncDispose]();
      await mas[Symbol.asyncDispose]();
    },
  };
}

testEachServer("access tokens are those of the service, which is asked about them again in time", async (database) => {
  await using site = await setUp(database);
  const { hs, mas, clock } = site;
  const token = await site.provision("alice");
  const whoami = async (options: RequestOptions) => await hs.anyone.ok("GET", "/account/whoami", options);
  assert.deepEqual(await whoami({ token }), { user_id: "@alice:hs.test", device_id: "DEVICE", is_guest: false });
  await Promise.all([1, 2, 3].map(() => whoami({ token })));
  assert.equal(mas.asked.get(token), 1);
  clock.advance(119_000);
  await whoami({ token });
  assert.equal(mas.asked.get(token), 1);
  clock.advance(1_000);
  await whoami({ token });
  assert.equal(mas.asked.get(token), 2);
  mas.tokens.delete(token);
  clock.advance(120_000);
  await hs.anyone.fails("GET", "/account/whoami", { token, ...ENDED });
  // Requests under way together ask once.
  const other = mas.give("alice", { device: null, scope: "urn:matrix:org.matrix.msc2967.client:api:*" });
  await Promise.all([1, 2, 3, 4].map(() => whoami({ token: other })));
  assert.equal(mas.asked.get(other), 1);
});

testEachServer("tokens that are not good let nobody in", async (database) => {
  await using site = await setUp(database);
  const { hs, mas } = site;
  await site.provision("alice");
  const bad = [
    "unknown",
    "x".repeat(5_000),
    mas.give("alice", { active: false }),
    mas.give("alice", { scope: "openid" }),
    mas.give("alice", { expires_in: 0 }),
    mas.give("alice", { device: "OTHER" }),
  ];
  for (const token of bad) await hs.anyone.fails("GET", "/account/whoami", { token, ...ENDED });
  const broken = [mas.give("nobody"), mas.give("alice", { username: undefined }), mas.give("alice", { device_id: "" })];
  for (const token of broken) {
    await hs.anyone.fails("GET", "/account/whoami", { token, status: 500, errcode: "M_UNKNOWN" });
  }
  const token = mas.give("alice");
  mas.isDown = true;
  await hs.anyone.fails("GET", "/account/whoami", { token, status: 503, errcode: "M_UNKNOWN" });
  await hs.anyone.fails("GET", "/_matrix/client/v1/auth_metadata", { status: 503, errcode: "M_UNKNOWN" });
  mas.isDown = false;
  await hs.anyone.ok("GET", "/account/whoami", { token });
  await hs.anyone.fails("GET", "/account/whoami", { status: 401, errcode: "M_MISSING_TOKEN" });
  // The scope makes administrators, and nothing else.
  const whois = path`/_matrix/client/v3/admin/whois/@nobody:hs.test`;
  await hs.anyone.fails("GET", whois, { token, status: 403, errcode: "M_FORBIDDEN" });
  const admin = mas.give("alice", { scope: "urn:matrix:client:api:* urn:synapse:admin:*" });
  assert.notEqual((await hs.anyone.request("GET", whois, { token: admin })).status, 403);
});

testEachServer("clients learn where the accounts are", async (database) => {
  await using site = await setUp(database);
  const { hs, mas } = site;
  const metadata = await hs.anyone.request("GET", "/_matrix/client/v1/auth_metadata");
  assert.equal(metadata.body.token_endpoint, `${mas.endpoint}/oauth2/token`);
  assert.match(metadata.headers.get("cache-control") ?? "", /^public, max-age=600/);
  const old = "/_matrix/client/unstable/org.matrix.msc2965";
  assert.deepEqual(await hs.anyone.get(`${old}/auth_metadata`), metadata.body);
  assert.deepEqual(await hs.anyone.get(`${old}/auth_issuer`), { issuer: `${mas.endpoint}/` });
  const wellKnown = await hs.anyone.get("/.well-known/matrix/client");
  assert.deepEqual(wellKnown["org.matrix.msc2965.authentication"], {
    issuer: `${mas.endpoint}/`,
    account: `${mas.endpoint}/account/`,
  });
});

testEachServer("what the service does in the server's place is not here", async (database) => {
  await using site = await setUp(database);
  const { hs } = site;
  const token = await site.provision("alice");
  const gone: [string, string][] = [
    ["GET", "/login"],
    ["POST", "/login"],
    ["POST", "/refresh"],
    ["POST", "/logout"],
    ["POST", "/logout/all"],
    ["POST", "/register"],
    ["GET", "/register/available?username=x"],
    ["POST", "/account/password"],
    ["POST", "/account/password/email/requestToken"],
    ["POST", "/account/deactivate"],
    ["POST", "/account/3pid"],
    ["POST", "/account/3pid/add"],
    ["POST", "/account/3pid/delete"],
    ["POST", "/delete_devices"],
    ["DELETE", "/devices/DEVICE"],
    ["GET", "/_synapse/admin/v1/register"],
    ["GET", "/login/sso/redirect?redirectUrl=https://x.example"],
  ];
  for (const [method, target] of gone) {
    const answer = await hs.anyone.request(method, target, { token, ...(method === "GET" ? {} : { body: {} }) });
    assert.equal(answer.body?.errcode, "M_UNRECOGNIZED", `${method} ${target}`);
  }
  await hs.anyone.ok("GET", "/account/3pid", { token });
  const { capabilities } = await hs.anyone.ok("GET", "/capabilities", { token });
  assert.deepEqual([capabilities["m.change_password"], capabilities["m.3pid_changes"]], [
    { enabled: false },
    { enabled: false },
  ]);
});

testEachServer("administrators leave to the service what the service has", async (database) => {
  await using site = await setUp(database);
  const { hs, mas } = site;
  await site.provision("alice");
  const token = mas.give("alice", { scope: "urn:matrix:client:api:* urn:synapse:admin:*" });
  const alice = "@alice:hs.test";
  const gone = [
    ["POST", `v1/reset_password/${alice}`],
    ["GET", `v1/users/${alice}/admin`],
    ["PUT", `v1/users/${alice}/admin`],
    ["POST", `v1/users/${alice}/login`],
    ["POST", "v1/account_validity/validity"],
    ["GET", "v1/registration_tokens"],
    ["POST", "v1/registration_tokens/new"],
    ["GET", "v1/registration_tokens/x"],
    ["PUT", "v1/registration_tokens/x"],
    ["DELETE", "v1/registration_tokens/x"],
  ] as const;
  for (const [method, target] of gone) {
    await hs.anyone.fails(method, `/_synapse/admin/${target}`, { token, ...GONE });
  }
  const users = "/_synapse/admin/v2/users";
  await hs.anyone.fails("GET", users, { token, status: 400, errcode: "M_INVALID_PARAM" });
  assert.equal((await hs.anyone.ok("GET", users, { token, query: { guests: false } })).total, 1);
  const forbidden = { status: 403, errcode: "M_FORBIDDEN" };
  await hs.anyone.fails("PUT", `${users}/@new:hs.test`, { token, body: {}, ...forbidden });
  const named = await hs.anyone.ok("PUT", `${users}/${alice}`, { token, body: { displayname: "A" } });
  assert.equal(named.displayname, "A");
});

testEachServer("without the service its endpoints are not here", async (database) => {
  await using hs = await TestServer.start({ database });
  await hs.anyone.fails("GET", "/_matrix/client/v1/auth_metadata", GONE);
  const wrong = { body: { localpart: "alice" }, token: MAS_SECRET };
  await hs.anyone.fails("POST", "/_synapse/mas/provision_user", { ...wrong, ...GONE });
});

testEachServer("cross-signing keys are replaced when the service allows it, once", async (database) => {
  await using site = await setUp(database);
  const { hs, mas, clock, call } = site;
  const token = await site.provision("alice");
  const upload = async (name: string) => {
    const key = `ed25519:${name}`;
    const master_key = { user_id: "@alice:hs.test", usage: ["master"], keys: { [key]: name } };
    return await hs.anyone.request("POST", "/keys/device_signing/upload", { body: { master_key }, token });
  };
  const [first, second, third] = [1, 2, 3].map(newKey);
  assert.equal((await upload(first ?? "")).status, 200);
  const refused = await upload(second ?? "");
  assert.equal(refused.status, 401);
  assert.deepEqual(refused.body.flows, [{ stages: ["m.oauth"] }, { stages: ["org.matrix.cross_signing_reset"] }]);
  const url = `${mas.endpoint}/account/?action=org.matrix.cross_signing_reset`;
  assert.deepEqual(refused.body.params, { "m.oauth": { url }, "org.matrix.cross_signing_reset": { url } });
  const page = await hs.anyone.request("GET", "/auth/m.oauth/fallback/web?session=dummy");
  assert.deepEqual([page.status, page.headers.get("location")], [302, url]);

  assert.equal((await call("allow_cross_signing_reset", { localpart: "alice" })).status, 200);
  assert.equal((await upload(second ?? "")).status, 200);
  assert.equal((await upload(third ?? "")).status, 401);
  await call("allow_cross_signing_reset", { localpart: "alice" });
  clock.advance(600_000);
  assert.equal((await upload(third ?? "")).status, 401);
});

testEachServer("the service makes, changes and closes accounts", async (database) => {
  await using site = await setUp(database);
  const { hs, mas, call } = site;
  const query = async (localpart: string) =>
    await hs.anyone.request("GET", `/_synapse/mas/query_user?localpart=${localpart}`, { token: MAS_SECRET });
  assert.equal((await query("alice")).status, 404);
  const alice = { localpart: "alice", set_displayname: "Alice", set_emails: ["a@x.example", "b@x.example"] };
  assert.equal((await call("provision_user", alice)).status, 201);
  assert.equal(
    (await call("provision_user", { localpart: "alice", set_emails: ["b@x.example", "c@x.example"] })).status,
    200,
  );
  await call("provision_user", { localpart: "alice", set_avatar_url: "mxc://hs.test/a" });
  assert.deepEqual((await query("alice")).body, {
    ...{ user_id: "@alice:hs.test", display_name: "Alice", avatar_url: "mxc://hs.test/a" },
    ...{ is_suspended: false, is_deactivated: false },
  });
  await call("upsert_device", { localpart: "alice", device_id: "DEVICE" });
  const token = mas.give("alice");
  const emails = async () =>
    (await hs.anyone.ok("GET", "/account/3pid", { token })).threepids.map(({ address }: Json) => address).sort();
  assert.deepEqual(await emails(), ["b@x.example", "c@x.example"]);
  await call("provision_user", { localpart: "alice", unset_emails: true, unset_avatar_url: true });
  assert.deepEqual(await emails(), []);
  assert.equal((await call("set_displayname", { localpart: "alice", displayname: "A." })).status, 200);
  assert.equal((await query("alice")).body.display_name, "A.");
  await call("unset_displayname", { localpart: "alice" });
  assert.equal((await query("alice")).body.display_name, null);

  await call("provision_user", { localpart: "alice", locked: true });
  await hs.anyone.fails("GET", "/account/whoami", { token, status: 401, errcode: "M_USER_LOCKED" });
  await call("provision_user", { localpart: "alice", locked: false });
  await hs.anyone.ok("GET", "/account/whoami", { token });

  const free = async (localpart: string) =>
    (await hs.anyone.request("GET", `/_synapse/mas/is_localpart_available?localpart=${localpart}`, {
      token: MAS_SECRET,
    }))
      .body.errcode;
  assert.deepEqual([await free("bob"), await free("alice"), await free("no!")], [
    undefined,
    "M_USER_IN_USE",
    "M_INVALID_USERNAME",
  ]);
  assert.equal((await call("delete_user", { localpart: "alice", erase: true })).status, 200);
  assert.equal((await query("alice")).body.is_deactivated, true);
  await hs.anyone.fails("GET", "/account/whoami", { token, ...ENDED });
  assert.equal((await call("reactivate_user", { localpart: "alice" })).status, 200);
  assert.equal((await query("alice")).body.is_deactivated, false);
  await call("upsert_device", { localpart: "alice", device_id: "DEVICE" });
  await hs.anyone.ok("GET", "/account/whoami", { token });
});

testEachServer("the service makes, names and removes devices", async (database) => {
  await using site = await setUp(database);
  const { hs, mas, call } = site;
  const token = await site.provision("alice");
  const alice = { localpart: "alice" };
  const names = async () =>
    Object.fromEntries(
      (await hs.anyone.ok("GET", "/devices", { token })).devices.map(({ device_id, display_name = null }: Json) => [
        device_id,
        display_name,
      ]),
    );
  assert.equal((await call("upsert_device", { ...alice, device_id: "TWO", display_name: "Two" })).status, 201);
  assert.equal((await call("upsert_device", { ...alice, device_id: "TWO", display_name: "Second" })).status, 200);
  assert.equal(
    (await call("update_device_display_name", { ...alice, device_id: "DEVICE", display_name: "One" })).status,
    200,
  );
  assert.deepEqual(await names(), { DEVICE: "One", TWO: "Second" });
  const second = mas.give("alice", { device: "TWO" });
  await hs.anyone.ok("GET", "/account/whoami", { token: second });
  assert.equal((await call("delete_device", { ...alice, device_id: "TWO" })).status, 204);
  await hs.anyone.fails("GET", "/account/whoami", { token: second, ...ENDED });
  assert.equal((await call("sync_devices", { ...alice, devices: ["DEVICE", "THREE", "FOUR"] })).status, 200);
  assert.equal((await call("sync_devices", { ...alice, devices: ["DEVICE", "FOUR"] })).status, 200);
  assert.deepEqual(await names(), { DEVICE: "One", FOUR: null });
});

testEachServer("nobody but the service calls what is for it, and nonsense changes nothing", async (database) => {
  await using site = await setUp(database);
  const { hs, call } = site;
  const token = await site.provision("alice");
  const target = "/_synapse/mas/delete_user";
  const body = { localpart: "alice", erase: false };
  await hs.anyone.fails("POST", target, { body, status: 401, errcode: "M_MISSING_TOKEN" });
  await hs.anyone.fails("POST", target, { body, token, status: 403, errcode: "M_FORBIDDEN" });
  const own = { token: MAS_SECRET };
  const names = ["provision_user", "delete_user", "reactivate_user", "set_displayname", "unset_displayname"]
    .concat([
      "allow_cross_signing_reset",
      "upsert_device",
      "delete_device",
      "update_device_display_name",
      "sync_devices",
    ]);
  for (const name of names) {
    for (const bad of [{}, { localpart: 5 }, { localpart: null, devices: "x", device_id: [], erase: "yes" }]) {
      const answer = await call(name, bad);
      assert.equal(answer.status, 400, `${name} ${JSON.stringify(bad)}`);
    }
    await hs.anyone.fails("POST", `/_synapse/mas/${name}`, { body: "{", ...own, status: 400, errcode: "M_NOT_JSON" });
    const full = { localpart: "nobody", erase: true, displayname: "x", device_id: "X", display_name: "x", devices: [] };
    if (name !== "provision_user") assert.equal((await call(name, full)).status, 404, name);
  }
  const both = { localpart: "alice", set_emails: ["x@y.z"], unset_emails: true };
  assert.equal((await call("provision_user", both)).status, 400);
  await hs.anyone.ok("GET", "/account/whoami", { token });
});

Deno.test("options that would have both servers do the same are refused", () => {
  const service = { enabled: true, secret: MAS_SECRET };
  const problems = (more: Json): number => {
    try {
      defaultConfig("hs.test", { matrix_authentication_service: service, ...more });
      return 0;
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error.problems.length;
    }
  };
  assert.equal(problems({}), 0);
  assert.equal(problems({ matrix_authentication_service: { enabled: true } }), 1);
  assert.equal(problems({ password_config: { enabled: true } }), 1);
  assert.equal(problems({ password_config: { pepper: "x" } }), 0);
  assert.equal(problems({ enable_3pid_changes: true, session_lifetime: "1d" }), 2);
  assert.equal(problems({ enable_registration: true, enable_registration_without_verification: true }), 1);
  assert.equal(problems({ jwt_config: { enabled: true, secret: "x", algorithm: "HS256" } }), 1);
});
