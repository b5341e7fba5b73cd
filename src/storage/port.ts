/**
 * Copies a whole database into an empty one, of the other dialect or the same.
 *
 * How far each table has come is written in the transaction that holds its rows, so a port that was killed goes on where
 * it stopped. While it is not complete the target is marked, and no server starts on it. At the end both sides must have
 * the same rows: the source is summed up while it is read, the target is read again.
 */
import { type CatalogTable, listTables } from "./catalog.ts";
import type { Database, Tx } from "./database.ts";
import { DatabaseStartupError } from "./database_error.ts";
import { PORT_MARK, selectServerMeta } from "./server_meta.ts";
import { raw, Sql, sql, type SqlValue } from "./sql.ts";
import { addToSum, EMPTY_SUM, quote, sumTable, TableStatements, type TableSum } from "./table_copy.ts";

/** Told of what happens, for a person who waits. */
export interface PortProgress {
  /** What is done: copying, then comparing. */
  begin(phase: "copy" | "compare", totalRows: number): void;
  rows(table: string, count: number): void;
}

/** What is copied, from where to where. */
export interface PortOptions {
  readonly source: Database;
  readonly target: Database;
  /** Rows a transaction. */
  readonly batch: number;
  readonly progress: PortProgress;
}

/** What a port has done. */
export interface PortResult {
  readonly tables: number;
  readonly rows: number;
}

interface TableState {
  readonly lastKey: readonly SqlValue[] | null;
  readonly sum: TableSum;
  readonly isDone: boolean;
}

/** Copies what is missing and compares. Throws `DatabaseStartupError` with a sentence for the operator. */
export async function portDatabase(options: PortOptions): Promise<PortResult> {
  const { source, target, progress } = options;
  const tables = await commonTables(source, target);
  await begin(options, tables);
  progress.begin("copy", await countAll(source, tables));
  for (const table of tables) await copyTable(options, new TableStatements(table));
  const rows = await compare(options, tables);
  await finish(target);
  return { tables: tables.length, rows };
}

async function commonTables(source: Database, target: Database): Promise<CatalogTable[]> {
  const [from, to] = [await listTables(source), await listTables(target)];
  const describe = (tables: readonly CatalogTable[]) =>
    JSON.stringify(tables.map(({ name, columns }) => [name, [...columns].sort()]));
  if (describe(from) !== describe(to)) {
    throw new DatabaseStartupError(
      "The two databases have different tables; bring both to this version of the program",
    );
  }
  return from;
}

async function begin({ source, target }: PortOptions, tables: readonly CatalogTable[]): Promise<void> {
  const fingerprint = await fingerprintOf(source);
  const mark = await selectServerMeta(target, PORT_MARK);
  if (mark !== null) {
    if (mark === fingerprint) return;
    throw new DatabaseStartupError(
      "The source has changed since this port was begun, or is another one: begin again with an empty database",
    );
  }
  for (const name of ["server_meta", "users", "rooms", "events"]) {
    if (await countRows(target, name) > 0) {
      throw new DatabaseStartupError(`The database to copy to is not empty: its table ${name} has rows`);
    }
  }
  await target.transaction(async (tx) => {
    await tx.run(sql`
      CREATE TABLE port_progress (
        table_name TEXT NOT NULL PRIMARY KEY, last_key TEXT, row_count BIGINT NOT NULL, row_sum TEXT NOT NULL,
        is_done BOOLEAN NOT NULL
      )`);
    await tx.run(sql`INSERT INTO server_meta (name, value) VALUES (${PORT_MARK}, ${fingerprint})`);
    // What a new database has in its tables would be in the way.
    for (const { name } of tables) if (name !== "server_meta") await tx.run(sql`DELETE FROM ${raw(quote(name))}`);
  });
}

/** What changes whenever a server writes. */
async function fingerprintOf(source: Database): Promise<string> {
  const positions = await source.all<{ stream: string; position: number }>(sql`
    SELECT stream, position FROM stream_positions ORDER BY stream LIMIT 1000`);
  return JSON.stringify([
    await selectServerMeta(source, "server_name"),
    ...positions.map(({ stream, position }) => `${stream}=${position}`),
  ]);
}

