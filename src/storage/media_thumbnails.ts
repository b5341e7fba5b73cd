/** Thumbnails that have been made. */
import type { Db, Tx } from "./database.ts";
import type { MediaKey } from "./media.ts";
import { lockRow, sql } from "./sql.ts";

/** What a thumbnail was made for. */
export interface ThumbnailKey extends MediaKey {
  readonly width: number;
  readonly height: number;
  readonly method: "crop" | "scale";
  readonly isAnimated: boolean;
}

/** A thumbnail. */
export interface ThumbnailRow {
  readonly contentType: string;
  readonly length: number;
  /** Whether the original serves as its own thumbnail; then there is no file of it. */
  readonly isOriginal: boolean;
}

/** Returns a thumbnail, or null. */
export async function selectThumbnail(db: Db, key: ThumbnailKey): Promise<ThumbnailRow | null> {
  const row = await db.get<{ content_type: string; length: number; is_original: boolean }>(sql`
    SELECT content_type, length, is_original FROM media_thumbnails
    WHERE origin = ${key.origin} AND media_id = ${key.mediaId} AND width = ${key.width} AND height = ${key.height}
      AND method = ${key.method} AND is_animated = ${key.isAnimated}`);
  return row && { contentType: row.content_type, length: row.length, isOriginal: row.is_original };
}

/** Adds a thumbnail, unless it is there; returns false when its file was deleted meanwhile. */
export async function insertThumbnail(
  tx: Tx,
  { contentType, length, isOriginal, ...key }: ThumbnailKey & ThumbnailRow,
): Promise<boolean> {
  const file = await tx.get(sql`
    SELECT media_id FROM media WHERE origin = ${key.origin} AND media_id = ${key.mediaId} ${lockRow()}`);
  if (file === null) return false;
  await tx.run(sql`
    INSERT INTO media_thumbnails (origin, media_id, width, height, method, is_animated, content_type, length,
      is_original)
    VALUES (${key.origin}, ${key.mediaId}, ${key.width}, ${key.height}, ${key.method}, ${key.isAnimated},
      ${contentType}, ${length}, ${isOriginal})
    ON CONFLICT DO NOTHING`);
  return true;
}
