import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";
import { ConfigError, defaultConfig } from "../../src/config/load.ts";
import { StartupError } from "../../src/lib/startup_error.ts";
import type { Json } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const TYPE = "org.matrix.login.jwt";
const SECRET = "a secret that the operator's portal and the server share";
const REFUSED = { status: 403, errcode: "M_FORBIDDEN" };
const OPTIONS = { enabled: true, secret: SECRET, algorithm: "HS256" };

async function sign(claims: Json, { secret = SECRET, algorithm = "HS256" } = {}): Promise<string> {
  return await new SignJWT(claims).setProtectedHeader({ alg: algorithm }).sign(new TextEncoder().encode(secret));
}

function body(token?: string): Json {
  return token === undefined ? { type: TYPE } : { type: TYPE, token };
}

testEachServer("a token logs in whom it names, and the first one makes the account", async (database) => {
  const jwt_config = { ...OPTIONS, display_name_claim: "name" };
  await using hs = await TestServer.start({ database, config: { jwt_config, enable_registration: false } });
  const { flows } = await hs.anyone.get("/login");
  assert.ok(flows.some((flow: Json) => flow.type === TYPE));
  const token = await sign({ sub: "Frieda", name: "Frieda Kahlo" });
  const first = await hs.anyone.post("/login", { ...body(token), device_id: "PORTAL" });
  assert.equal(first.user_id, "@frieda:hs.test");
  assert.equal(first.device_id, "PORTAL");
  const profile = await hs.anyone.ok("GET", "/profile/@frieda:hs.test", { token: first.access_token });
  assert.equal(profile.displayname, "Frieda Kahlo");
  const again = await hs.anyone.post("/login", body(await sign({ sub: "frieda", name: "Somebody Else" })));
  assert.equal(again.user_id, "@frieda:hs.test");
  const kept = await hs.anyone.ok("GET", "/profile/@frieda:hs.test", { token: again.access_token });
  assert.equal(kept.displayname, "Frieda Kahlo");
});

testEachServer("a token that is not good logs nobody in", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: { jwt_config: OPTIONS } });
  const now = Math.floor(clock.now() / 1000);
  const bad: (string | undefined)[] = [
    undefined,
    "",
    "not.a.token",
    "x".repeat(20_000),
    await sign({ sub: "eve" }, { secret: "a secret that somebody made up for themselves" }),
    await sign({ sub: "eve" }, { algorithm: "HS512" }),
    `${btoa('{"alg":"none"}')}.${btoa('{"sub":"eve"}')}.`.replaceAll("=", ""),
    await sign({}),
    await sign({ sub: 5 }),
    await sign({ sub: "" }),
    await sign({ sub: "eve", exp: now - 121 }),
    await sign({ sub: "eve", nbf: now + 121 }),
    await sign({ sub: "eve", aud: "somebody" }),
  ];
  for (const token of bad) await hs.anyone.fails("POST", "/login", { body: body(token), ...REFUSED });
  for (const sub of ["@eve:hs.test", "eve:hs.test", "12345", "_eve", "é", "a".repeat(300)]) {
    const invalid = { status: 400, errcode: "M_INVALID_USERNAME" };
    await hs.anyone.fails("POST", "/login", { body: body(await sign({ sub })), ...invalid });
  }
  await hs.anyone.fails("POST", "/login", { body: { type: TYPE, token: 5 }, status: 400, errcode: "M_BAD_JSON" });
  assert.equal((await hs.anyone.get("/register/available", { username: "eve" })).available, true);
  // Clocks may be two minutes apart.
  const late = await sign({ sub: "eve", exp: now - 119, nbf: now + 119 });
  assert.equal((await hs.anyone.post("/login", body(late))).user_id, "@eve:hs.test");
});

testEachServer("issuer, audiences and the claim of the name are what the configuration says", async (database) => {
  const jwt_config = { ...OPTIONS, issuer: "portal", audiences: ["chat", "calls"], subject_claim: "uid" };
  await using hs = await TestServer.start({ database, config: { jwt_config } });
  const good = { uid: "grace", iss: "portal", aud: "calls" };
  const wrong = [{ iss: undefined }, { iss: "other" }, { aud: undefined }, { aud: "mail" }, { uid: undefined }];
  for (const change of wrong) {
    await hs.anyone.fails("POST", "/login", { body: body(await sign({ ...good, ...change })), ...REFUSED });
  }
  const session = await hs.anyone.post("/login", body(await sign({ ...good, sub: "other" })));
  assert.equal(session.user_id, "@grace:hs.test");
});

testEachServer("a public key checks tokens of the algorithm it is for", async (database) => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const secret = publicKey.export({ type: "spki", format: "pem" }).toString();
  await using hs = await TestServer.start({
    database,
    config: { jwt_config: { enabled: true, secret, algorithm: "ES256" } },
  });
  const token = await new SignJWT({ sub: "hedy" }).setProtectedHeader({ alg: "ES256" }).sign(privateKey);
  assert.equal((await hs.anyone.post("/login", body(token))).user_id, "@hedy:hs.test");
  // The public key is no secret: what is signed with its text must not do.
  await hs.anyone.fails("POST", "/login", { body: body(await sign({ sub: "hedy" }, { secret })), ...REFUSED });
});

testEachServer("accounts that are closed or wait for approval do not get in by token", async (database) => {
  const experimental_features = { msc3866: { enabled: true, require_approval_for_new_accounts: true } };
  await using hs = await TestServer.start({ database, config: { jwt_config: OPTIONS, experimental_features } });
  const waiting = { status: 403, errcode: "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL" };
  await hs.anyone.fails("POST", "/login", { body: body(await sign({ sub: "ida" })), ...waiting });
  const admin = await hs.registerAdmin("admin");
  await hs.parts.accounts.accounts.deactivate(admin.userId as never, { erase: false });
  const closed = { status: 403, errcode: "M_USER_DEACTIVATED" };
  await hs.anyone.fails("POST", "/login", { body: body(await sign({ sub: "admin" })), ...closed });
});

testEachServer("without jwt_config there is no such login", async (database) => {
  await using hs = await TestServer.start({ database, config: { jwt_config: { ...OPTIONS, enabled: false } } });
  const unknown = { status: 400, errcode: "M_UNKNOWN" };
  await hs.anyone.fails("POST", "/login", { body: body(await sign({ sub: "eve" })), ...unknown });
});

Deno.test("jwt_config that could not work is refused at the start", () => {
  const problems = (jwt_config: Json): readonly string[] => {
    try {
      defaultConfig("hs.test", { jwt_config });
      return [];
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error.problems;
    }
  };
  assert.equal(problems({ enabled: true }).length, 2);
  assert.equal(problems({ ...OPTIONS, algorithm: "none" }).length, 1);
  assert.equal(problems({ enabled: false }).length, 0);
});

testEachServer("a key that does not fit its algorithm stops the start", async (database) => {
  const config = { jwt_config: { enabled: true, secret: "no key", algorithm: "RS256" } };
  await assert.rejects(TestServer.start({ database, config }), StartupError);
});
