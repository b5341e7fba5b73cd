/**
 * Ed25519 keys and signatures over JSON and events. Spec: appendices, "Signing JSON"; server-server API, "Signing Events".
 *
 * Keys are `KeyObject`s made once and kept: importing a key costs nearly as much as verifying with it.
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { decodeAnyBase64, decodeBase64, encodeBase64 } from "./base64.ts";
import { canonicalJsonWithout } from "./canonical_json.ts";
import type { Pdu } from "./event.ts";
import { contentHash, signedTextOf } from "./hashes.ts";
import type { ServerName } from "./ids.ts";
import { isJsonObject } from "./json.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** A key to sign with. `keyId` is `ed25519:` and the version. */
export interface SigningKey {
  readonly keyId: string;
  readonly version: string;
  readonly privateKey: KeyObject;
  readonly verifyKey: VerifyKey;
  /** The 32-byte seed in unpadded base64: secret. */
  readonly seed: string;
}

/** A key to verify with. */
export interface VerifyKey {
  readonly keyObject: KeyObject;
  /** The 32 bytes in unpadded base64, as `verify_keys` publishes them. */
  readonly base64: string;
}

/** Who signs, and with what. */
export interface Signer {
  readonly serverName: ServerName;
  readonly key: SigningKey;
}

/** Which signature to check, and against what. */
export interface SignatureCheck {
  readonly serverName: string;
  readonly keyId: string;
  readonly key: VerifyKey;
}

/** Who signs an event of which room version. */
export interface EventSigner extends Signer {
  readonly rules: RoomVersionRules;
}

/** Which signature of an event to check. */
export interface EventSignatureCheck extends SignatureCheck {
  readonly rules: RoomVersionRules;
}

const KEY_VERSION = /^[A-Za-z0-9_]+$/;
const UNSIGNED_KEYS: ReadonlySet<string> = new Set(["signatures", "unsigned"]);
// What precedes the raw 32 bytes in the DER forms of RFC 8410.
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const VERSION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** Returns a new key named as Synapse names them: `a_` and four letters. */
export function generateSigningKey(randomBytes: (size: number) => Uint8Array): SigningKey {
  const letters = [...randomBytes(4)].map((byte) => VERSION_LETTERS[byte % VERSION_LETTERS.length]);
  return signingKeyFromSeed(`a_${letters.join("")}`, randomBytes(32));
}

/** Returns the key with the given version and 32-byte seed. */
export function signingKeyFromSeed(version: string, seed: Uint8Array): SigningKey {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const verifyKey = verifyKeyFromBytes(new Uint8Array(spki.subarray(SPKI_PREFIX.length)));
  if (verifyKey === null) throw new Error("Ed25519 public key has an unexpected form");
  return { keyId: `ed25519:${version}`, version, privateKey, verifyKey, seed: encodeBase64(seed) };
}

/** Returns the keys in a Synapse key file, one a line: `ed25519 a_XXXX <seed>`; null when any line is malformed. */
export function parseSigningKeys(text: string): SigningKey[] | null {
  const keys: SigningKey[] = [];
  for (const line of text.split("\n").map((raw) => raw.trim()).filter((trimmed) => trimmed !== "")) {
    const [algorithm, version = "", encoded = "", ...rest] = line.split(/\s+/);
    const seed = decodeBase64(encoded);
    const isKey = algorithm === "ed25519" && KEY_VERSION.test(version) && rest.length === 0;
    if (!isKey || seed === null || seed.byteLength !== 32) return null;
    keys.push(signingKeyFromSeed(version, seed));
  }
  return keys;
}

/** Returns the key file line, with its line feed. Secret. */
export function formatSigningKey(key: SigningKey): string {
  return `ed25519 ${key.version} ${key.seed}\n`;
}

/** Returns a published key; null unless it is base64, in either alphabet, of 32 bytes that are a point of the curve. */
export function parseVerifyKey(base64: string): VerifyKey | null {
  const bytes = decodeAnyBase64(base64);
  return bytes === null ? null : verifyKeyFromBytes(bytes);
}

