/** All media that have a file, for what goes through the whole store. */
import type { Db } from "./database.ts";
import { MEDIA_COLUMNS, type MediaRow, toMediaRows } from "./media.ts";
import { sql } from "./sql.ts";

const PAGE = 500;

/** Reads them in order of their key. */
export async function* listAllMedia(db: Db): AsyncIterableIterator<MediaRow> {
  let after = { origin: "", mediaId: "" };
  for (;;) {
    const page = toMediaRows(
      await db.all(sql`
        SELECT ${MEDIA_COLUMNS} FROM media
        WHERE (origin, media_id) > (${after.origin}, ${after.mediaId}) AND length IS NOT NULL
        ORDER BY origin, media_id LIMIT ${PAGE}`),
    );
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    after = last;
  }
}
