/** The transaction of several batches as one of them sees it. */
import type { Tx } from "../storage/database.ts";
import type { Dialect, Sql } from "../storage/sql.ts";
import type { RowWriter } from "../storage/together.ts";

/** Passes everything on, but keeps what is to be done after the commit together. */
export class BatchTx implements Tx {
  readonly dialect: Dialect;
  readonly #tx: Tx;
  readonly #callbacks: (() => void)[] = [];

  constructor(tx: Tx) {
    this.#tx = tx;
    this.dialect = tx.dialect;
  }

  all<Row>(query: Sql): Promise<Row[]> {
    return this.#tx.all<Row>(query);
  }

  get<Row>(query: Sql): Promise<Row | null> {
    return this.#tx.get<Row>(query);
  }

  run(query: Sql): Promise<number> {
    return this.#tx.run(query);
  }

  runMany(queries: readonly Sql[]): Promise<void> {
    return this.#tx.runMany(queries);
  }

  writeTogether<Row>(writer: RowWriter<Row>, rows: readonly Row[]): Promise<void> {
    return this.#tx.writeTogether(writer, rows);
  }

  inOrder(writes: Promise<unknown>): Promise<void> {
    return this.#tx.inOrder(writes);
  }

  afterCommit(callback: () => void): void {
    this.#callbacks.push(callback);
  }

  /** Has what was kept done after the commit, behind what is to be done already. */
  passCallbacks(): void {
    for (const callback of this.#callbacks.splice(0)) this.#tx.afterCommit(callback);
  }
}
