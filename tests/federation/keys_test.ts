/** Keys of other servers: fetching, validity, notaries; and our own. */
import assert from "node:assert/strict";
import { canonicalJson } from "../../src/protocol/canonical_json.ts";
import { readKeyDocument } from "../../src/federation/key_document.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { RoomVersionId } from "../../src/protocol/room_versions.ts";
import { parseVerifyKey, type Signer, signJson, verifyJson } from "../../src/protocol/signatures.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { server, signerOf, TestClock, testDns } from "./environment.ts";
import { eventBy, type Inbound, keyDocument, peerSigner, startInbound } from "./inbound.ts";
import { startPeer } from "./peer.ts";

const DAY = 86_400_000;

// deno-lint-ignore synapse-ts/max-positional -- three plain words
function need(signer: Signer, clock: TestClock, use: "request" | "event" = "request") {
  const validAt = use === "request" ? null : clock.now();
  return { serverName: signer.serverName, keyId: signer.key.keyId, use, validAt } as const;
}

testEachDatabase(
  "a key is fetched once for many, kept in the database and fetched again when it runs out",
  async (db) => {
    await using peer = await startPeer();
    const clock = new TestClock();
    const signer = peerSigner(peer.port);
    peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: clock.now() + DAY }) });
    await using first = await startInbound({ db, clock });
    const found = await Promise.all(Array.from({ length: 5 }, () => first.parts.keyRing.find(need(signer, clock))));
    assert(found.every((key) => key?.base64 === signer.key.verifyKey.base64));
    assert.deepEqual(peer.requests.map(({ url }) => url), ["/_matrix/key/v2/server"]);
    assert.equal(peer.requests[0]?.headers.authorization, undefined);

    await using second = await startInbound({ db, clock });
    clock.advance(DAY);
    assert(await second.parts.keyRing.find(need(signer, clock)) !== null);
    assert.equal(peer.requests.length, 1);
    clock.advance(1);
    assert(await second.parts.keyRing.find(need(signer, clock)) !== null);
    assert.equal(peer.requests.length, 2);
  },
);

testEachDatabase("a key counts for no longer than seven days, whatever its server says", async (db) => {
  await using peer = await startPeer();
  const clock = new TestClock();
  const signer = peerSigner(peer.port);
  peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: clock.now() + 1_000 * DAY }) });
  await using inbound = await startInbound({ db, clock });
  await inbound.parts.keyRing.find(need(signer, clock));
  peer.handler = () => ({ status: 404 });
  clock.advance(7 * DAY);
  assert(await inbound.parts.keyRing.find(need(signer, clock)) !== null);
  clock.advance(1);
  assert.equal(await inbound.parts.keyRing.find(need(signer, clock)), null);
});

testEachDatabase("a retired key is good for old events and for no request", async (db) => {
  await using peer = await startPeer();
  const clock = new TestClock();
  const [before, after] = [peerSigner(peer.port, "old"), peerSigner(peer.port, "new")];
  const retired = clock.now();
  const old = { [before.key.keyId]: { key: before.key.verifyKey.base64, expired_ts: retired } };
  peer.handler = () => ({ json: keyDocument(after, { validUntilTs: clock.now() + DAY, old }) });
  await using inbound = await startInbound({ db, clock });
  const { keyRing, checks } = inbound.parts;
  assert.equal(await keyRing.find(need(before, clock)), null);
  assert(await keyRing.find(need(after, clock)) !== null);
  const check = (version: RoomVersionId, ts: number) => checks.event(eventBy(before, { version, ts }));
  assert.equal(await check("5", retired), null, "made before");
  assert.equal(await check("5", retired + 1), before.serverName, "made after");
  assert.equal(await check("4", retired + 1), null, "room version 4 does not ask when");
  assert.equal(await check("1", retired + 1), null);
});

