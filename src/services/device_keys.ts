/**
 * Device keys, one-time keys and fallback keys. Spec: client-server API, "End-to-end encryption", "Key management API".
 */
import type { Clock } from "../lib/clock.ts";
import { ReadCache } from "../lib/read_cache.ts";
import { canonicalJson } from "../protocol/canonical_json.ts";
import { badJson, MatrixError } from "../protocol/errors.ts";
import { type DeviceId, isStorable, MAX_ID_BYTES, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import {
  type CrossSigningKey,
  type KeySignature,
  selectCrossSigningKeys,
  selectKeySignatures,
} from "../storage/cross_signing.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  countOneTimeKeys,
  deleteKeysOfDevice,
  deleteSignaturesOnDevice,
  type DeviceRef,
  insertOneTimeKeys,
  type PublishedKey,
  selectDeviceKeyJson,
  selectDeviceKeys,
  selectOneTimeKeys,
  selectUnusedFallbackAlgorithms,
  takeOneTimeKey,
  upsertDeviceKeys,
  upsertFallbackKey,
  useFallbackKey,
} from "../storage/device_keys.ts";
import type { Notifier } from "../streams/notifier.ts";
import type { DeviceListsService } from "./device_lists.ts";
import { areSignatures, areTexts, canonicalKeyText, parseKeyObject } from "./key_json.ts";

/** What the service is built from. */
export interface DeviceKeysDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly notifier: Notifier;
  readonly deviceLists: DeviceListsService;
  readonly isLocal: (userId: UserId) => boolean;
}

/** The parts of `POST /keys/upload`. */
export interface KeyUpload {
  readonly deviceKeys?: JsonObject | undefined;
  readonly oneTimeKeys?: JsonObject | undefined;
  readonly fallbackKeys?: JsonObject | undefined;
}

/** The algorithm whose count is always reported, so that clients never take its absence for "unknown". */
const DEFAULT_ALGORITHM = "signed_curve25519";
const MAX_KEYS_PER_UPLOAD = 1_000;
const MAX_KEYS_PER_DEVICE = 10_000;
const MAX_KEY_BYTES = 16_384;
const MAX_CACHED_STOCKS = 20_000;

/** The keys a device has left to give out. */
export interface KeyStock {
  /** How many one-time keys, by algorithm. */
  readonly oneTime: Readonly<Record<string, number>>;
  /** The algorithms of unused fallback keys. */
  readonly fallback: readonly string[];
}

/** Publishes and hands out the keys of devices. */
export class DeviceKeysService {
  readonly #deps: DeviceKeysDeps;
  readonly #stocks = new ReadCache<string, KeyStock>({ name: "one_time_key_counts", maxEntries: MAX_CACHED_STOCKS });

  constructor(deps: DeviceKeysDeps) {
    this.#deps = deps;
  }

