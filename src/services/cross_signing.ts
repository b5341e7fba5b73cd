/**
 * Cross-signing keys and signatures on keys. Spec: client-server API, "Cross-signing".
 */
import { badJson, type Errcode, MatrixError } from "../protocol/errors.ts";
import { type DeviceId, isStorable, parseUserId, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { parseVerifyKey, verifyJson } from "../protocol/signatures.ts";
import {
  deleteCrossSigningKeys,
  type KeyUsage,
  lockKeysOfUser,
  selectCrossSigningKeys,
  upsertCrossSigningKey,
  upsertKeySignature,
} from "../storage/cross_signing.ts";
import type { Database, Tx } from "../storage/database.ts";
import { selectDeviceKeyJson, selectDeviceKeys } from "../storage/device_keys.ts";
import { publicKeyOf } from "./device_keys.ts";
import type { DeviceListsService } from "./device_lists.ts";
import { canonicalKeyText, parseKeyObject } from "./key_json.ts";

/** What the service is built from. */
export interface CrossSigningDeps {
  readonly db: Database;
  readonly deviceLists: DeviceListsService;
}

/** The keys of `POST /keys/device_signing/upload`. */
export type CrossSigningUpload = Partial<Record<KeyUsage, JsonObject>>;

const USAGES: readonly KeyUsage[] = ["master", "self_signing", "user_signing"];
const MAX_KEY_BYTES = 16_384;
const MAX_KEY_ID_BYTES = 512;
const MAX_SIGNED_OBJECTS = 1_000;

type Keys = Partial<Record<KeyUsage, JsonObject>>;

/** What an upload needs. */
export type UploadKind = "nothing" | "no_auth" | "auth";

/** Stores cross-signing keys and checks signatures before it stores them. */
export class CrossSigningService {
  readonly #deps: CrossSigningDeps;

  constructor(deps: CrossSigningDeps) {
    this.#deps = deps;
  }

  /**
   * Says what an upload needs: `nothing` when all keys are stored already, `no_auth` for a first upload (MSC3967),
   * `auth` when keys are replaced.
   */
  async uploadKind(userId: UserId, upload: CrossSigningUpload): Promise<UploadKind> {
    return uploadKind(upload, await this.#keys(this.#deps.db, userId));
  }

  /**
   * Stores keys. Throws 400 when one is malformed or lacks the master key's signature, 409 when keys came to be there
   * that only an authenticated user may replace.
   */
  async upload(
    userId: UserId,
    { keys: upload, isAuthenticated }: { keys: CrossSigningUpload; isAuthenticated: boolean },
  ): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      await lockKeysOfUser(tx, userId);
      const stored = await this.#keys(tx, userId);
      const kind = uploadKind(upload, stored);
      if (kind === "nothing") return;
      if (kind === "auth" && !isAuthenticated) {
        throw new MatrixError(409, "M_CONFLICT", "Other keys were uploaded at the same time");
      }
      assertUpload(upload, { userId, stored });
      const replacesMaster = upload.master && stored.master &&
        publicKeyOf(upload.master) !== publicKeyOf(stored.master);
      if (replacesMaster) await deleteCrossSigningKeys(tx, userId);
      for (const usage of USAGES) {
        const key = upload[usage];
        if (key) await upsertCrossSigningKey(tx, { userId, usage, keyJson: canonicalKeyText(key) });
      }
      await this.#deps.deviceLists.noteChange(tx, userId);
    });
  }

  /** Stores the signatures on signed objects and returns what was refused, by user and key. */
  async uploadSignatures(userId: UserId, signed: JsonObject): Promise<JsonObject> {
    const objects = signedObjects(signed);
    return await this.#deps.db.transaction(async (tx) => {
      // Retried transactions start with fresh lists.
      const failures = new Map<UserId, Map<string, JsonObject>>();
      const changed = new Set<UserId>();
      for (const { target, key, object } of objects) {
        const failure = await this.#storeSignatures(tx, { signer: userId, target, key, object });
        if (failure === null) {
          changed.add(target);
        } else {
          const ofUser = failures.get(target) ?? new Map<string, JsonObject>();
          failures.set(target, ofUser.set(key, failure));
        }
      }
      if (changed.delete(userId)) await this.#deps.deviceLists.noteChange(tx, userId);
      if (changed.size > 0) await this.#deps.deviceLists.noteSignatures(tx, { signer: userId, targets: changed });
      return Object.fromEntries([...failures].map(([target, keys]) => [target, Object.fromEntries(keys)]));
    });
  }

  async #keys(db: Database | Tx, userId: UserId): Promise<Keys> {
    const keys: Keys = {};
    for (const { usage, keyJson } of await selectCrossSigningKeys(db, [userId])) keys[usage] = parseKeyObject(keyJson);
    return keys;
  }

  async #storeSignatures(
    tx: Tx,
    { signer, target, key, object }: { signer: UserId; target: UserId; key: string; object: JsonValue },
  ): Promise<JsonObject | null> {
    if (!isJsonObject(object)) return refusal("M_BAD_JSON", "Not an object");
    if (!isStorable(key, MAX_KEY_ID_BYTES)) return refusal("M_NOT_FOUND", "No such key");
    const stored = await this.#findTarget(tx, { target, key });
    if (!stored) return refusal("M_NOT_FOUND", "No such key");
    if (!isSameKey(object, stored.object)) return refusal("M_INVALID_PARAM", "The key differs from the stored one");
    const signers = await this.#signingKeys(tx, { signer, target, isMaster: stored.isMaster });
    const made = isJsonObject(object.signatures) ? object.signatures[signer] : undefined;
    const entries = Object.entries(isJsonObject(made) ? made : {});
    if (entries.length === 0) return refusal("M_INVALID_SIGNATURE", "No signature by the uploading user");
    for (const [keyId, signature] of entries) {
      if (typeof signature !== "string") return refusal("M_INVALID_SIGNATURE", "A signature must be a string");
      const publicKey = signers.get(keyId);
      if (publicKey === undefined) {
        // What the key was uploaded with, such as a device's signature on itself, is known already.
        if (hasSignature(stored.object, { signer, keyId, signature })) continue;
        return refusal("M_INVALID_SIGNATURE", `Unknown signing key "${keyId.slice(0, 255)}"`);
      }
      if (!verifies(object, { signer, keyId, publicKey })) return refusal("M_INVALID_SIGNATURE", "Invalid signature");
      await upsertKeySignature(tx, {
        targetUserId: target,
        targetKey: key,
        signerUserId: signer,
        signerKeyId: keyId,
        signature,
      });
    }
    return null;
  }

  /** Finds a device key by device id, or a cross-signing key by its public key. */
  async #findTarget(
    tx: Tx,
    { target, key }: { target: UserId; key: string },
  ): Promise<{ object: JsonObject; isMaster: boolean } | null> {
    const device = await selectDeviceKeyJson(tx, { userId: target, deviceId: key as DeviceId });
    if (device !== null) return { object: parseKeyObject(device), isMaster: false };
    const { master } = await this.#keys(tx, target);
    return master && publicKeyOf(master) === key ? { object: master, isMaster: true } : null;
  }

  /** Returns the keys by which `signer` may sign the target: key id to public key. */
  async #signingKeys(
    tx: Tx,
    { signer, target, isMaster }: { signer: UserId; target: UserId; isMaster: boolean },
  ): Promise<Map<string, string>> {
    const keys = await this.#keys(tx, signer);
    const signers = new Map<string, string>();
    if (signer !== target) {
      if (isMaster && keys.user_signing) addKeys(signers, keys.user_signing);
      return signers;
    }
    if (!isMaster) {
      if (keys.self_signing) addKeys(signers, keys.self_signing);
      return signers;
    }
    // One's own master key is signed by one's devices.
    for (const device of await selectDeviceKeys(tx, [signer])) addKeys(signers, parseKeyObject(device.keyJson));
    return signers;
  }
}