testEachDatabase("an event of version 5 that is younger than the key's validity needs a fresh key", async (db) => {
  await using peer = await startPeer();
  const clock = new TestClock();
  const signer = peerSigner(peer.port);
  peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: clock.now() + DAY }) });
  await using inbound = await startInbound({ db, clock });
  const check = (ts: number) => inbound.parts.checks.event(eventBy(signer, { version: "11", ts }));
  assert.equal(await check(clock.now()), null);
  assert.equal(await check(clock.now() - 1_000 * DAY), null, "a key in use is good for all that is older");
  assert.equal(peer.requests.length, 1);
  clock.advance(DAY + 1);
  assert.equal(await check(clock.now()), null);
  assert.equal(peer.requests.length, 2);
  assert.equal(await check(clock.now() + 8 * DAY), signer.serverName, "nobody can vouch for next week");
  assert.equal(peer.requests.length, 2);
});

for (
  const [says, spoil] of Object.entries<(document: JsonObject, signer: Signer) => JsonObject | string>({
    "of another server": (document) => ({ ...document, server_name: "other.test" }),
    "with a changed field": (document) => ({ ...document, valid_until_ts: 1_900_000_000_000 }),
    "without a signature": (document) => ({ ...document, signatures: {} }),
    "without a time": (_document, signer) => {
      const { valid_until_ts: _, ...rest } = keyDocument(signer, { validUntilTs: 1_900_000_000_000 });
      return signJson(rest as JsonObject, signer);
    },
    "signed by a retired key": (_document, signer) => {
      const other = signerOf(signer.serverName, "x");
      return signJson({
        server_name: signer.serverName,
        verify_keys: { [other.key.keyId]: { key: other.key.verifyKey.base64 } },
        old_verify_keys: { [signer.key.keyId]: { key: signer.key.verifyKey.base64, expired_ts: 1_900_000_000_000 } },
        valid_until_ts: 1_900_000_000_000,
      }, signer);
    },
    "with a short key": (document, signer) =>
      signJson({ ...document, verify_keys: { [signer.key.keyId]: { key: "AAAA" } } }, signer),
    "with ten thousand keys": (document, signer) => {
      const key = signer.key.verifyKey.base64;
      const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`ed25519:k${i}`, { key }]));
      return signJson({ ...document, verify_keys: { ...many, [signer.key.keyId]: { key } } }, signer);
    },
    "not JSON": () => "nonsense",
  })
) {
  testEachDatabase(`a document is refused: ${says}`, async (db) => {
    await using peer = await startPeer();
    const clock = new TestClock();
    const signer = peerSigner(peer.port);
    const answer = spoil(keyDocument(signer, { validUntilTs: clock.now() + DAY }), signer);
    peer.handler = () => typeof answer === "string" ? { text: answer } : { json: answer };
    await using inbound = await startInbound({ db, clock });
    assert.equal(await inbound.parts.keyRing.find(need(signer, clock)), null);
    assert.equal(peer.requests.length, 1);
  });
}

testEachDatabase("made-up key ids cost a server only a few requests a minute", async (db) => {
  await using peer = await startPeer();
  const clock = new TestClock();
  const signer = peerSigner(peer.port);
  peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: clock.now() + DAY }) });
  await using inbound = await startInbound({ db, clock });
  for (let i = 0; i < 50; i++) {
    const wanted = { ...need(signer, clock), keyId: `ed25519:made_up${i}` };
    assert.equal(await inbound.parts.keyRing.find(wanted), null);
  }
  assert.equal(peer.requests.length, 5);
  const rotated = peerSigner(peer.port, "2");
  peer.handler = () => ({ json: keyDocument(rotated, { validUntilTs: clock.now() + DAY }) });
  clock.advance(60_000);
  assert(await inbound.parts.keyRing.find(need(rotated, clock)) !== null, "a real new key is found soon");
});

testEachDatabase("a server that is down is not asked for each of its events", async (db) => {
  const clock = new TestClock();
  await using inbound = await startInbound({ db, clock });
  const signer = signerOf("peer.test:1");
  for (let i = 0; i < 20; i++) {
    assert.equal(
      await inbound.parts.checks.event(eventBy(signer, { version: "11", ts: clock.now() })),
      signer.serverName,
    );
  }
  assert(await inbound.parts.backoff.waitMs(signer.serverName) > 0);
});

