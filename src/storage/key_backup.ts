/** Key backup: versions and the room keys in them. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, lockRow, sql } from "./sql.ts";

/** A backup version. `etag` changes whenever a key in it does. */
export interface BackupVersion {
  readonly version: number;
  readonly algorithm: string;
  /** The text of a JSON object. */
  readonly authData: string;
  readonly etag: number;
}

/** One backed-up session. */
export interface RoomKey {
  readonly roomId: string;
  readonly sessionId: string;
  readonly firstMessageIndex: number;
  readonly forwardedCount: number;
  readonly isVerified: boolean;
  /** The text of a JSON object. */
  readonly sessionData: string;
}

/** Which keys of a version: all, those of a room, or one session. */
export interface RoomKeyScope {
  readonly userId: UserId;
  readonly version: number;
  readonly roomId?: string | undefined;
  readonly sessionId?: string | undefined;
}

interface VersionRow {
  readonly version: number;
  readonly algorithm: string;
  readonly auth_data: string;
  readonly etag: number;
}

interface KeyRow {
  readonly room_id: string;
  readonly session_id: string;
  readonly first_message_index: number;
  readonly forwarded_count: number;
  readonly is_verified: boolean;
  readonly session_data: string;
}

function toVersion(row: VersionRow): BackupVersion {
  return { version: row.version, algorithm: row.algorithm, authData: row.auth_data, etag: row.etag };
}

function toRoomKey(row: KeyRow): RoomKey {
  return {
    roomId: row.room_id,
    sessionId: row.session_id,
    firstMessageIndex: row.first_message_index,
    forwardedCount: row.forwarded_count,
    isVerified: row.is_verified,
    sessionData: row.session_data,
  };
}

/** Makes a version with the next number, counting deleted ones, and returns the number. */
export async function insertBackupVersion(
  tx: Tx,
  { userId, algorithm, authData }: { userId: UserId; algorithm: string; authData: string },
): Promise<number> {
  const row = await tx.get<{ version: number }>(sql`
    INSERT INTO room_key_versions (user_id, version, algorithm, auth_data, etag, deleted)
    SELECT ${userId}, COALESCE(MAX(version), 0) + 1, ${algorithm}, ${authData}, 0, ${false}
    FROM room_key_versions WHERE user_id = ${userId}
    RETURNING version`);
  return row?.version ?? 0;
}

/** Returns a version that is not deleted, or the newest of them when `version` is null. */
export async function selectBackupVersion(
  db: Db,
  { userId, version }: { userId: UserId; version: number | null },
): Promise<BackupVersion | null> {
  const row = version === null
    ? await db.get<VersionRow>(sql`
      SELECT version, algorithm, auth_data, etag FROM room_key_versions
      WHERE user_id = ${userId} AND NOT deleted ORDER BY version DESC LIMIT 1`)
    : await db.get<VersionRow>(sql`
      SELECT version, algorithm, auth_data, etag FROM room_key_versions
      WHERE user_id = ${userId} AND version = ${version} AND NOT deleted`);
  return row && toVersion(row);
}

/** Locks a version against other writers for the rest of the transaction. */
export async function lockBackupVersion(
  tx: Tx,
  { userId, version }: { userId: UserId; version: number },
): Promise<void> {
  await tx.get(sql`
    SELECT version FROM room_key_versions WHERE user_id = ${userId} AND version = ${version} ${lockRow()}`);
}

/** Replaces a version's auth data. */
export async function updateBackupAuthData(
  tx: Tx,
  { userId, version, authData }: { userId: UserId; version: number; authData: string },
): Promise<void> {
  await tx.run(sql`
    UPDATE room_key_versions SET auth_data = ${authData} WHERE user_id = ${userId} AND version = ${version}`);
}

/** Marks a version as deleted and drops its keys. Returns false when there is none. */
export async function deleteBackupVersion(
  tx: Tx,
  { userId, version }: { userId: UserId; version: number },
): Promise<boolean> {
  const changed = await tx.run(sql`
    UPDATE room_key_versions SET deleted = ${true}
    WHERE user_id = ${userId} AND version = ${version} AND NOT deleted`);
  await tx.run(sql`DELETE FROM room_keys WHERE user_id = ${userId} AND version = ${version}`);
  return changed > 0;
}

/** Removes all backups of a user whose account ends. */
export async function deleteBackupsOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.runMany([
    sql`DELETE FROM room_keys WHERE user_id = ${userId}`,
    sql`DELETE FROM room_key_versions WHERE user_id = ${userId}`,
  ]);
}

/** Raises a version's etag. */
export async function touchBackupVersion(
  tx: Tx,
  { userId, version }: { userId: UserId; version: number },
): Promise<void> {
  await tx.run(sql`
    UPDATE room_key_versions SET etag = etag + 1 WHERE user_id = ${userId} AND version = ${version}`);
}

/** Returns the number of keys in a version. */
export async function countRoomKeys(
  db: Db,
  { userId, version }: { userId: UserId; version: number },
): Promise<number> {
  const row = await db.get<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM room_keys WHERE user_id = ${userId} AND version = ${version}`);
  return row?.n ?? 0;
}

function scoped({ userId, version, roomId, sessionId }: RoomKeyScope): ReturnType<typeof sql> {
  const room = roomId === undefined ? sql`` : sql` AND room_id = ${roomId}`;
  const session = sessionId === undefined ? sql`` : sql` AND session_id = ${sessionId}`;
  return sql`user_id = ${userId} AND version = ${version}${room}${session}`;
}

/** Returns the keys of a scope. What one user backs up is bounded when it is uploaded. */
export async function selectRoomKeys(db: Db, scope: RoomKeyScope): Promise<RoomKey[]> {
  const rows = await db.all<KeyRow>(sql`
    SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
    FROM room_keys WHERE ${scoped(scope)} ORDER BY room_id, session_id`);
  return rows.map(toRoomKey);
}

/** How good a stored key is: enough to tell whether another is better. */
export type RoomKeyQuality = Omit<RoomKey, "sessionData">;

/** Returns what is stored of sessions with these ids, in any room. */
export async function selectRoomKeyQualities(
  db: Db,
  { userId, version, sessionIds }: { userId: UserId; version: number; sessionIds: readonly string[] },
): Promise<RoomKeyQuality[]> {
  const rows = await db.all<Omit<KeyRow, "session_data">>(sql`
    SELECT room_id, session_id, first_message_index, forwarded_count, is_verified FROM room_keys
    WHERE user_id = ${userId} AND version = ${version} AND ${inList(sql`session_id`, sessionIds)}`);
  return rows.map((row) => toRoomKey({ ...row, session_data: "" }));
}

/** Stores keys, replacing those of the same sessions. */
export async function upsertRoomKeys(
  tx: Tx,
  { userId, version, keys }: { userId: UserId; version: number; keys: readonly RoomKey[] },
): Promise<void> {
  await tx.runMany(keys.map((key) =>
    sql`
    INSERT INTO room_keys (user_id, version, room_id, session_id, first_message_index, forwarded_count, is_verified,
      session_data)
    VALUES (${userId}, ${version}, ${key.roomId}, ${key.sessionId}, ${key.firstMessageIndex}, ${key.forwardedCount},
      ${key.isVerified}, ${key.sessionData})
    ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET
      first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count,
      is_verified = excluded.is_verified, session_data = excluded.session_data`
  ));
}

/** Deletes the keys of a scope and returns how many there were. */
export async function deleteRoomKeys(tx: Tx, scope: RoomKeyScope): Promise<number> {
  return await tx.run(sql`DELETE FROM room_keys WHERE ${scoped(scope)}`);
}
