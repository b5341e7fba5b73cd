import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import * as noble from "@noble/ed25519";
import vectors from "../../tests/fixtures/protocol/signing.json" with { type: "json" };
import { decodeBase64 } from "./base64.ts";
import { canonicalJson } from "./canonical_json.ts";
import type { Pdu } from "./event.ts";
import { checkContentHash, contentHash } from "./hashes.ts";
import { parseServerName } from "./ids.ts";
import type { ServerName } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import { redactPdu } from "./redaction.ts";
import { getRoomVersion } from "./room_versions.ts";
import type { RoomVersionRules } from "./room_versions.ts";
import {
  formatSigningKey,
  generateSigningKey,
  hashAndSignEvent,
  parseSigningKeys,
  parseVerifyKey,
  signatureKeyIds,
  signEvent,
  signingKeyFromSeed,
  signJson,
  verifyEventSignature,
  verifyJson,
} from "./signatures.ts";

const key = signingKeyFromSeed(vectors.key_version, decodeBase64(vectors.seed) as Uint8Array);
const serverName = parseServerName(vectors.server_name) as ServerName;
const V1 = getRoomVersion("1") as RoomVersionRules;
const check = { serverName, keyId: key.keyId, key: key.verifyKey };

Deno.test("signJson() gives the spec's signatures", () => {
  for (const { input, signature } of vectors.json) {
    const signed = signJson(input as JsonObject, { serverName, key });
    assert.deepEqual(signed, { ...input, signatures: { domain: { "ed25519:1": signature } } });
    assert.ok(verifyJson(signed, check));
  }
});

Deno.test("hashAndSignEvent() gives the spec's hashes and signatures", () => {
  for (const { input, hash, signature } of vectors.events) {
    const pdu = hashAndSignEvent(input as unknown as Pdu, { rules: V1, serverName, key });
    assert.deepEqual(pdu["hashes"], { sha256: hash });
    assert.equal(contentHash(pdu), hash);
    assert.deepEqual(pdu["signatures"], { domain: { "ed25519:1": signature } });
    assert.deepEqual(pdu["unsigned"], input.unsigned);
    assert.ok(checkContentHash(pdu));
    assert.ok(verifyEventSignature(pdu, { rules: V1, ...check }));
    assert.ok(verifyEventSignature(redactPdu(pdu, V1), { rules: V1, ...check }));
  }
});

Deno.test("signatures agree with @noble/ed25519", async () => {
  const seed = decodeBase64(vectors.seed) as Uint8Array;
  const publicKey = await noble.getPublicKeyAsync(seed);
  assert.equal(Buffer.from(publicKey).toString("base64").replace("=", ""), key.verifyKey.base64);
  const object = { b: "é", a: [1, null, true] };
  const signed = signJson(object, { serverName, key });
  const signature = (signed.signatures["domain"] as JsonObject)["ed25519:1"] as string;
  const bytes = new TextEncoder().encode(canonicalJson(object));
  assert.ok(await noble.verifyAsync(decodeBase64(signature) as Uint8Array, bytes, publicKey));
});

Deno.test("a changed event fails: content by its hash, the rest by its signature", () => {
  const [vector] = vectors.events.slice(1);
  const pdu = hashAndSignEvent(vector?.input as unknown as Pdu, { rules: V1, serverName, key });
  const otherContent = { ...pdu, content: { body: "other" } };
  assert.ok(!checkContentHash(otherContent));
  assert.ok(verifyEventSignature(otherContent, { rules: V1, ...check }));
  assert.ok(!verifyEventSignature({ ...pdu, sender: "@v:domain" }, { rules: V1, ...check }));
  assert.ok(!checkContentHash({ ...pdu, hashes: { sha256: "AAAA" } }));
  assert.ok(!checkContentHash({ ...pdu, hashes: {} }));
});

Deno.test("verifyJson() is false for absent, foreign, malformed and wrong signatures", () => {
  const signed = signJson({ a: 1 }, { serverName, key });
  const other = generateSigningKey((size) => randomBytes(size));
  assert.ok(!verifyJson({ a: 1 }, check));
  assert.ok(!verifyJson({ ...signed, a: 2 }, check));
  assert.ok(!verifyJson(signed, { ...check, key: other.verifyKey }));
  assert.ok(!verifyJson(signed, { ...check, serverName: "constructor" }));
  assert.ok(!verifyJson(signed, { ...check, keyId: "ed25519:2" }));
  for (const signature of ["", "!", "AAAA", 1, null]) {
    assert.ok(!verifyJson({ a: 1, signatures: { domain: { "ed25519:1": signature } } }, check));
  }
  assert.ok(verifyJson({ ...signed, unsigned: { anything: true } }, check));
});

Deno.test("further signatures are added, none is lost", () => {
  const other = generateSigningKey((size) => randomBytes(size));
  const pdu = vectors.events[0]?.input as unknown as Pdu;
  const once = signEvent({ ...pdu, signatures: { elsewhere: { "ed25519:x": "y" } } }, { rules: V1, serverName, key });
  const twice = signEvent(once, { rules: V1, serverName, key: other });
  assert.deepEqual(signatureKeyIds(twice, "domain").sort(), [key.keyId, other.keyId].sort());
  assert.deepEqual(signatureKeyIds(twice, "elsewhere"), ["ed25519:x"]);
  assert.deepEqual(signatureKeyIds({ signatures: { domain: { "rsa:1": "x", "ed25519:2": 3 } } }, "domain"), []);
  assert.ok(verifyEventSignature(twice, { rules: V1, ...check }));
});

Deno.test("key files of Synapse are read and written", () => {
  const made = generateSigningKey((size) => randomBytes(size));
  assert.match(made.keyId, /^ed25519:a_[A-Za-z]{4}$/);
  const line = formatSigningKey(made);
  assert.match(line, /^ed25519 a_[A-Za-z]{4} [A-Za-z0-9+/]{43}\n$/);
  const read = parseSigningKeys(`${line}\n${formatSigningKey(key)}`);
  assert.deepEqual(read?.map((each) => each.verifyKey.base64), [made.verifyKey.base64, key.verifyKey.base64]);
  for (const bad of ["ed25519 a_x", "rsa a_x " + key.seed, "ed25519 a-x " + key.seed, "ed25519 a_x AAAA"]) {
    assert.equal(parseSigningKeys(bad), null, bad);
  }
  assert.equal(parseVerifyKey("AAAA"), null);
  assert.equal(parseVerifyKey(made.verifyKey.base64)?.base64, made.verifyKey.base64);
});
