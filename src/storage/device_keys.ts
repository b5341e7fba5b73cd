/** Device keys and the keys that are handed out once. */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, perDialect, sql } from "./sql.ts";

/** A device of a user. */
export interface DeviceRef {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
}

/** A device's signed keys, with the name people know it by. */
export interface DeviceKeys extends DeviceRef {
  readonly keyJson: string;
  readonly displayName: string | null;
}

/** A one-time or fallback key. */
export interface PublishedKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly keyJson: string;
}

/** Stores a device's keys. */
export async function upsertDeviceKeys(
  tx: Tx,
  { userId, deviceId, keyJson }: DeviceRef & { keyJson: string },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO device_keys (user_id, device_id, key_json) VALUES (${userId}, ${deviceId}, ${keyJson})
    ON CONFLICT (user_id, device_id) DO UPDATE SET key_json = excluded.key_json`);
}

/** Returns the keys of one device, or null. */
export async function selectDeviceKeyJson(db: Db, { userId, deviceId }: DeviceRef): Promise<string | null> {
  const row = await db.get<{ key_json: string }>(sql`
    SELECT key_json FROM device_keys WHERE user_id = ${userId} AND device_id = ${deviceId}`);
  return row?.key_json ?? null;
}

/** Returns the keys of all devices of some users. */
export async function selectDeviceKeys(db: Db, userIds: readonly UserId[]): Promise<DeviceKeys[]> {
  if (userIds.length === 0) return [];
  const rows = await db.all<
    { user_id: UserId; device_id: DeviceId; key_json: string; display_name: string | null }
  >(sql`
    SELECT k.user_id, k.device_id, k.key_json, d.display_name FROM device_keys k
    LEFT JOIN devices d ON d.user_id = k.user_id AND d.device_id = k.device_id
    WHERE ${inList(sql`k.user_id`, userIds)}`);
  return rows.map((row) => ({
    userId: row.user_id,
    deviceId: row.device_id,
    keyJson: row.key_json,
    displayName: row.display_name,
  }));
}

/** Removes the signatures that were added to a device's keys. */
export async function deleteSignaturesOnDevice(tx: Tx, { userId, deviceId }: DeviceRef): Promise<void> {
  await tx.run(sql`DELETE FROM key_signatures WHERE target_user_id = ${userId} AND target_key = ${deviceId}`);
}

/** Removes all keys of a device. Returns whether it had device keys. */
export async function deleteKeysOfDevice(tx: Tx, { userId, deviceId }: DeviceRef): Promise<boolean> {
  await tx.runMany([
    sql`DELETE FROM one_time_keys WHERE user_id = ${userId} AND device_id = ${deviceId}`,
    sql`DELETE FROM fallback_keys WHERE user_id = ${userId} AND device_id = ${deviceId}`,
    sql`DELETE FROM key_signatures WHERE target_user_id = ${userId} AND target_key = ${deviceId}`,
  ]);
  return await tx.run(sql`DELETE FROM device_keys WHERE user_id = ${userId} AND device_id = ${deviceId}`) > 0;
}

/** Returns a device's one-time keys with the given ids. */
export async function selectOneTimeKeys(
  db: Db,
  { userId, deviceId, keyIds }: DeviceRef & { keyIds: readonly string[] },
): Promise<PublishedKey[]> {
  if (keyIds.length === 0) return [];
  const rows = await db.all<{ algorithm: string; key_id: string; key_json: string }>(sql`
    SELECT algorithm, key_id, key_json FROM one_time_keys
    WHERE user_id = ${userId} AND device_id = ${deviceId} AND ${inList(sql`key_id`, keyIds)}`);
  return rows.map((row) => ({ algorithm: row.algorithm, keyId: row.key_id, keyJson: row.key_json }));
}

/** Adds one-time keys; one that was added meanwhile stays as it is. */
export async function insertOneTimeKeys(
  tx: Tx,
  { userId, deviceId, keys, addedTs }: DeviceRef & { keys: readonly PublishedKey[]; addedTs: number },
): Promise<void> {
  await tx.runMany(keys.map((key) =>
    sql`
    INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, key_json, added_ts)
    VALUES (${userId}, ${deviceId}, ${key.algorithm}, ${key.keyId}, ${key.keyJson}, ${addedTs})
    ON CONFLICT DO NOTHING`
  ));
}

/** Returns how many one-time keys of each algorithm a device has left. */
export async function countOneTimeKeys(db: Db, { userId, deviceId }: DeviceRef): Promise<Record<string, number>> {
  const rows = await db.all<{ algorithm: string; n: number }>(sql`
    SELECT algorithm, COUNT(*) AS n FROM one_time_keys
    WHERE user_id = ${userId} AND device_id = ${deviceId} GROUP BY algorithm`);
  return Object.fromEntries(rows.map((row) => [row.algorithm, row.n]));
}

/** Takes the oldest one-time key of an algorithm, so that nobody else gets it; null when none is left. */
export async function takeOneTimeKey(
  tx: Tx,
  { userId, deviceId, algorithm }: DeviceRef & { algorithm: string },
): Promise<PublishedKey | null> {
  const row = await tx.get<{ key_id: string; key_json: string }>(sql`
    DELETE FROM one_time_keys
    WHERE user_id = ${userId} AND device_id = ${deviceId} AND algorithm = ${algorithm} AND key_id = (
      SELECT key_id FROM one_time_keys
      WHERE user_id = ${userId} AND device_id = ${deviceId} AND algorithm = ${algorithm}
      ORDER BY added_ts, key_id LIMIT 1 ${perDialect({ sqlite: sql``, postgres: sql`FOR UPDATE SKIP LOCKED` })})
    RETURNING key_id, key_json`);
  return row && { algorithm, keyId: row.key_id, keyJson: row.key_json };
}

/** Replaces a device's fallback key of an algorithm; the new one counts as unused unless it is the same key. */
export async function upsertFallbackKey(tx: Tx, { userId, deviceId, key }: DeviceRef & { key: PublishedKey }): Promise<
  void
> {
  await tx.run(sql`
    INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key_json, used)
    VALUES (${userId}, ${deviceId}, ${key.algorithm}, ${key.keyId}, ${key.keyJson}, ${false})
    ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET
      used = CASE WHEN fallback_keys.key_id = excluded.key_id AND fallback_keys.key_json = excluded.key_json
        THEN fallback_keys.used ELSE excluded.used END,
      key_id = excluded.key_id, key_json = excluded.key_json`);
}

/** Returns a device's fallback key of an algorithm and marks it used; null when there is none. */
export async function useFallbackKey(
  tx: Tx,
  { userId, deviceId, algorithm }: DeviceRef & { algorithm: string },
): Promise<PublishedKey | null> {
  const row = await tx.get<{ key_id: string; key_json: string }>(sql`
    UPDATE fallback_keys SET used = ${true}
    WHERE user_id = ${userId} AND device_id = ${deviceId} AND algorithm = ${algorithm}
    RETURNING key_id, key_json`);
  return row && { algorithm, keyId: row.key_id, keyJson: row.key_json };
}

/** Returns the algorithms for which a device has a fallback key that was not given out. */
export async function selectUnusedFallbackAlgorithms(db: Db, { userId, deviceId }: DeviceRef): Promise<string[]> {
  const rows = await db.all<{ algorithm: string }>(sql`
    SELECT algorithm FROM fallback_keys
    WHERE user_id = ${userId} AND device_id = ${deviceId} AND NOT used ORDER BY algorithm`);
  return rows.map((row) => row.algorithm);
}
