/** Media that are deleted. */
import type { ServerName, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { MEDIA_COLUMNS, type MediaKey, type MediaRow, toMediaRows } from "./media.ts";
import { sql } from "./sql.ts";

/** Deletes files with their thumbnails. The file goes first: who adds a thumbnail holds its row meanwhile. */
export async function deleteMediaRows(tx: Tx, keys: readonly MediaKey[]): Promise<void> {
  await tx.runMany(keys.flatMap(({ origin, mediaId }) => [
    sql`DELETE FROM media WHERE origin = ${origin} AND media_id = ${mediaId}`,
    sql`DELETE FROM media_thumbnails WHERE origin = ${origin} AND media_id = ${mediaId}`,
  ]));
}

/** Returns files of a user in the order of their ids, after one. */
export async function selectMediaOfUser(
  db: Db,
  { userId, after, limit }: { userId: UserId; after: string; limit: number },
): Promise<MediaRow[]> {
  return toMediaRows(
    await db.all(sql`
    SELECT ${MEDIA_COLUMNS} FROM media
    WHERE user_id = ${userId} AND media_id > ${after} AND length IS NOT NULL
    ORDER BY media_id LIMIT ${limit}`),
  );
}

/** Returns files that were last used before a time and are neither quarantined nor protected. */
export async function selectUnusedMedia(
  db: Db,
  { before, isLocal, serverName, limit }: {
    before: number;
    isLocal: boolean;
    serverName: ServerName;
    limit: number;
  },
): Promise<MediaRow[]> {
  return toMediaRows(
    await db.all(sql`
    SELECT ${MEDIA_COLUMNS} FROM media
    WHERE last_access_ts < ${before} AND (origin = ${serverName}) = ${isLocal} AND length IS NOT NULL
      AND quarantined_by IS NULL AND NOT safe_from_quarantine AND NOT is_url_cache
    ORDER BY last_access_ts LIMIT ${limit}`),
  );
}