/** Signs text; returns unpadded base64. */
export function signText(text: string, key: SigningKey): string {
  return encodeBase64(sign(null, Buffer.from(text), key.privateKey));
}

/** Tells whether `signature` (base64) is `key`'s over `text`. */
export function verifyText(text: string, { signature, key }: { signature: string; key: VerifyKey }): boolean {
  const bytes = decodeAnyBase64(signature);
  return bytes !== null && bytes.byteLength === 64 && verify(null, Buffer.from(text), key.keyObject, bytes);
}

/** Returns `object` with a signature added; throws `CanonicalJsonError` when it has no canonical form. */
export function signJson<T extends JsonObject>(object: Readonly<T>, signer: Signer): T & { signatures: JsonObject } {
  const text = canonicalJsonWithout(object, { omit: UNSIGNED_KEYS });
  return addSignature(object, { ...signer, signature: signText(text, signer.key) });
}

/** Tells whether `object` holds a valid signature of that server by that key; false also when it has no canonical form. */
export function verifyJson(object: Readonly<JsonObject>, check: SignatureCheck): boolean {
  return verifySignature(object, {
    ...check,
    textOf: () => canonicalJsonWithout(object, { omit: UNSIGNED_KEYS, lax: true }),
  });
}

/** Returns the ids of the Ed25519 keys by which `serverName` claims to have signed. */
export function signatureKeyIds(object: Readonly<JsonObject>, serverName: string): string[] {
  const signatures = signaturesBy(object, serverName);
  return Object.keys(signatures).filter((keyId) =>
    keyId.startsWith("ed25519:") && typeof signatures[keyId] === "string"
  );
}

/** Returns the event with a signature over its redacted form added. */
export function signEvent(pdu: Readonly<Pdu>, { rules, ...signer }: EventSigner): Pdu {
  return addSignature(pdu, { ...signer, signature: signText(signedTextOf(pdu, rules), signer.key) });
}

/** Returns the event with its content hash set and a signature added: how an event template is completed. */
export function hashAndSignEvent(pdu: Readonly<Pdu>, signer: EventSigner): Pdu {
  return signEvent({ ...pdu, hashes: { sha256: contentHash(pdu) } }, signer);
}

/** Tells whether the event holds a valid signature of that server by that key, redacted or not. */
export function verifyEventSignature(pdu: Readonly<Pdu>, check: EventSignatureCheck): boolean {
  return verifySignature(pdu, { ...check, textOf: () => signedTextOf(pdu, check.rules) });
}

function verifyKeyFromBytes(bytes: Uint8Array): VerifyKey | null {
  if (bytes.byteLength !== 32) return null;
  try {
    const keyObject = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: "der", type: "spki" });
    return { keyObject, base64: encodeBase64(bytes) };
  } catch {
    return null;
  }
}

function verifySignature(object: Readonly<JsonObject>, check: SignatureCheck & { textOf: () => string }): boolean {
  if (!check.keyId.startsWith("ed25519:")) return false;
  const signature = signaturesBy(object, check.serverName)[check.keyId];
  if (typeof signature !== "string") return false;
  try {
    return verifyText(check.textOf(), { signature, key: check.key });
  } catch {
    return false;
  }
}

function signaturesBy(object: Readonly<JsonObject>, serverName: string): Readonly<JsonObject> {
  const all = object["signatures"];
  const own: JsonValue | undefined = isJsonObject(all) && Object.hasOwn(all, serverName) ? all[serverName] : undefined;
  return isJsonObject(own) ? own : {};
}

function addSignature<T extends JsonObject>(
  object: Readonly<T>,
  { serverName, key, signature }: Signer & { signature: string },
): T & { signatures: JsonObject } {
  const all = isJsonObject(object["signatures"]) ? object["signatures"] : {};
  const own = { ...signaturesBy(object, serverName), [key.keyId]: signature };
  return { ...object, signatures: { ...all, [serverName]: own } } as T & { signatures: JsonObject };
}
