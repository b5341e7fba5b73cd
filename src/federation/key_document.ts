/** The documents in which servers publish their keys. Spec: server-server API, "Publishing Keys". */
import type { ServerName } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { parseVerifyKey, signatureKeyIds, verifyJson, type VerifyKey } from "../protocol/signatures.ts";

/** One key of a document. */
export interface PublishedKey {
  readonly key: VerifyKey;
  /** When the server stopped using it; null for a key in use. */
  readonly retiredTs: number | null;
}

/** A document whose own signature is good. */
export interface KeyDocument {
  readonly serverName: ServerName;
  readonly validUntilTs: number;
  readonly keys: ReadonlyMap<string, PublishedKey>;
  /** As published, without anyone's added claims having been checked. */
  readonly json: JsonObject;
}

const MAX_KEYS = 64;
const KEY_ID = /^ed25519:[!-~]{1,128}$/;

/** Reads a document that must be `serverName`'s; null unless it is well-formed and signed by one of the keys in use. */
export function readKeyDocument(value: JsonValue, serverName: ServerName): KeyDocument | null {
  if (!isJsonObject(value) || value["server_name"] !== serverName) return null;
  const validUntilTs = value["valid_until_ts"];
  if (typeof validUntilTs !== "number" || !Number.isSafeInteger(validUntilTs) || validUntilTs < 0) return null;
  const inUse = readKeys(value["verify_keys"], { isRetired: false });
  const retired = readKeys(value["old_verify_keys"] ?? {}, { isRetired: true });
  if (inUse === null || retired === null) return null;
  const isSigned = signatureKeyIds(value, serverName).slice(0, MAX_KEYS).some((keyId) => {
    const published = inUse.get(keyId);
    return published !== undefined && verifyJson(value, { serverName, keyId, key: published.key });
  });
  return isSigned ? { serverName, validUntilTs, keys: new Map([...inUse, ...retired]), json: value } : null;
}

/** Returns the keys that this server can use, or null when the list is malformed or too long. */
function readKeys(
  value: JsonValue | undefined,
  { isRetired }: { isRetired: boolean },
): Map<string, PublishedKey> | null {
  if (!isJsonObject(value)) return null;
  const entries = Object.entries(value);
  if (entries.length > MAX_KEYS) return null;
  const keys = new Map<string, PublishedKey>();
  for (const [keyId, entry] of entries) {
    // Other algorithms than ours may be listed too.
    if (!keyId.startsWith("ed25519:")) continue;
    if (!KEY_ID.test(keyId) || !isJsonObject(entry) || typeof entry["key"] !== "string") return null;
    const key = parseVerifyKey(entry["key"]);
    const expired = entry["expired_ts"];
    if (key === null || (isRetired && !Number.isSafeInteger(expired))) return null;
    keys.set(keyId, { key, retiredTs: isRetired ? Number(expired) : null });
  }
  return keys;
}
