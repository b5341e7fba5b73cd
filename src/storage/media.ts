/** Media: uploads, reservations, quotas, access times. */
import type { ServerName, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { lockRow, sql } from "./sql.ts";

/** Where a file is: the two parts of an `mxc://` URI. */
export interface MediaKey {
  readonly origin: ServerName;
  readonly mediaId: string;
}

/** A file, or the reservation of one. */
export interface MediaRow extends MediaKey {
  /** Names the files in the blob store. */
  readonly fileId: string;
  /** Null for remote media and images of URL previews. */
  readonly userId: UserId | null;
  readonly contentType: string;
  readonly uploadName: string | null;
  readonly createdTs: number;
  /** In bytes; null as long as the upload is awaited. */
  readonly length: number | null;
  readonly unusedExpiresTs: number | null;
  /** In base64url. */
  readonly sha256: string | null;
  readonly lastAccessTs: number;
  readonly isAuthenticated: boolean;
  readonly isUrlCache: boolean;
  /** Where an image of a URL preview was fetched from; null for all other files, and for old images. */
  readonly sourceUrl: string | null;
  readonly quarantinedBy: string | null;
  readonly safeFromQuarantine: boolean;
}

/** What is known of a file once it has been received. */
export interface ReceivedFile {
  readonly fileId: string;
  readonly contentType: string;
  readonly uploadName: string | null;
  readonly length: number;
  readonly sha256: string;
}

interface MediaDbRow {
  origin: ServerName;
  media_id: string;
  file_id: string;
  user_id: UserId | null;
  content_type: string;
  upload_name: string | null;
  created_ts: number;
  length: number | null;
  unused_expires_ts: number | null;
  sha256: string | null;
  last_access_ts: number;
  is_authenticated: boolean;
  is_url_cache: boolean;
  source_url: string | null;
  quarantined_by: string | null;
  safe_from_quarantine: boolean;
}

/** The columns of a `MediaRow`, for queries of the neighbors of this file. */
export const MEDIA_COLUMNS = sql`origin, media_id, file_id, user_id, content_type, upload_name, created_ts, length,
  unused_expires_ts, sha256, last_access_ts, is_authenticated, is_url_cache, source_url, quarantined_by, safe_from_quarantine`;

/** Reads rows of `MEDIA_COLUMNS`. */
export function toMediaRows(rows: readonly unknown[]): MediaRow[] {
  return (rows as readonly MediaDbRow[]).map((row) => ({
    origin: row.origin,
    mediaId: row.media_id,
    fileId: row.file_id,
    userId: row.user_id,
    contentType: row.content_type,
    uploadName: row.upload_name,
    createdTs: row.created_ts,
    length: row.length,
    unusedExpiresTs: row.unused_expires_ts,
    sha256: row.sha256,
    lastAccessTs: row.last_access_ts,
    isAuthenticated: row.is_authenticated,
    isUrlCache: row.is_url_cache,
    sourceUrl: row.source_url,
    quarantinedBy: row.quarantined_by,
    safeFromQuarantine: row.safe_from_quarantine,
  }));
}

/** Returns a file or reservation, or null. */
export async function selectMedia(db: Db, { origin, mediaId }: MediaKey): Promise<MediaRow | null> {
  const row = await db.get(sql`
    SELECT ${MEDIA_COLUMNS} FROM media WHERE origin = ${origin} AND media_id = ${mediaId}`);
  return row === null ? null : toMediaRows([row])[0] ?? null;
}

/** Adds a file or reservation; returns false when its id is taken. */
export async function insertMedia(tx: Tx, media: MediaRow): Promise<boolean> {
  return await tx.run(sql`
    INSERT INTO media (origin, media_id, file_id, user_id, content_type, upload_name, created_ts, length,
      unused_expires_ts, sha256, last_access_ts, is_authenticated, is_url_cache, source_url, quarantined_by,
      safe_from_quarantine)
    VALUES (${media.origin}, ${media.mediaId}, ${media.fileId}, ${media.userId}, ${media.contentType},
      ${media.uploadName}, ${media.createdTs}, ${media.length}, ${media.unusedExpiresTs}, ${media.sha256},
      ${media.lastAccessTs}, ${media.isAuthenticated}, ${media.isUrlCache}, ${media.sourceUrl},
      ${media.quarantinedBy}, ${media.safeFromQuarantine})
    ON CONFLICT DO NOTHING`) > 0;
}

/** Turns a reservation into the file; returns false when it is one already. */
export async function completeMedia(
  tx: Tx,
  { origin, mediaId, file, quarantinedBy, now }: MediaKey & {
    file: ReceivedFile;
    quarantinedBy: string | null;
    now: number;
  },
): Promise<boolean> {
  return await tx.run(sql`
    UPDATE media SET file_id = ${file.fileId}, content_type = ${file.contentType}, upload_name = ${file.uploadName},
      length = ${file.length}, sha256 = ${file.sha256}, unused_expires_ts = NULL, last_access_ts = ${now},
      quarantined_by = COALESCE(quarantined_by, ${quarantinedBy})
    WHERE origin = ${origin} AND media_id = ${mediaId} AND length IS NULL`) > 0;
}

/** Makes other uploads of the user wait until the transaction ends, so that counts and sums hold. */
export async function lockUploader(tx: Tx, userId: UserId): Promise<void> {
  await tx.get(sql`SELECT user_id FROM users WHERE user_id = ${userId} ${lockRow()}`);
}

/** Counts the user's reservations that still wait for their upload. */
export async function countPendingMedia(
  db: Db,
  { userId, now }: { userId: UserId; now: number },
): Promise<{ count: number; earliestExpiryTs: number | null }> {
  const row = await db.get<{ n: number; earliest: number | null }>(sql`
    SELECT COUNT(*) AS n, MIN(unused_expires_ts) AS earliest FROM media
    WHERE user_id = ${userId} AND length IS NULL AND unused_expires_ts > ${now}`);
  return { count: row?.n ?? 0, earliestExpiryTs: row?.earliest ?? null };
}

/** Returns the bytes that the user has uploaded from a time on. */
export async function sumUploads(db: Db, { userId, from }: { userId: UserId; from: number }): Promise<number> {
  const row = await db.get<{ total: number | null }>(sql`
    SELECT CAST(SUM(length) AS BIGINT) AS total FROM media WHERE user_id = ${userId} AND created_ts >= ${from}`);
  return row?.total ?? 0;
}

/** Deletes reservations that expired before `now`; returns how many. */
export async function deleteExpiredReservations(tx: Tx, now: number): Promise<number> {
  return await tx.run(sql`DELETE FROM media WHERE length IS NULL AND unused_expires_ts <= ${now}`);
}

/** Notes when files were last asked for. */
export async function updateLastAccess(
  tx: Tx,
  accesses: readonly (MediaKey & { readonly accessTs: number })[],
): Promise<void> {
  await tx.runMany(accesses.map(({ origin, mediaId, accessTs }) =>
    sql`
    UPDATE media SET last_access_ts = ${accessTs}
    WHERE origin = ${origin} AND media_id = ${mediaId} AND last_access_ts < ${accessTs}`
  ));
}