  /** Stores what a device uploads and returns how many one-time keys of each algorithm it has now. */
  async upload(
    device: DeviceRef,
    { deviceKeys, oneTimeKeys, fallbackKeys }: KeyUpload,
  ): Promise<Readonly<Record<string, number>>> {
    if (deviceKeys) assertOwnDeviceKeys(device, deviceKeys);
    const oneTime = parseKeys(oneTimeKeys);
    const fallback = parseKeys(fallbackKeys);
    await this.#deps.db.transaction(async (tx) => {
      if (oneTime.length > 0) await this.#addOneTimeKeys(tx, { device, keys: oneTime });
      for (const key of fallback) await upsertFallbackKey(tx, { ...device, key });
      if (deviceKeys) await this.#setDeviceKeys(tx, { device, deviceKeys });
      tx.afterCommit(() => this.#forgetStock(device));
    });
    return (await this.stock(device)).oneTime;
  }

  /** Returns what keys a device has left. */
  stock(device: DeviceRef): KeyStock | Promise<KeyStock> {
    const id = stockId(device);
    return this.#stocks.peek(id) ?? this.#stocks.get(id, () => this.#readStock(device));
  }

  /** Answers `POST /keys/query` for local users; an empty list of devices asks for all of them. */
  async query(requester: UserId, wanted: ReadonlyMap<UserId, readonly string[]>): Promise<JsonObject> {
    const local = [...wanted.keys()].filter(this.#deps.isLocal);
    const { db } = this.#deps;
    const [devices, crossSigning, signatures] = await Promise.all([
      selectDeviceKeys(db, local),
      selectCrossSigningKeys(db, local),
      selectKeySignatures(db, local),
    ]);
    const deviceKeys = new Map<UserId, [DeviceId, JsonObject][]>(local.map((userId) => [userId, []]));
    for (const { userId, deviceId, keyJson, displayName } of devices) {
      const only = wanted.get(userId) ?? [];
      if (only.length > 0 && !only.includes(deviceId)) continue;
      const key = withSignatures(parseKeyObject(keyJson), { userId, target: deviceId, signatures, viewer: requester });
      if (displayName !== null) key.unsigned = { device_display_name: displayName };
      deviceKeys.get(userId)?.push([deviceId, key]);
    }
    return {
      device_keys: Object.fromEntries([...deviceKeys].map(([userId, keys]) => [userId, Object.fromEntries(keys)])),
      failures: {},
      ...renderCrossSigning(crossSigning, { signatures, viewer: requester }),
    };
  }

  /** Hands out one key for each device and algorithm asked for; devices without any are left out. */
  async claim(
    wanted: readonly { userId: UserId; deviceId: DeviceId; algorithm: string }[],
  ): Promise<Record<string, JsonObject>> {
    const local = wanted.filter(({ userId }) => this.#deps.isLocal(userId));
    return await this.#deps.db.transaction(async (tx) => {
      const claimed = new Map<UserId, Map<DeviceId, JsonObject>>();
      for (const device of local) {
        const key = await takeOneTimeKey(tx, device) ?? await useFallbackKey(tx, device);
        if (!key) continue;
        const ofUser = claimed.get(device.userId) ?? new Map<DeviceId, JsonObject>();
        const parsed: JsonValue = JSON.parse(key.keyJson);
        claimed.set(device.userId, ofUser.set(device.deviceId, { [`${key.algorithm}:${key.keyId}`]: parsed }));
        tx.afterCommit(() => this.#forgetStock(device));
      }
      return Object.fromEntries([...claimed].map(([userId, devices]) => [userId, Object.fromEntries(devices)]));
    });
  }

  /** Removes all keys of a device that is being deleted. */
  async deleteDevice(tx: Tx, device: DeviceRef): Promise<void> {
    tx.afterCommit(() => this.#forgetStock(device));
    if (await deleteKeysOfDevice(tx, device)) await this.#deps.deviceLists.noteChange(tx, device.userId);
  }

  /** Every sync of a device asks for this, so it is remembered until a key comes or goes. */
  async #readStock(device: DeviceRef): Promise<KeyStock> {
    const { db } = this.#deps;
    const [counts, fallback] = await Promise.all([
      countOneTimeKeys(db, device),
      selectUnusedFallbackAlgorithms(db, device),
    ]);
    return { oneTime: { [DEFAULT_ALGORITHM]: 0, ...counts }, fallback };
  }

  #forgetStock(device: DeviceRef): void {
    this.#stocks.forget(stockId(device));
  }

  async #addOneTimeKeys(
    tx: Tx,
    { device, keys }: { device: DeviceRef; keys: readonly PublishedKey[] },
  ): Promise<void> {
    const stored = await selectOneTimeKeys(tx, { ...device, keyIds: keys.map((key) => key.keyId) });
    const known = new Map(stored.map((key) => [`${key.algorithm}:${key.keyId}`, key.keyJson]));
    const fresh = keys.filter((key) => {
      const old = known.get(`${key.algorithm}:${key.keyId}`);
      if (old === undefined) return true;
      if (isSameKey(old, key.keyJson)) return false;
      // Clients recognize this sentence of Synapse's and make new keys.
      throw new MatrixError(400, "M_UNKNOWN", `One time key ${key.algorithm}:${key.keyId} already exists`);
    });
    const stock = await countOneTimeKeys(tx, device);
    const total = Object.values(stock).reduce((sum, count) => sum + count, fresh.length);
    if (total > MAX_KEYS_PER_DEVICE) throw new MatrixError(413, "M_TOO_LARGE", "The device has too many one-time keys");
    await insertOneTimeKeys(tx, { ...device, keys: fresh, addedTs: this.#deps.clock.now() });
  }

  async #setDeviceKeys(tx: Tx, { device, deviceKeys }: { device: DeviceRef; deviceKeys: JsonObject }): Promise<void> {
    const { unsigned: _unsigned, ...keys } = deviceKeys;
    const keyJson = canonicalKeyText(keys);
    const stored = await selectDeviceKeyJson(tx, device);
    if (keyJson === stored) return;
    // Signatures on other keys of the device do not hold for these.
    if (stored !== null && !isSameKey(keyJson, stored)) await deleteSignaturesOnDevice(tx, device);
    await upsertDeviceKeys(tx, { ...device, keyJson });
    await this.#deps.deviceLists.noteChange(tx, device.userId);
  }
}

