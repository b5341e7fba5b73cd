/**
 * SQLite: one connection that writes and one that reads while a transaction is open, both in the main thread, in WAL
 * mode.
 *
 * Group commit. Write transactions queue. All that have gathered run inside one BEGIN IMMEDIATE … COMMIT, and their
 * callers hear of it after that COMMIT, which is the only point where the disk is waited for. A transaction that throws
 * fails alone, a COMMIT that fails fails everyone in it.
 *
 * Few throw, and a SAVEPOINT makes SQLite keep a copy of each page that a transaction changes. So a batch does without:
 * where one throws, all of the batch is rolled back and runs again, each behind a SAVEPOINT, as do the next batches.
 *
 * Before the BEGIN the event loop gets one turn, so that requests which arrived while the last commit waited for the disk
 * take part in this one. That costs a lone writer up to 100 µs, so while it brings nobody it is tried only now and then.
 */
import { nextTurn } from "../lib/turn.ts";
import type { Database, Tx } from "./database.ts";
import { DatabaseError, sqliteError } from "./database_error.ts";
import type { Sql } from "./sql.ts";
import { SqliteConnection } from "./sqlite_connection.ts";
import { claimSqliteFile, type SqliteClaim } from "./sqlite_file.ts";
import { extendLog } from "./sqlite_log.ts";
import type { RowWriter } from "./together.ts";

/** How many transactions may share a commit: bounds how long the first of them waits. */
const MAX_BATCH = 200;
/** After so many turns of the event loop that brought nobody, only every `PROBE_INTERVAL`th batch waits for one. */
const MAX_FRUITLESS_TURNS = 4;
const PROBE_INTERVAL = 8;
/** So many batches after one that ran twice have savepoints: whoever fails on purpose has little run twice. */
const GUARDED_BATCHES = 64;
/** Some milliseconds of work. */
const STATEMENTS_A_TURN = 500;

interface Job {
  readonly work: (tx: Tx) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface Done {
  readonly job: Job;
  readonly value: unknown;
  readonly callbacks: readonly (() => void)[];
}

/** Where the database is. */
export interface SqliteOptions {
  readonly path: string;
  /** Gives up durability for speed; for tests. */
  readonly unsafe?: boolean;
  /** How long to wait for another process that uses the file, such as the server's former self that is still ending. */
  readonly waitMs?: number;
}

/** Opens the file and claims it for this process. Throws `DatabaseStartupError`. */
export function openSqlite({ path, unsafe = false, waitMs = 0 }: SqliteOptions): SqliteDatabase {
  const synchronous = unsafe ? "OFF" : "FULL";
  const claim = claimSqliteFile(path, { waitMs });
  try {
    const writer = claim.open({ readOnly: false, synchronous });
    const reader = claim.open({ readOnly: true, synchronous });
    if (!unsafe) extendLog(path);
    return new SqliteDatabase({ writer, reader, claim });
  } catch (error) {
    claim.release();
    throw error;
  }
}

/** A database in one file. */
export class SqliteDatabase implements Database {
  readonly dialect = "sqlite";
  readonly #writer: SqliteConnection;
  readonly #reader: SqliteConnection;
  readonly #claim: SqliteClaim;
  #queue: Job[] = [];
  #running: Promise<void> | null = null;
  #isClosed = false;
  /** Turns of the event loop since one brought another transaction. */
  #fruitlessTurns = 0;
  #batches = 0;
  /** How many batches to come have savepoints. */
  #guarded = 0;

  constructor({ writer, reader, claim }: { writer: SqliteConnection; reader: SqliteConnection; claim: SqliteClaim }) {
    this.#writer = writer;
    this.#reader = reader;
    this.#claim = claim;
  }

  // deno-lint-ignore require-await -- throws as a rejection, as the other dialect does
  async all<Row>(query: Sql): Promise<Row[]> {
    return this.#forReading().all<Row>(query, "reads");
  }

  // deno-lint-ignore require-await -- throws as a rejection, as the other dialect does
  async get<Row>(query: Sql): Promise<Row | null> {
    return this.#forReading().get<Row>(query, "reads");
  }

  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(new DatabaseError("connection", "The database is closed"));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#queue.push({ work, resolve: (value) => resolve(value as T), reject });
    this.#running ??= this.#runQueue();
    return promise;
  }