function uploadKind(upload: CrossSigningUpload, stored: Keys): UploadKind {
  const changes = USAGES.filter((usage) => {
    const key = upload[usage];
    return key !== undefined && (!stored[usage] || canonicalKeyText(key) !== canonicalKeyText(stored[usage]));
  });
  if (changes.length === 0) return "nothing";
  return stored.master ? "auth" : "no_auth";
}

function assertUpload(upload: CrossSigningUpload, { userId, stored }: { userId: UserId; stored: Keys }): void {
  const master = upload.master ?? stored.master;
  if (!master) throw new MatrixError(400, "M_INVALID_PARAM", "There is no master key");
  for (const usage of USAGES) {
    const key = upload[usage];
    if (!key) continue;
    assertKeyShape(key, { userId, usage });
    if (usage !== "master" && !isSignedBy(key, { userId, signer: master })) {
      throw new MatrixError(400, "M_INVALID_SIGNATURE", `The ${usage} key is not signed by the master key`);
    }
  }
}

/** Flattens the body of `POST /keys/signatures/upload`. */
function signedObjects(signed: JsonObject): { target: UserId; key: string; object: JsonValue }[] {
  const objects = Object.entries(signed).flatMap(([user, keys]) => {
    const target = parseUserId(user);
    if (target === null) throw badJson(`"${user.slice(0, 255)}" is not a user id`);
    if (!isJsonObject(keys)) throw badJson(`The keys of "${user}" must be an object`);
    return Object.entries(keys).map(([key, object]) => ({ target, key, object }));
  });
  if (objects.length > MAX_SIGNED_OBJECTS) throw new MatrixError(413, "M_TOO_LARGE", "Too many signed objects");
  return objects;
}

