/** One connection to an SQLite file: prepared statements by text, rows in the form `Database` promises. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { assertStorableText, DatabaseError, sqliteError } from "./database_error.ts";
import { renderSql, type Sql, SqlList, type SqlValue } from "./sql.ts";
import { CHECKPOINT_PAGES } from "./sqlite_log.ts";

const CACHED_STATEMENTS = 1000;
/** What makes a statement write, outside quotes. */
const WRITES = /\b(?:INSERT|UPDATE|DELETE|REPLACE INTO|CREATE|DROP|ALTER)\b/i;
const QUOTED = /'[^']*'/g;
/**
 * Of the file, in KiB: most of it for the connection that writes, for what the other one has cached is worth nothing after
 * the next commit. More would hold what the system has in its cache of files too, and on a small machine take it away.
 */
const CACHE_KIB = { writes: 32_768, readsOnly: 16_384 } as const;

interface Prepared {
  readonly statement: StatementSync;
  readonly mayWrite: boolean;
  /** Names of the result columns that hold booleans, known after the first use. */
  booleans: readonly string[] | null;
}

/** How to open a file. */
export interface SqliteConnectionOptions {
  readonly readOnly: boolean;
  /** `PRAGMA synchronous`; FULL unless durability is of no interest, as in tests. */
  readonly synchronous: "FULL" | "OFF";
}

/** A connection. All its methods throw `DatabaseError`. */
export class SqliteConnection {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, Prepared>();

  constructor(path: string, { readOnly, synchronous }: SqliteConnectionOptions) {
    this.#db = new DatabaseSync(path, { readOnly, timeout: 5000 });
    try {
      // Only a file without tables takes it: free pages can be given back to the disk then, some at a time.
      if (!readOnly) this.#db.exec("PRAGMA auto_vacuum = INCREMENTAL");
      if (!readOnly) this.#db.exec("PRAGMA journal_mode = WAL");
      if (!readOnly) this.#db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
      this.#db.exec(`PRAGMA synchronous = ${synchronous}`);
      this.#db.exec("PRAGMA foreign_keys = ON");
      this.#db.exec(`PRAGMA cache_size = -${readOnly ? CACHE_KIB.readsOnly : CACHE_KIB.writes}`);
      this.#db.exec("PRAGMA temp_store = MEMORY");
      this.#db.exec("PRAGMA journal_size_limit = 67108864");
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Whether a transaction is open. SQLite ends one by itself on errors such as a full disk. */
  get inTransaction(): boolean {
    return this.#db.isTransaction;
  }

  /** Returns all rows. With `reads`, refuses a statement that writes: a connection for both cannot do it by itself. */
  all<Row>(query: Sql, purpose?: "reads"): Row[] {
    const { text, values } = renderSql(query, "sqlite");
    try {
      const prepared = this.#prepare(text, purpose);
      const rows = prepared.statement.all(...bind(values)) as Record<string, unknown>[];
      const booleans = prepared.booleans ??= booleanColumns(prepared.statement);
      if (booleans.length > 0) { for (const row of rows) toBooleans(row, booleans); }
      return rows as Row[];
    } catch (error) {
      throw sqliteError(error);
    }
  }

  /** Returns the first row, or null; `reads` as above. */
  get<Row>(query: Sql, purpose?: "reads"): Row | null {
    const { text, values } = renderSql(query, "sqlite");
    try {
      const prepared = this.#prepare(text, purpose);
      const row = prepared.statement.get(...bind(values)) as Record<string, unknown> | undefined;
      if (row === undefined) return null;
      const booleans = prepared.booleans ??= booleanColumns(prepared.statement);
      if (booleans.length > 0) toBooleans(row, booleans);
      return row as Row;
    } catch (error) {
      throw sqliteError(error);
    }
  }

  /** Runs one statement and returns the number of rows changed. */
  run(query: Sql): number {
    const { text, values } = renderSql(query, "sqlite");
    try {
      return Number(this.#prepare(text).statement.run(...bind(values)).changes);
    } catch (error) {
      throw sqliteError(error);
    }
  }

  /** Runs a statement without parameters, prepared as all others. */
  command(text: string): void {
    try {
      this.#prepare(text).statement.run();
    } catch (error) {
      throw sqliteError(error);
    }
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #prepare(text: string, purpose?: "reads"): Prepared {
    const prepared = this.#statements.get(text) ?? this.#prepareNew(text);
    if (purpose === "reads" && prepared.mayWrite) throw new DatabaseError("driver", "Writing needs a transaction");
    return prepared;
  }

  #prepareNew(text: string): Prepared {
    if (this.#statements.size >= CACHED_STATEMENTS) {
      const oldest = this.#statements.keys().next();
      if (!oldest.done) this.#statements.delete(oldest.value);
    }
    const prepared: Prepared = {
      statement: this.#db.prepare(text),
      mayWrite: WRITES.test(text.replace(QUOTED, "")),
      booleans: null,
    };
    this.#statements.set(text, prepared);
    return prepared;
  }
}

function bind(values: (SqlValue | SqlList)[]): SQLInputValue[] {
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (typeof value === "string") assertStorableText(value);
    else if (typeof value === "boolean") values[index] = value ? 1 : 0;
    else if (value instanceof SqlList) values[index] = listText(value.items);
  }
  return values as SQLInputValue[];
}

function listText(items: SqlList["items"]): string {
  for (const item of items) if (typeof item === "string") assertStorableText(item);
  return JSON.stringify(items);
}

/** Columns declared BOOLEAN, and expressions whose name says so: PostgreSQL knows the type of those by itself. */
function booleanColumns(statement: StatementSync): readonly string[] {
  return statement.columns()
    .filter(({ type, name }) => type === "BOOLEAN" || (type === null && /^(is|has|can)_/.test(name)))
    .map(({ name }) => name);
}

function toBooleans(row: Record<string, unknown>, columns: readonly string[]): void {
  for (const column of columns) {
    const value = row[column];
    if (value !== null) row[column] = value !== 0;
  }
}
