/**
 * Server-side key backup. Spec: client-server API, "Server-side key backups".
 *
 * A stored key is replaced only by a better one: verified beats unverified, then the lower first message index, then
 * the lower forwarded count.
 */
import { MatrixError, notFound } from "../protocol/errors.ts";
import { isStorable, MAX_ID_BYTES, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { lockKeysOfUser } from "../storage/cross_signing.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  type BackupVersion,
  countRoomKeys,
  deleteBackupVersion,
  deleteRoomKeys,
  insertBackupVersion,
  lockBackupVersion,
  type RoomKey,
  type RoomKeyQuality,
  type RoomKeyScope,
  selectBackupVersion,
  selectRoomKeyQualities,
  selectRoomKeys,
  touchBackupVersion,
  updateBackupAuthData,
  upsertRoomKeys,
} from "../storage/key_backup.ts";

/** Says how many keys a version holds, and its etag. */
export interface BackupCount extends JsonObject {
  count: number;
  etag: string;
}

const MAX_KEYS_PER_VERSION = 1_000_000;

/** Keeps users' encrypted room keys. */
export class KeyBackupService {
  readonly #db: Database;

  constructor({ db }: { db: Database }) {
    this.#db = db;
  }

  /** Makes a new version and returns its number. */
  async createVersion(
    { userId, algorithm, authData }: { userId: UserId; algorithm: string; authData: JsonObject },
  ): Promise<string> {
    return await this.#db.transaction(async (tx) => {
      await lockKeysOfUser(tx, userId);
      return String(await insertBackupVersion(tx, { userId, algorithm, authData: JSON.stringify(authData) }));
    });
  }

  /** Describes a version, or the current one when `version` is null. Throws 404 when there is none. */
  async describe({ userId, version }: { userId: UserId; version: string | null }): Promise<JsonObject> {
    const found = await this.#find(this.#db, { userId, version });
    const authData: JsonValue = JSON.parse(found.authData);
    return {
      algorithm: found.algorithm,
      auth_data: authData,
      version: String(found.version),
      ...await this.#count(this.#db, { userId, version: found.version }),
    };
  }

  /** Replaces the auth data of a version. Throws 400 when the algorithm differs from the stored one. */
  async updateVersion(
    { userId, version, algorithm, authData }: {
      userId: UserId;
      version: string;
      algorithm: string;
      authData: JsonObject;
    },
  ): Promise<void> {
    await this.#db.transaction(async (tx) => {
      const found = await this.#find(tx, { userId, version });
      if (found.algorithm !== algorithm) throw new MatrixError(400, "M_INVALID_PARAM", "Algorithm does not match");
      await updateBackupAuthData(tx, { userId, version: found.version, authData: JSON.stringify(authData) });
    });
  }

  /** Deletes a version and its keys. Throws 404 when there is none. */
  async deleteVersion({ userId, version }: { userId: UserId; version: string }): Promise<void> {
    await this.#db.transaction(async (tx) => {
      const found = await this.#find(tx, { userId, version });
      await deleteBackupVersion(tx, { userId, version: found.version });
    });
  }

  /** Stores keys into the current version. Throws 403 `M_WRONG_ROOM_KEYS_VERSION` when `version` is an older one. */
  async putKeys(
    { userId, version, keys }: { userId: UserId; version: string; keys: readonly RoomKey[] },
  ): Promise<BackupCount> {
    return await this.#db.transaction(async (tx) => {
      const current = await this.#requireCurrent(tx, { userId, version });
      await lockBackupVersion(tx, { userId, version: current.version });
      const scope = { userId, version: current.version };
      const sessionIds = keys.map((key) => key.sessionId);
      const stored = new Map<string, RoomKeyQuality>();
      for (const key of await selectRoomKeyQualities(tx, { ...scope, sessionIds })) stored.set(placeOf(key), key);
      const better = keys.filter((key) => {
        const old = stored.get(placeOf(key));
        return old === undefined || isBetter(key, old);
      });
      await upsertRoomKeys(tx, { ...scope, keys: better });
      if (better.length > 0) await touchBackupVersion(tx, scope);
      const count = await this.#count(tx, scope);
      if (count.count > MAX_KEYS_PER_VERSION) {
        throw new MatrixError(400, "M_RESOURCE_LIMIT_EXCEEDED", "The backup holds too many keys");
      }
      return count;
    });
  }

  /** Returns the keys of a scope. Throws 404 when the version does not exist. */
  async getKeys(scope: Omit<RoomKeyScope, "version"> & { version: string }): Promise<RoomKey[]> {
    const found = await this.#find(this.#db, scope);
    return await selectRoomKeys(this.#db, { ...scope, version: found.version });
  }

  /** Deletes the keys of a scope. Throws 404 when the version does not exist. */
  async deleteKeys(scope: Omit<RoomKeyScope, "version"> & { version: string }): Promise<BackupCount> {
    return await this.#db.transaction(async (tx) => {
      const { version } = await this.#find(tx, scope);
      await lockBackupVersion(tx, { userId: scope.userId, version });
      const deleted = await deleteRoomKeys(tx, { ...scope, version });
      if (deleted > 0) await touchBackupVersion(tx, { userId: scope.userId, version });
      return await this.#count(tx, { userId: scope.userId, version });
    });
  }

  async #find(
    db: Database | Tx,
    { userId, version }: { userId: UserId; version: string | null },
  ): Promise<BackupVersion> {
    const number = version === null ? null : parseVersion(version);
    const found = number === undefined ? null : await selectBackupVersion(db, { userId, version: number });
    if (!found) throw notFound(version === null ? "No current backup version" : "Unknown backup version");
    return found;
  }

  async #requireCurrent(tx: Tx, { userId, version }: { userId: UserId; version: string }): Promise<BackupVersion> {
    const current = await selectBackupVersion(tx, { userId, version: null });
    if (!current) throw notFound("No current backup version");
    if (String(current.version) === version) return current;
    await this.#find(tx, { userId, version });
    throw new MatrixError(403, "M_WRONG_ROOM_KEYS_VERSION", `The current backup version is ${current.version}`, {
      current_version: String(current.version),
    });
  }

  async #count(db: Database | Tx, scope: { userId: UserId; version: number }): Promise<BackupCount> {
    const found = await selectBackupVersion(db, scope);
    return { count: await countRoomKeys(db, scope), etag: String(found?.etag ?? 0) };
  }
}