/** Signing the same key once more makes no other key of it. */
function isSameKey(a: string, b: string): boolean {
  if (a === b) return true;
  const bare = (text: string) => {
    const { signatures: _signatures, unsigned: _unsigned, ...rest } = parseKeyObject(text);
    return canonicalJson(rest);
  };
  return a.startsWith("{") && b.startsWith("{") && bare(a) === bare(b);
}

function stockId({ userId, deviceId }: DeviceRef): string {
  return `${userId}\n${deviceId}`;
}

/** Parses `{"algorithm:id": key}`. */
function parseKeys(keys: JsonObject | undefined): PublishedKey[] {
  const entries = Object.entries(keys ?? {});
  if (entries.length > MAX_KEYS_PER_UPLOAD) throw new MatrixError(413, "M_TOO_LARGE", "Too many keys in one upload");
  return entries.map(([name, key]) => {
    const [algorithm, keyId, ...rest] = name.split(":");
    if (!algorithm || !keyId || rest.length > 0 || !isStorable(name, MAX_ID_BYTES)) {
      throw badJson(`Invalid key id "${name.slice(0, 255)}"`);
    }
    if (typeof key !== "string" && !isJsonObject(key)) throw badJson(`Key "${name}" is neither a string nor an object`);
    const keyJson = canonicalKeyText(key);
    if (keyJson.length > MAX_KEY_BYTES) throw new MatrixError(413, "M_TOO_LARGE", `Key "${name}" is too large`);
    return { algorithm, keyId, keyJson };
  });
}

function assertOwnDeviceKeys({ userId, deviceId }: DeviceRef, keys: JsonObject): void {
  if (keys.user_id !== userId || keys.device_id !== deviceId) {
    throw new MatrixError(400, "M_INVALID_PARAM", "Device keys must name the user and the device that upload them");
  }
  const { algorithms } = keys;
  const areNames = Array.isArray(algorithms) && algorithms.every((name) => typeof name === "string");
  if (!areNames || !areTexts(keys.keys) || !areSignatures(keys.signatures)) {
    throw badJson("Device keys need algorithms, keys and signatures");
  }
  if (canonicalKeyText(keys).length > MAX_KEY_BYTES) {
    throw new MatrixError(413, "M_TOO_LARGE", "Device keys are too large");
  }
}

interface SignatureView {
  readonly signatures: readonly KeySignature[];
  /** Sees the signatures of the key's owner and its own, nobody else's. */
  readonly viewer: UserId;
}

function withSignatures(
  key: JsonObject,
  { userId, target, signatures, viewer }: SignatureView & { userId: UserId; target: string },
): JsonObject {
  const merged = new Map(
    Object.entries(isJsonObject(key.signatures) ? key.signatures : {})
      .map(([signer, own]) => [signer, isJsonObject(own) ? { ...own } : {}]),
  );
  for (const signature of signatures) {
    if (signature.targetUserId !== userId || signature.targetKey !== target) continue;
    if (signature.signerUserId !== userId && signature.signerUserId !== viewer) continue;
    const own = merged.get(signature.signerUserId) ?? {};
    own[signature.signerKeyId] = signature.signature;
    merged.set(signature.signerUserId, own);
  }
  return { ...key, ...(merged.size > 0 ? { signatures: Object.fromEntries(merged) } : {}) };
}

function renderCrossSigning(keys: readonly CrossSigningKey[], view: SignatureView): JsonObject {
  const master: JsonObject = {};
  const selfSigning: JsonObject = {};
  const userSigning: JsonObject = {};
  const places = { master, self_signing: selfSigning, user_signing: userSigning };
  for (const { userId, usage, keyJson } of keys) {
    if (usage === "user_signing" && userId !== view.viewer) continue;
    const key = parseKeyObject(keyJson);
    places[usage][userId] = withSignatures(key, { ...view, userId, target: publicKeyOf(key) });
  }
  return { master_keys: master, self_signing_keys: selfSigning, user_signing_keys: userSigning };
}

/** Returns the public key of a cross-signing key object: the value of its only entry. */
export function publicKeyOf(key: JsonObject): string {
  const [value] = Object.values(isJsonObject(key.keys) ? key.keys : {});
  return typeof value === "string" ? value : "";
}
