/**
 * The database as the rest of the server sees it: one asynchronous interface over SQLite and PostgreSQL.
 *
 * Reads outside a transaction see what is committed. Writes happen in `transaction` only, whose promise resolves after
 * the commit is durable. Rows come back normalized: integers as numbers, booleans as booleans (columns are declared
 * BOOLEAN), bytes as Uint8Array.
 */
import type { Dialect, Sql } from "./sql.ts";
import type { RowWriter } from "./together.ts";

/** A handle for reading. */
export interface Db {
  readonly dialect: Dialect;
  /** Returns all rows. The query must bound them with a LIMIT or by its key. */
  all<Row>(query: Sql): Promise<Row[]>;
  /** Returns the first row, or null. */
  get<Row>(query: Sql): Promise<Row | null>;
}

/** A write transaction. Throws on use once it has ended. */
export interface Tx extends Db {
  /** Runs one statement and returns the number of rows it changed. */
  run(query: Sql): Promise<number>;
  /** Runs statements in order without waiting in between: pipelined on PostgreSQL. */
  runMany(queries: readonly Sql[]): Promise<void>;
  /**
   * Writes rows that nothing else in the same turn of the microtask queue writes, in any order. What is given in one such
   * turn goes to PostgreSQL together, the rows of a writer as one statement and the statements as one, behind what was
   * sent before and in front of what comes after.
   */
  writeTogether<Row>(writer: RowWriter<Row>, rows: readonly Row[]): Promise<void>;
  /**
   * Resolves when what comes after these writes will be executed after them; should they fail, the transaction does. That
   * is when they are done on SQLite and at once on PostgreSQL, where the COMMIT may then follow in the same round trip.
   */
  inOrder(writes: Promise<unknown>): Promise<void>;
  /** Calls `callback` after the commit, in the order registered; never when the transaction fails. */
  afterCommit(callback: () => void): void;
}

/** The server's database. */
export interface Database extends Db, AsyncDisposable {
  /**
   * Runs `work` in a write transaction and resolves with its result once that is committed.
   *
   * SQLite: transactions run one after another, several sharing one commit (group commit). PostgreSQL: READ COMMITTED.
   * `work` runs again where it has to: there after a serialization failure or a deadlock, on SQLite when another one that
   * shares the commit throws. So it must have no effect but through `tx`.
   */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
}