/** Starts an inbound side that trusts a notary on the port. */
function withNotary(port: number, signer: Signer, options: Parameters<typeof startInbound>[0]): Promise<Inbound> {
  const trusted = [{
    server_name: `peer.test:${port}`,
    verify_keys: { [signer.key.keyId]: signer.key.verifyKey.base64 },
  }];
  return startInbound({ ...options, config: { trusted_key_servers: trusted } });
}

testEachDatabase("notaries are asked in one query, and what they do not sign does not count", async (db) => {
  await using notary = await startPeer();
  const clock = new TestClock();
  const notarySigner = peerSigner(notary.port);
  const dead = ["a.test:1", "b.test:1", "c.test:1"].map((name) => signerOf(name));
  const documents = dead.map((signer) => keyDocument(signer, { validUntilTs: clock.now() + DAY }));
  notary.handler = () => ({
    json: { server_keys: documents.map((document, i) => i === 2 ? document : signJson(document, notarySigner)) },
  });
  await using inbound = await withNotary(notary.port, notarySigner, { db, clock });
  await inbound.parts.keyRing.prefetch(dead.map((signer) => need(signer, clock, "event")));
  const asked = notary.requests.filter(({ url }) => url === "/_matrix/key/v2/query");
  assert.deepEqual(asked.map(({ body }) => Object.keys(JSON.parse(body).server_keys)), [[
    "a.test:1",
    "b.test:1",
    "c.test:1",
  ]]);
  const events = dead.map((signer) => eventBy(signer, { version: "11", ts: clock.now() }));
  const outcomes = await Promise.all(events.map((event) => inbound.parts.checks.event(event)));
  assert.deepEqual(outcomes, [null, null, "c.test:1"]);
});

testEachDatabase("an old document from a notary does not bring a retired key back", async (db) => {
  await using peer = await startPeer();
  const clock = new TestClock();
  const [before, after] = [peerSigner(peer.port, "old"), peerSigner(peer.port, "new")];
  const stale = keyDocument(before, { validUntilTs: clock.now() + 6 * DAY });
  const old = { [before.key.keyId]: { key: before.key.verifyKey.base64, expired_ts: clock.now() - 1 } };
  peer.handler = () => ({ json: keyDocument(after, { validUntilTs: clock.now() + DAY, old }) });
  await using inbound = await startInbound({ db, clock });
  await inbound.parts.keyRing.find(need(after, clock));
  const document = readKeyDocument(stale, before.serverName);
  assert(document !== null);
  await inbound.parts.keyRing.learn({ document, isDirect: false });
  assert.equal(await inbound.parts.keyRing.find(need(before, clock)), null);
});

testEachDatabase("our keys are published, the old ones too, and signed", async (db) => {
  const clock = new TestClock();
  const old = signerOf("own.test", "old").key;
  const config = { old_signing_keys: { [old.keyId]: { key: old.verifyKey.base64, expired_ts: 1234 } } };
  await using inbound = await startInbound({ db, clock, config });
  const own = signerOf("own.test");
  const { status, body } = await inbound.fetch("/_matrix/key/v2/server");
  assert.equal(status, 200);
  assert.deepEqual(body.verify_keys, { "ed25519:1": { key: own.key.verifyKey.base64 } });
  assert.deepEqual(body.old_verify_keys, { "ed25519:old": { key: old.verifyKey.base64, expired_ts: 1234 } });
  assert.equal(body.valid_until_ts, clock.now() + DAY);
  assert(verifyJson(body, { serverName: "own.test", keyId: "ed25519:1", key: own.key.verifyKey }));
  clock.advance(DAY / 2 - 1);
  assert.equal((await inbound.fetch("/_matrix/key/v2/server")).body.valid_until_ts, body.valid_until_ts);
  // Keys in order: in what is sent, only the signatures have to be cut out for what was signed.
  const text = await (await fetch(`${inbound.base}/_matrix/key/v2/server`)).text();
  assert.equal(text, canonicalJson(body));
  clock.advance(1);
  assert.equal((await inbound.fetch("/_matrix/key/v2/server/")).body.valid_until_ts, clock.now() + DAY);
  assert.equal((await inbound.fetch("/_matrix/key/v2/server/ed25519:1")).body.valid_until_ts, clock.now() + DAY);
  const { checks } = inbound.parts;
  const event = (version: RoomVersionId, ts: number) => eventBy(signerOf("own.test", "old"), { version, ts });
  assert.equal(await checks.event(event("11", 1234)), null);
  assert.equal(await checks.event(event("11", 1235)), "own.test");
  assert.equal(await checks.event(event("4", 1235)), null);
});