async function countAll(db: Database, tables: readonly CatalogTable[]): Promise<number> {
  let total = 0;
  for (const { name } of tables) total += await countRows(db, name);
  return total;
}

async function countRows(db: Database, table: string): Promise<number> {
  const row = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM ${raw(quote(table))}`);
  return row?.n ?? 0;
}

async function copyTable({ source, target, batch, progress }: PortOptions, statements: TableStatements): Promise<void> {
  const { name } = statements.table;
  let { lastKey, sum, isDone } = await selectState(target, name);
  progress.rows(name, sum.rows);
  const limit = Math.min(batch, statements.maxRows);
  while (!isDone) {
    const rows = await statements.read(source, { after: lastKey, limit });
    const last = rows.at(-1);
    const next = addToSum(sum, { table: statements.table, added: rows });
    isDone = rows.length < limit;
    lastKey = last === undefined ? lastKey : statements.keyOf(last);
    const state = { lastKey, sum: next, isDone };
    await target.transaction(async (tx) => {
      await statements.insert(tx, rows);
      await upsertState(tx, { name, state });
    });
    sum = next;
    progress.rows(name, rows.length);
  }
}

async function selectState(db: Database, name: string): Promise<TableState> {
  const row = await db.get<{ last_key: string | null; row_count: number; row_sum: string; is_done: boolean }>(sql`
    SELECT last_key, row_count, row_sum, is_done FROM port_progress WHERE table_name = ${name}`);
  if (row === null) return { lastKey: null, sum: EMPTY_SUM, isDone: false };
  return {
    lastKey: row.last_key === null ? null : JSON.parse(row.last_key),
    sum: { rows: row.row_count, sum: row.row_sum },
    isDone: row.is_done,
  };
}

async function upsertState(tx: Tx, { name, state }: { name: string; state: TableState }): Promise<void> {
  const { lastKey, sum, isDone } = state;
  const key = lastKey === null ? null : JSON.stringify(lastKey);
  await tx.run(sql`
    INSERT INTO port_progress (table_name, last_key, row_count, row_sum, is_done)
    VALUES (${name}, ${key}, ${sum.rows}, ${sum.sum}, ${isDone})
    ON CONFLICT (table_name) DO UPDATE SET last_key = excluded.last_key, row_count = excluded.row_count,
      row_sum = excluded.row_sum, is_done = excluded.is_done`);
}

async function compare(
  { source, target, batch, progress }: PortOptions,
  tables: readonly CatalogTable[],
): Promise<number> {
  let total = 0;
  progress.begin("compare", await countAll(target, tables));
  for (const table of tables) {
    const { sum: copied } = await selectState(target, table.name);
    const statements = new TableStatements(table);
    const found = table.name === "server_meta" ? await sumMeta(target, statements) : await sumTable(target, {
      statements,
      batch,
      onRows: (rows) => progress.rows(table.name, rows),
    });
    const present = await countRows(source, table.name);
    if (copied.rows !== found.rows || copied.sum !== found.sum || present !== found.rows) {
      throw new DatabaseStartupError(
        `The table ${table.name} is not the same on both sides (${present} rows here, ${found.rows} copied): ` +
          "was a server running? Begin again with an empty database",
      );
    }
    total += found.rows;
  }
  return total;
}

/** The mark of the port itself is no part of the copy. */
async function sumMeta(target: Database, statements: TableStatements): Promise<TableSum> {
  const rows = await statements.read(target, { after: null, limit: 10_000 });
  return addToSum(EMPTY_SUM, {
    table: statements.table,
    added: rows.filter(({ name }) => name !== PORT_MARK),
  });
}

async function finish(target: Database): Promise<void> {
  await target.transaction(async (tx) => {
    // The index of messages is made anew by the server, from the start.
    await tx.run(sql`DELETE FROM consumer_cursors WHERE consumer IN ('search', 'search_backfill')`);
    await tx.run(sql`DELETE FROM server_meta WHERE name = ${PORT_MARK}`);
    await tx.run(sql`DROP TABLE port_progress`);
    await tx.run(new Sql(["ANALYZE"], []));
  });
}
