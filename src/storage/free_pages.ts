/** Gives pages of an SQLite file that hold nothing back to the disk, a few in each transaction. */
import type { Database } from "./database.ts";
import { sql } from "./sql.ts";

/** Some free pages are good: what is written next uses them. */
const KEPT_SHARE = 0.05;
const KEPT_PAGES = 2_000;
const STEP_PAGES = 200;

/** Gives back what is more than the server will soon use again; PostgreSQL does that by itself. */
export async function freePages(db: Database, signal: AbortSignal): Promise<number> {
  if (db.dialect !== "sqlite") return 0;
  const row = await db.get<{ pages: number; free: number; mode: number }>(sql`
    SELECT p.page_count AS pages, f.freelist_count AS free, v.auto_vacuum AS mode
    FROM pragma_page_count AS p, pragma_freelist_count AS f, pragma_auto_vacuum AS v`);
  // A file that was made before this was known cannot do it.
  if (row === null || row.mode !== 2) return 0;
  const surplus = row.free - Math.max(KEPT_PAGES, Math.floor(row.pages * KEPT_SHARE));
  let freed = 0;
  while (freed < surplus && !signal.aborted) {
    await db.transaction(async (tx) => {
      // The pragma frees one page for each row that is asked for.
      await tx.all(sql`PRAGMA incremental_vacuum(200)`);
    });
    freed += STEP_PAGES;
  }
  return freed;
}