testEachDatabase("as a notary we sign what servers publish, also while they are down", async (db) => {
  await using peer = await startPeer();
  const clock = new TestClock();
  const signer = peerSigner(peer.port);
  peer.handler = () => ({ json: keyDocument(signer, { validUntilTs: clock.now() + DAY }) });
  await using inbound = await startInbound({ db, clock });
  const path = `/_matrix/key/v2/query/${encodeURIComponent(signer.serverName)}`;
  const one = await inbound.fetch(path);
  assert.equal(one.status, 200);
  assert.deepEqual((await inbound.fetch(`${path}/ed25519:1`)).body, one.body, "as before version 1.6");
  const [document] = one.body.server_keys;
  const ownKey = parseVerifyKey(signerOf("own.test").key.verifyKey.base64);
  assert(ownKey !== null && verifyJson(document, { serverName: "own.test", keyId: "ed25519:1", key: ownKey }));
  const peerKey = { serverName: signer.serverName, keyId: "ed25519:1", key: signer.key.verifyKey };
  assert(verifyJson(document, peerKey));
  await inbound.fetch(path);
  assert.equal(peer.requests.length, 1, "kept");

  clock.advance(DAY / 2 + 1);
  peer.handler = () => ({ status: 500 });
  const server_keys = {
    [signer.serverName]: { "ed25519:1": { minimum_valid_until_ts: clock.now() + 9 * DAY } },
    "own.test": {},
    "dead.test:1": {},
  };
  const batch = await inbound.fetch("/_matrix/key/v2/query", { method: "POST", body: JSON.stringify({ server_keys }) });
  const names = batch.body.server_keys.map((entry: JsonObject) => entry["server_name"]);
  assert.deepEqual(names, [signer.serverName, "own.test"]);
  assert.equal(peer.requests.length, 2);
  assert.deepEqual(
    (await inbound.fetch("/_matrix/key/v2/query", { method: "POST", body: '{"server_keys":{}}' })).body,
    {
      server_keys: [],
    },
  );
});

testEachDatabase("malformed key queries are refused", async (db) => {
  await using inbound = await startInbound({ db, dns: testDns() });
  const post = async (body: string) => {
    const answer = await inbound.fetch("/_matrix/key/v2/query", { method: "POST", body });
    return [answer.status, answer.body.errcode];
  };
  assert.deepEqual(await post("nonsense"), [400, "M_NOT_JSON"]);
  assert.deepEqual(await post("{}"), [400, "M_MISSING_PARAM"]);
  assert.deepEqual(await post('{"server_keys":[]}'), [400, "M_BAD_JSON"]);
  assert.deepEqual(await post('{"server_keys":{"a b":{}}}'), [400, "M_INVALID_PARAM"]);
  assert.deepEqual(await post('{"server_keys":{"a.test":{"ed25519:1":{"minimum_valid_until_ts":"x"}}}}'), [
    400,
    "M_BAD_JSON",
  ]);
  assert.equal((await inbound.fetch("/_matrix/key/v2/query/a%20b")).status, 400);
  assert.equal((await inbound.fetch("/_matrix/key/v2/query/a.test?minimum_valid_until_ts=x")).status, 400);
  assert.equal(server("a.test"), "a.test");
});
