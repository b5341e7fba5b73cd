/** Media that are hidden from everybody or protected from that, and the order in which that changed. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import { MEDIA_COLUMNS, type MediaKey, type MediaRow, toMediaRows } from "./media.ts";
import { type Sql, sql } from "./sql.ts";

/** A file that was hidden, or shown again. */
export interface QuarantineChange extends MediaKey {
  readonly position: number;
  readonly isQuarantined: boolean;
}

/** Returns what a user has uploaded or reserved and nobody has hidden, in the order of their ids, after one. */
export async function selectShownMediaOfUser(
  db: Db,
  { userId, after, limit }: { userId: UserId; after: string; limit: number },
): Promise<MediaRow[]> {
  return toMediaRows(
    await db.all(sql`
    SELECT ${MEDIA_COLUMNS} FROM media
    WHERE user_id = ${userId} AND media_id > ${after} AND quarantined_by IS NULL
    ORDER BY media_id LIMIT ${limit}`),
  );
}

/** Tells the locks on contents from other advisory locks. */
const CONTENT_LOCKS = 0x6d65_6469;

/**
 * Makes others who add or hide files of this content wait until the transaction ends: neither an upload nor a quarantine
 * must miss the other. Writers of SQLite run one at a time.
 */
export async function lockContent(tx: Tx, sha256: string): Promise<void> {
  if (tx.dialect === "sqlite") return;
  await tx.get(sql`SELECT pg_advisory_xact_lock(${CONTENT_LOCKS}, hashtext(${sha256}))`);
}

/** Tells whether a file with this content is quarantined. */
export async function selectIsContentQuarantined(db: Db, sha256: string): Promise<boolean> {
  const row = await db.get<{ origin: string }>(sql`
    SELECT origin FROM media WHERE sha256 = ${sha256} AND quarantined_by IS NOT NULL LIMIT 1`);
  return row !== null;
}

/** Hides a file and those with the same content, or with null shows them again; returns which were changed by it. */
export async function updateQuarantine(
  tx: Tx,
  { row, by }: { row: MediaRow; by: UserId | null },
): Promise<MediaKey[]> {
  const which: Sql = row.sha256 === null
    ? sql`origin = ${row.origin} AND media_id = ${row.mediaId}`
    : sql`sha256 = ${row.sha256}`;
  const where = by === null
    ? sql`quarantined_by IS NOT NULL`
    : sql`quarantined_by IS NULL AND NOT safe_from_quarantine`;
  const rows = await tx.all<{ origin: MediaKey["origin"]; media_id: string }>(sql`
    UPDATE media SET quarantined_by = ${by} WHERE ${which} AND ${where} RETURNING origin, media_id`);
  return rows.map(({ origin, media_id: mediaId }) => ({ origin, mediaId }));
}

/** Notes what was hidden or shown again. The last thing a transaction does: others wait for their positions. */
export async function insertQuarantineChanges(
  tx: Tx,
  { keys, isQuarantined }: { keys: readonly MediaKey[]; isQuarantined: boolean },
): Promise<void> {
  if (keys.length === 0) return;
  const row = await tx.get<{ first: number }>(sql`
    UPDATE id_blocks SET next_id = next_id + ${keys.length} WHERE sequence = 'media_quarantine_change'
    RETURNING next_id - ${keys.length} AS first`);
  if (row === null) throw new DatabaseError("driver", "There is no sequence of quarantine changes");
  await tx.runMany(keys.map(({ origin, mediaId }, index) =>
    sql`
    INSERT INTO media_quarantine_changes (position, origin, media_id, is_quarantined)
    VALUES (${row.first + index}, ${origin}, ${mediaId}, ${isQuarantined})`
  ));
}

/** Returns what changed after a position, oldest first. */
export async function selectQuarantineChanges(
  db: Db,
  { after, limit }: { after: number; limit: number },
): Promise<QuarantineChange[]> {
  const rows = await db.all<
    { position: number; origin: MediaKey["origin"]; media_id: string; is_quarantined: boolean }
  >(sql`
    SELECT position, origin, media_id, is_quarantined FROM media_quarantine_changes
    WHERE position > ${after} ORDER BY position LIMIT ${limit}`);
  return rows.map((row) => ({
    position: row.position,
    origin: row.origin,
    mediaId: row.media_id,
    isQuarantined: row.is_quarantined,
  }));
}

/** Returns the position of the last change; 0 where there was none. */
export async function selectLastQuarantineChange(db: Db): Promise<number> {
  const row = await db.get<{ position: number | null }>(sql`
    SELECT MAX(position) AS position FROM media_quarantine_changes`);
  return row?.position ?? 0;
}

/** Protects a file from quarantine, or no longer; returns whether there is such a file. */
export async function updateSafeFromQuarantine(
  tx: Tx,
  { origin, mediaId, isSafe }: MediaKey & { isSafe: boolean },
): Promise<boolean> {
  return await tx.run(sql`
    UPDATE media SET safe_from_quarantine = ${isSafe} WHERE origin = ${origin} AND media_id = ${mediaId}`) > 0;
}
