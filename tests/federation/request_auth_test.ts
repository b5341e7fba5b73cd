/** Requests of other servers: one clear answer for each way they can be wrong. */
import assert from "node:assert/strict";
import { OriginLimits } from "../../src/http/federation/origin_limits.ts";
import { BodyBudget } from "../../src/http/federation/body_budget.ts";
import { signed } from "../../src/http/federation/signed.ts";
import { json } from "../../src/http/middleware/responses.ts";
import { MatrixError } from "../../src/protocol/errors.ts";
import { signText } from "../../src/protocol/signatures.ts";
import { signedRequestText } from "../../src/federation/x_matrix.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { server, signerOf, TestClock } from "./environment.ts";
import { askAs, type Inbound, type InboundOptions, keyDocument, peerSigner, startInbound } from "./inbound.ts";
import { type Peer, startPeer } from "./peer.ts";

const DAY = 86_400_000;
const ECHO = "/_matrix/federation/v1/echo/a%2Fb?x=1&y=%20";

interface Scene {
  readonly inbound: Inbound;
  readonly peer: Peer;
  readonly signer: ReturnType<typeof signerOf>;
  readonly clock: TestClock;
}

function testScene(title: string, body: (scene: Scene) => Promise<void>): void {
  testEachDatabase(title, async (db) => {
    await using peer = await startPeer();
    const clock = new TestClock();
    const signer = peerSigner(peer.port);
    peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: clock.now() + DAY }) });
    await using inbound = await startInbound({ db, clock, routes });
    await body({ inbound, peer, signer, clock });
  });
}

const routes: NonNullable<InboundOptions["routes"]> = (app, { auth }) => {
  signed(app, auth)
    .get("/v1/echo/:what", (c, { origin, body }) => json({ origin, body, what: c.req.param("what") ?? "" }))
    .put("/v1/echo/:what", (_c, { origin, body }) => json({ origin, body }), { maxBytes: 1_000 });
};

testScene("a signed request gets in, with the body it was signed with", async ({ inbound, signer }) => {
  const read = await askAs(signer, inbound, { path: ECHO });
  assert.deepEqual([read.status, read.body], [200, { origin: signer.serverName, body: {}, what: "a/b" }]);
  const body = { é: [1, { b: null, a: "\u{1f600}" }] };
  const written = await askAs(signer, inbound, { path: ECHO, body });
  assert.deepEqual([written.status, written.body.body], [200, body]);
});

testScene("an apostrophe may be encoded on the way", async ({ inbound, signer }) => {
  const path = "/_matrix/federation/v1/echo/x?user=@o'neil:a.test";
  let authorization = "";
  await askAs(signer, inbound, { path, change: (header) => authorization = header });
  const encoded = path.replace("'", "%27");
  assert.equal((await inbound.fetch(encoded, { headers: { authorization } })).status, 200);
});

testScene("servers of before 1.3 sign no destination", async ({ inbound, signer }) => {
  const text = signedRequestText({ method: "GET", uri: ECHO, destination: null, bodyText: null }, signer.serverName);
  const authorization = `X-Matrix origin=${signer.serverName},key=${signer.key.keyId},sig="${
    signText(text, signer.key)
  }"`;
  assert.equal((await inbound.fetch(ECHO, { headers: { authorization } })).status, 200);
});

testScene("one good credential of several is enough", async ({ inbound, signer }) => {
  const change = (header: string) => `${header.replace("ed25519:1", "ed25519:unknown")}, ${header}`;
  assert.equal((await askAs(signer, inbound, { path: ECHO, change })).status, 200);
});