/** Parses one session of an upload; null when its shape is wrong. Spec: `KeyBackupData`. */
export function parseRoomKey(
  { roomId, sessionId, data }: { roomId: string; sessionId: string; data: unknown },
): RoomKey | null {
  if (!isJsonObject(data) || !isJsonObject(data.session_data)) return null;
  if (!isStorable(roomId, MAX_ID_BYTES) || !isStorable(sessionId, MAX_ID_BYTES)) return null;
  const { first_message_index: index, forwarded_count: forwarded, is_verified: verified } = data;
  if (!isCount(index) || !isCount(forwarded) || typeof verified !== "boolean") return null;
  return {
    roomId,
    sessionId,
    firstMessageIndex: index,
    forwardedCount: forwarded,
    isVerified: verified,
    sessionData: JSON.stringify(data.session_data),
  };
}

/** Renders a stored session as `KeyBackupData`. */
export function renderRoomKey(key: RoomKey): JsonObject {
  const sessionData: JsonValue = JSON.parse(key.sessionData);
  return {
    first_message_index: key.firstMessageIndex,
    forwarded_count: key.forwardedCount,
    is_verified: key.isVerified,
    session_data: sessionData,
  };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function parseVersion(version: string): number | undefined {
  return /^[1-9][0-9]{0,14}$/.test(version) ? Number(version) : undefined;
}

/** Tells sessions of the same id in two rooms apart; an id holds no NUL. */
function placeOf({ roomId, sessionId }: RoomKeyQuality): string {
  return `${roomId}\0${sessionId}`;
}

function isBetter(next: RoomKeyQuality, stored: RoomKeyQuality): boolean {
  if (next.isVerified !== stored.isVerified) return next.isVerified;
  if (next.firstMessageIndex !== stored.firstMessageIndex) return next.firstMessageIndex < stored.firstMessageIndex;
  return next.forwardedCount < stored.forwardedCount;
}
