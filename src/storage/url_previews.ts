/** Previews of links, as they were at a time. */
import type { Db, Tx } from "./database.ts";
import { MEDIA_COLUMNS, type MediaRow, toMediaRows } from "./media.ts";
import { sql } from "./sql.ts";

/** A preview. */
export interface UrlPreviewRow {
  readonly url: string;
  readonly fetchedTs: number;
  readonly expiresTs: number;
  /** JSON. */
  readonly preview: string;
}

/** Returns the last preview fetched up to a time, if it was still good then; or null. */
export async function selectUrlPreview(
  db: Db,
  { url, at }: { url: string; at: number },
): Promise<UrlPreviewRow | null> {
  const row = await db.get<{ fetched_ts: number; expires_ts: number; preview: string }>(sql`
    SELECT fetched_ts, expires_ts, preview FROM url_previews
    WHERE url = ${url} AND fetched_ts <= ${at} ORDER BY fetched_ts DESC LIMIT 1`);
  if (row === null || row.expires_ts <= at) return null;
  return { url, fetchedTs: row.fetched_ts, expiresTs: row.expires_ts, preview: row.preview };
}

/** Adds a preview. */
export async function insertUrlPreview(tx: Tx, { url, fetchedTs, expiresTs, preview }: UrlPreviewRow): Promise<void> {
  await tx.run(sql`
    INSERT INTO url_previews (url, fetched_ts, expires_ts, preview)
    VALUES (${url}, ${fetchedTs}, ${expiresTs}, ${preview})
    ON CONFLICT DO NOTHING`);
}

/** Deletes previews that expired before a time; returns how many. */
export async function deleteUrlPreviews(tx: Tx, expiredBefore: number): Promise<number> {
  return await tx.run(sql`DELETE FROM url_previews WHERE expires_ts < ${expiredBefore}`);
}

/** Returns images of previews fetched before a time. */
export async function selectOldPreviewImages(
  db: Db,
  { before, limit }: { before: number; limit: number },
): Promise<MediaRow[]> {
  return toMediaRows(
    await db.all(sql`
    SELECT ${MEDIA_COLUMNS} FROM media
    WHERE is_url_cache AND created_ts < ${before} AND quarantined_by IS NULL
    ORDER BY created_ts LIMIT ${limit}`),
  );
}