testScene("each way to be wrong has its own 401", async ({ inbound, signer }) => {
  const ask = (change: (header: string) => string) => askAs(signer, inbound, { path: ECHO, change });
  const name = signer.serverName;
  const outcomes = {
    none: await inbound.fetch(ECHO),
    scheme: await ask(() => "Bearer x"),
    malformed: await ask((header) => header.replace(",sig=", ",")),
    origin: await ask((header) => header.replace(`origin="${name}"`, 'origin="a b"')),
    own: await ask((header) => header.replace(`origin="${name}"`, 'origin="own.test"')),
    mixed: await ask((header) => `${header}, ${header.replace(`origin="${name}"`, 'origin="x.test"')}`),
    destination: await askAs(signer, inbound, { path: ECHO, destination: "else.test" }),
    key: await ask((header) => header.replace("ed25519:1", "ed25519:2")),
    dead: await askAs(signerOf("dead.test:1"), inbound, { path: ECHO }),
    signature: await ask((header) => header.replace(/sig="../, 'sig="xx')),
    other: await askAs({ ...signerOf("x"), serverName: name }, inbound, { path: ECHO }),
  };
  for (const [says, { status, body }] of Object.entries(outcomes)) {
    assert.deepEqual([status, body.errcode], [401, "M_UNAUTHORIZED"], says);
  }
  const sentences = new Set(Object.values(outcomes).map(({ body }) => body.error));
  assert.equal(sentences.size, Object.keys(outcomes).length - 2, [...sentences].join("\n"));
});

testScene("what was not signed is refused: another path, method, query or body", async ({ inbound, signer }) => {
  let header = "";
  await askAs(signer, inbound, { path: ECHO, body: { a: 1 }, change: (made) => header = made });
  const replay = async (path: string, init: RequestInit) =>
    (await inbound.fetch(path, { method: "PUT", ...init, headers: { authorization: header } })).status;
  assert.equal(await replay(ECHO, { body: '{ "a": 1 }' }), 200, "spelling of JSON does not count");
  assert.equal(await replay(ECHO, { body: '{"a":2}' }), 401);
  assert.equal(await replay(ECHO, { body: '{"a":1,"b":1}' }), 401);
  assert.equal(await replay(`${ECHO}&z=1`, { body: '{"a":1}' }), 401);
  assert.equal(await replay(ECHO.replace("%2F", "%2f"), { body: '{"a":1}' }), 401);
  assert.equal(await replay(ECHO, { method: "GET" }), 401);
});

testScene("bodies are bounded and must be objects", async ({ inbound, signer }) => {
  const put = async (body: string) => {
    let header = "";
    await askAs(signer, inbound, { path: ECHO, body: {}, change: (made) => header = made });
    const answer = await inbound.fetch(ECHO, { method: "PUT", body, headers: { authorization: header } });
    return [answer.status, answer.body.errcode];
  };
  assert.deepEqual(await put("x".repeat(1_001)), [413, "M_TOO_LARGE"]);
  assert.deepEqual(await put("[]"), [400, "M_BAD_JSON"]);
  assert.deepEqual(await put("nonsense"), [400, "M_NOT_JSON"]);
  assert.deepEqual(await put(""), [400, "M_NOT_JSON"]);
  assert.deepEqual(await put(`{"a":${"[".repeat(400)}${"]".repeat(400)}}`), [400, "M_NOT_JSON"]);
});

testScene("a key that ran out is fetched anew, and a server that speaks is alive", async (scene) => {
  const { inbound, signer, peer, clock } = scene;
  await askAs(signer, inbound, { path: ECHO });
  await inbound.parts.backoff.noteFailure(signer.serverName, clock.now());
  assert(await inbound.parts.backoff.waitMs(signer.serverName) > 0);
  clock.advance(DAY + 1);
  await inbound.parts.backoff.noteFailure(signer.serverName, clock.now());
  assert.equal((await askAs(signer, inbound, { path: ECHO })).status, 200);
  assert.equal(peer.requests.length, 2);
  assert.equal(await inbound.parts.backoff.waitMs(signer.serverName), 0);
});

testEachDatabase("federation_domain_whitelist shuts out before anything is fetched", async (db) => {
  await using peer = await startPeer();
  const config = { federation_domain_whitelist: ["friend.test"] };
  await using inbound = await startInbound({ db, config, routes });
  const { status, body } = await askAs(peerSigner(peer.port), inbound, { path: ECHO });
  assert.deepEqual([status, body.errcode, peer.requests.length], [403, "M_FORBIDDEN", 0]);
});

testScene("version and keys need no signature, other paths are unknown", async ({ inbound }) => {
  const version = await inbound.fetch("/_matrix/federation/v1/version");
  assert.equal(version.body.server.name, "synapse-ts");
  const unknown = await inbound.fetch("/_matrix/federation/v1/nonsense");
  assert.deepEqual([unknown.status, unknown.body.errcode], [404, "M_UNRECOGNIZED"]);
  const wrong = await inbound.fetch("/_matrix/federation/v1/version", { method: "DELETE" });
  assert.deepEqual([wrong.status, wrong.body.errcode], [405, "M_UNRECOGNIZED"]);
});

const LIMITS = { windowSize: 1_000, sleepLimit: 2, sleepDelay: 500, rejectLimit: 3, concurrent: 2 };

Deno.test("OriginLimits delays what is too often and lets few in at once", async () => {
  const clock = new TestClock();
  const limits = new OriginLimits({ options: LIMITS, clock });
  const origin = server("a.test");
  for (let i = 0; i < 3; i++) await limits.run(origin, () => Promise.resolve());
  assert.deepEqual(clock.slept, [500]);
  await limits.run(server("b.test"), () => Promise.resolve());
  assert.deepEqual(clock.slept, [500], "others are not held up");
  clock.advance(1_001);
  await limits.run(origin, () => Promise.resolve());
  assert.deepEqual(clock.slept, [500]);
});

Deno.test("OriginLimits refuses when too many wait", async () => {
  const limits = new OriginLimits({ options: { ...LIMITS, sleepLimit: 100 }, clock: systemClock });
  const origin = server("a.test");
  const { promise, resolve } = Promise.withResolvers<void>();
  let running = 0;
  const task = () => {
    running++;
    return promise;
  };
  const runs = Array.from({ length: 5 }, () => limits.run(origin, task));
  assert.equal(running, 2);
  const refused = await limits.run(origin, task).then(() => null, (error) => error);
  assert(refused instanceof MatrixError && refused.status === 429);
  resolve();
  await Promise.all(runs);
  assert.equal(running, 5);
});

Deno.test("BodyBudget bounds what all bodies take, and those of one server", () => {
  const budget = new BodyBudget({ total: 100, perOrigin: 50 });
  const [one, two, three] = ["one.test", "two.test", "three.test"].map(server);
  assert(one !== undefined && two !== undefined && three !== undefined);
  const refused = { errcode: "M_LIMIT_EXCEEDED" };
  const first = budget.hold(one, 40);
  {
    assert.throws(() => budget.hold(one, 20), refused);
    using _second = budget.hold(two, 20);
    assert.equal(budget.held, 60);
    using _third = budget.hold(three, 40);
    assert.throws(() => budget.hold(two, 1), refused);
  }
  assert.equal(budget.held, 40);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(budget.held, 0);
  using _large = budget.hold(one, 60);
});

testScene("a body is given back to the budget, be its request good or bad", async ({ inbound, signer }) => {
  const wrong = signerOf(signer.serverName, "9");
  assert.equal((await askAs(wrong, inbound, { path: ECHO, body: { n: 1 } })).status, 401);
  assert.equal((await askAs(signer, inbound, { path: ECHO, body: { n: 1 } })).status, 200);
  assert.equal(inbound.parts.bodies.held, 0);
});

testScene("who has no key is refused before the body has come", async ({ inbound, peer, signer }) => {
  peer.handler = () => ({ status: 404 });
  let authorization = "";
  const change = (header: string) => authorization = header;
  await askAs(signer, inbound, { path: ECHO, method: "PUT", body: {}, change });
  const { hostname, port } = new URL(inbound.base);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const head = [`PUT ${ECHO} HTTP/1.1`, "Host: x", `Authorization: ${authorization}`, "Content-Length: 100", "", ""];
  await connection.write(new TextEncoder().encode(head.join("\r\n")));
  const answer = new Uint8Array(100);
  const length = await connection.read(answer) ?? 0;
  assert.match(new TextDecoder().decode(answer.subarray(0, length)), /^HTTP\/1.1 401/);
});
