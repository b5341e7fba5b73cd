/** What `doctor` asks the database about itself. */
import type { Db } from "./database.ts";
import { PORT_MARK, selectServerMeta } from "./server_meta.ts";
import { sql } from "./sql.ts";

/** What a database says of itself. */
export interface ServerFacts {
  /** Name and version of the program. */
  readonly version: string;
  readonly bytes: number;
  /** The last step of the schema. */
  readonly schema: string;
  readonly serverName: string | null;
  /** Null on SQLite, which compares bytes. */
  readonly locale: string | null;
  readonly unfinishedPort: boolean;
}

/** Reads them. */
export async function selectServerFacts(db: Db): Promise<ServerFacts> {
  const schema = await db.get<{ name: string }>(sql`SELECT name FROM schema_migrations ORDER BY name DESC LIMIT 1`);
  const common = {
    schema: schema?.name ?? "none",
    serverName: await selectServerMeta(db, "server_name"),
    unfinishedPort: await selectServerMeta(db, PORT_MARK) !== null,
  };
  if (db.dialect === "sqlite") {
    const row = await db.get<{ version: string; bytes: number }>(sql`
      SELECT sqlite_version() AS version, pages.page_count * sizes.page_size AS bytes
      FROM pragma_page_count AS pages, pragma_page_size AS sizes`);
    return { ...common, version: `SQLite ${row?.version}`, bytes: row?.bytes ?? 0, locale: null };
  }
  const row = await db.get<{ version: string; bytes: number; collation: string; ctype: string }>(sql`
    SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes,
      datcollate::TEXT AS collation, datctype::TEXT AS ctype
    FROM pg_database WHERE datname = current_database()`);
  const locale = row === null || row.collation === row.ctype ? row?.collation ?? null : `${row.collation}/${row.ctype}`;
  return { ...common, version: `PostgreSQL ${row?.version}`, bytes: row?.bytes ?? 0, locale };
}

/** How many pushers there are, and the gateways that do not answer, those with most pushers first. */
export async function selectPushTrouble(
  db: Db,
): Promise<{ pushers: number; failing: readonly { url: string; count: number }[] }> {
  const all = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM pushers`);
  const rows = await db.all<{ data: string; n: number }>(sql`
    SELECT data, COUNT(*) AS n FROM pushers WHERE failing_since IS NOT NULL
    GROUP BY data ORDER BY n DESC LIMIT 10`);
  const failing = rows.map(({ data, n }) => ({
    url: String(JSON.parse(data).url ?? "the mail server").slice(0, 200),
    count: n,
  }));
  return { pushers: all?.n ?? 0, failing };
}

/** What part of the events came after a time, and when the first one came. */
export interface Growth {
  /** From 0 to 1. */
  readonly part: number;
  readonly firstTs: number;
}

/**
 * Estimates how much is new, by the numbers of events, which count up as they arrive: a few reads, however many there
 * are. Null where there are none.
 */
export async function selectGrowth(db: Db, since: number): Promise<Growth | null> {
  const ends = await db.get<{ first: number | null; last: number | null }>(sql`
    SELECT (SELECT MIN(event_nid) FROM events) AS first, (SELECT MAX(event_nid) FROM events) AS last`);
  const { first, last } = ends ?? { first: null, last: null };
  if (first === null || last === null) return null;
  const arrival = async (nid: number) =>
    (await db.get<{ ts: number }>(sql`
      SELECT received_ts AS ts FROM events WHERE event_nid >= ${nid} ORDER BY event_nid LIMIT 1`))?.ts ?? Infinity;
  let [low, high] = [first, last + 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await arrival(middle) >= since) high = middle;
    else low = middle + 1;
  }
  return { part: (last + 1 - low) / (last + 1 - first), firstTs: await arrival(first) };
}