function addKeys(into: Map<string, string>, key: JsonObject): void {
  for (const [keyId, value] of Object.entries(isJsonObject(key.keys) ? key.keys : {})) {
    if (keyId.startsWith("ed25519:") && typeof value === "string") into.set(keyId, value);
  }
}

function refusal(errcode: Errcode, error: string): JsonObject {
  return { errcode, error };
}

function assertKeyShape(key: JsonObject, { userId, usage }: { userId: UserId; usage: KeyUsage }): void {
  const entries = Object.entries(isJsonObject(key.keys) ? key.keys : {});
  const [keyId, value] = entries[0] ?? ["", null];
  const isOneKey = entries.length === 1 && keyId.startsWith("ed25519:") && typeof value === "string" &&
    parseVerifyKey(value) !== null;
  const hasUsage = Array.isArray(key.usage) && key.usage.includes(usage);
  if (key.user_id !== userId || !isOneKey || !hasUsage || canonicalKeyText(key).length > MAX_KEY_BYTES) {
    throw new MatrixError(400, "M_INVALID_PARAM", `Invalid ${usage} key`);
  }
}

function isSignedBy(key: JsonObject, { userId, signer }: { userId: UserId; signer: JsonObject }): boolean {
  const keys = new Map<string, string>();
  addKeys(keys, signer);
  return [...keys].some(([keyId, publicKey]) => verifies(key, { signer: userId, keyId, publicKey }));
}

function verifies(
  object: JsonObject,
  { signer, keyId, publicKey }: { signer: string; keyId: string; publicKey: string },
): boolean {
  const key = parseVerifyKey(publicKey);
  return key !== null && verifyJson(object, { serverName: signer, keyId, key });
}

function withoutSignatures({ signatures: _signatures, unsigned: _unsigned, ...rest }: JsonObject): JsonObject {
  return rest;
}

function isSameKey(a: JsonObject, b: JsonObject): boolean {
  return canonicalKeyText(withoutSignatures(a)) === canonicalKeyText(withoutSignatures(b));
}

function hasSignature(
  object: JsonObject,
  { signer, keyId, signature }: { signer: string; keyId: string; signature: string },
): boolean {
  const made = isJsonObject(object.signatures) ? object.signatures[signer] : undefined;
  return isJsonObject(made) && made[keyId] === signature;
}
