/**
 * A transaction on a connection to PostgreSQL. Each answer that is waited for costs a round trip, and what it has locked
 * stays locked meanwhile: so BEGIN goes out in front of the first statement, rows that are written at the same time go
 * together, and COMMIT follows the last writes without waiting for their answers.
 */
import { waitForAll } from "../lib/wait_for_all.ts";
import type { Tx } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import { bindStatement, type PostgresConnection } from "./postgres_connection.ts";
import type { Sql } from "./sql.ts";
import { joinStatements, type RowWriter, statementsFor } from "./together.ts";

/** Runs `work` and commits. */
export async function runTransaction<T>(
  connection: PostgresConnection,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  const tx = new PostgresTx(connection);
  let value: T;
  try {
    value = await work(tx);
    await tx.commit();
  } catch (error) {
    tx.end();
    if (tx.hasBegun && !connection.isLost) await connection.command("ROLLBACK").catch(() => {});
    throw error;
  }
  for (const callback of tx.callbacks) callback();
  return value;
}

/** Rows that are about to be sent together, by how they are written. */
interface Gathered {
  readonly rows: Map<RowWriter<unknown>, unknown[]>;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

class PostgresTx implements Tx {
  readonly dialect = "postgres";
  readonly callbacks: (() => void)[] = [];
  readonly #connection: PostgresConnection;
  #begin: Promise<unknown> | null = null;
  #gathered: Gathered | null = null;
  #hasEnded = false;
  /** Writes whose answers only the commit waits for. */
  readonly #unanswered: Promise<unknown>[] = [];
  /** Why a statement could not be sent: a COMMIT would keep what the others did. */
  #unsent: { readonly error: unknown } | null = null;

  constructor(connection: PostgresConnection) {
    this.#connection = connection;
  }

  get hasBegun(): boolean {
    return this.#begin !== null;
  }

  async all<Row>(query: Sql): Promise<Row[]> {
    return await this.#query(query) as unknown as Row[];
  }

  async get<Row>(query: Sql): Promise<Row | null> {
    const rows = await this.#query(query);
    return rows[0] as Row | undefined ?? null;
  }

  async run(query: Sql): Promise<number> {
    return (await this.#query(query)).count;
  }

  async runMany(queries: readonly Sql[]): Promise<void> {
    await waitForAll(queries.map((query) => this.#query(query)));
  }

  writeTogether<Row>(writer: RowWriter<Row>, rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return Promise.resolve();
    this.#gathered ??= this.#gather();
    const all = this.#gathered.rows;
    const key = writer as RowWriter<unknown>;
    const before = all.get(key);
    if (before === undefined) all.set(key, [...rows]);
    else for (const row of rows) before.push(row);
    return this.#gathered.done;
  }

  inOrder(writes: Promise<unknown>): Promise<void> {
    this.#unanswered.push(writes);
    // The commit hears of it.
    writes.catch(() => {});
    return Promise.resolve();
  }

  afterCommit(callback: () => void): void {
    this.#assertOpen();
    this.callbacks.push(callback);
  }

  /** Sends the COMMIT. When a statement before it fails, PostgreSQL takes it for a ROLLBACK. */
  async commit(): Promise<void> {
    this.#sendGathered(this.#gathered);
    this.end();
    if (this.#unsent !== null) throw this.#unsent.error;
    const tag = this.#begin === null ? Promise.resolve("COMMIT") : this.#connection.command("COMMIT");
    await waitForAll([...this.#unanswered, tag]);
    if (await tag !== "COMMIT") throw new DatabaseError("driver", "The transaction failed before its end");
  }

  end(): void {
    this.#hasEnded = true;
  }

  #gather(): Gathered {
    const { promise: done, resolve, reject } = Promise.withResolvers<void>();
    const gathered: Gathered = { rows: new Map(), done, resolve, reject };
    queueMicrotask(() => this.#sendGathered(gathered));
    return gathered;
  }

  #sendGathered(gathered: Gathered | null): void {
    if (gathered === null || gathered !== this.#gathered) return;
    this.#gathered = null;
    const statements = [...gathered.rows].flatMap(([writer, rows]) => statementsFor(writer, rows));
    this.runMany(joinStatements(statements)).then(gathered.resolve, gathered.reject);
  }

  #query(query: Sql): ReturnType<PostgresConnection["query"]> {
    this.#sendGathered(this.#gathered);
    this.#assertOpen();
    try {
      const statement = bindStatement(query);
      this.#begin ??= this.#sendBegin();
      return this.#connection.send(statement);
    } catch (error) {
      this.#unsent ??= { error };
      return Promise.reject(error);
    }
  }

  #sendBegin(): Promise<unknown> {
    const begin = this.#connection.command("BEGIN");
    begin.catch(() => {});
    return begin;
  }

  #assertOpen(): void {
    if (this.#hasEnded) throw new DatabaseError("driver", "The transaction has ended");
  }
}