  /** Finishes the transactions that wait, checkpoints and lets the file go. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    while (this.#running !== null) await this.#running;
    this.#reader.close();
    this.#writer.close();
    this.#claim.release();
  }

  /**
   * Between batches the writer reads too: its cached pages stay good, while SQLite drops all that the other connection
   * has cached at every commit.
   */
  #forReading(): SqliteConnection {
    return this.#writer.inTransaction ? this.#reader : this.#writer;
  }

  async #runQueue(): Promise<void> {
    await Promise.resolve();
    try {
      while (this.#queue.length > 0) await this.#runBatch();
    } finally {
      this.#running = null;
    }
  }

  async #runBatch(): Promise<void> {
    if (this.#isWorthGathering()) await this.#gather();
    try {
      this.#writer.command("BEGIN IMMEDIATE");
    } catch (error) {
      for (const job of this.#queue.splice(0)) job.reject(error);
      return;
    }
    const isGuarded = this.#guarded > 0;
    if (isGuarded) this.#guarded--;
    const done: Done[] = [];
    while (done.length < MAX_BATCH) {
      const job = this.#queue.shift();
      if (job === undefined) break;
      const failure = await this.#runJob(job, { done, isGuarded });
      if (failure !== null) return this.#settle(done, failure);
      if (!this.#writer.inTransaction) return;
    }
    this.#settle(done, this.#commit());
  }

  /** Gives the event loop a turn, while no transaction is open: what reads in it has the writer's cached pages. */
  async #gather(): Promise<void> {
    const waiting = this.#queue.length;
    await nextTurn();
    this.#fruitlessTurns = this.#queue.length > waiting ? 0 : this.#fruitlessTurns + 1;
  }

  #isWorthGathering(): boolean {
    this.#batches++;
    return this.#fruitlessTurns < MAX_FRUITLESS_TURNS || this.#batches % PROBE_INTERVAL === 0;
  }

  /** Runs one transaction of the batch. Returns an error only when the whole batch is lost. */
  async #runJob(
    job: Job,
    { done, isGuarded }: { done: Done[]; isGuarded: boolean },
  ): Promise<DatabaseError | null> {
    const tx = new SqliteTx(this.#writer);
    // What is first has nothing before it to keep.
    const isFirst = done.length === 0;
    const hasSavepoint = isGuarded && !isFirst;
    try {
      if (hasSavepoint) this.#writer.command("SAVEPOINT job");
      const value = await job.work(tx);
      tx.end();
      if (hasSavepoint) this.#writer.command("RELEASE job");
      done.push({ job, value, callbacks: tx.callbacks });
      return null;
    } catch (error) {
      tx.end();
      const isLost = !this.#writer.inTransaction;
      if (isLost || isFirst || hasSavepoint) job.reject(error);
      if (isLost) return sqliteError(error);
      try {
        if (hasSavepoint) {
          this.#writer.command("ROLLBACK TO job");
          this.#writer.command("RELEASE job");
        } else {
          this.#writer.command("ROLLBACK");
          if (isFirst) this.#writer.command("BEGIN IMMEDIATE");
          else this.#runAgain([...done.map(({ job }) => job), job]);
        }
        return null;
      } catch (rollbackError) {
        job.reject(error);
        return sqliteError(rollbackError);
      }
    }
  }

  /** Puts the transactions of a batch that was rolled back in front of all others. */
  #runAgain(jobs: readonly Job[]): void {
    this.#queue.unshift(...jobs);
    this.#guarded = GUARDED_BATCHES;
  }

  #commit(): DatabaseError | null {
    try {
      this.#writer.command("COMMIT");
      return null;
    } catch (error) {
      return sqliteError(error);
    }
  }

  #settle(done: readonly Done[], failure: DatabaseError | null): void {
    if (failure !== null) {
      this.#rollBack();
      for (const { job } of done) job.reject(failure);
      return;
    }
    for (const { job, value, callbacks } of done) {
      try {
        for (const callback of callbacks) callback();
        job.resolve(value);
      } catch (error) {
        job.reject(error);
      }
    }
  }

  /** Ends what is left of a lost batch. If that fails too, so does the next BEGIN, and its callers hear of it. */
  #rollBack(): void {
    try {
      if (this.#writer.inTransaction) this.#writer.command("ROLLBACK");
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
    }
  }
}

class SqliteTx implements Tx {
  readonly dialect = "sqlite";
  readonly callbacks: (() => void)[] = [];
  #connection: SqliteConnection | null;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  // deno-lint-ignore require-await -- throws as a rejection
  async all<Row>(query: Sql): Promise<Row[]> {
    return this.#open().all<Row>(query);
  }

  // deno-lint-ignore require-await -- throws as a rejection
  async get<Row>(query: Sql): Promise<Row | null> {
    return this.#open().get<Row>(query);
  }

  // deno-lint-ignore require-await -- throws as a rejection
  async run(query: Sql): Promise<number> {
    return this.#open().run(query);
  }

  async runMany(queries: readonly Sql[]): Promise<void> {
    for (let start = 0; start < queries.length; start += STATEMENTS_A_TURN) {
      if (start > 0) await nextTurn();
      // Another write of the transaction may have failed meanwhile and ended it.
      const connection = this.#open();
      const end = Math.min(queries.length, start + STATEMENTS_A_TURN);
      for (let index = start; index < end; index++) connection.run(queries[index] as Sql);
    }
  }

  writeTogether<Row>({ each }: RowWriter<Row>, rows: readonly Row[]): Promise<void> {
    return this.runMany(rows.map(each));
  }

  async inOrder(writes: Promise<unknown>): Promise<void> {
    await writes;
  }

  afterCommit(callback: () => void): void {
    this.#open();
    this.callbacks.push(callback);
  }

  end(): void {
    this.#connection = null;
  }

  #open(): SqliteConnection {
    if (this.#connection === null) throw new DatabaseError("driver", "The transaction has ended");
    return this.#connection;
  }
}
