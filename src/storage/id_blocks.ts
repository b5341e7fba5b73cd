/**
 * Numeric ids, handed out in memory from blocks that are leased in the database.
 *
 * A block is leased in a transaction of its own, so an id is never given twice, by this process or another, whatever
 * becomes of the transaction that uses it. Ids that were leased and not used are lost, which does no harm.
 */
import type { Database } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import { sql } from "./sql.ts";

/** What ids are for. */
export type IdSequence = "event" | "room" | "state_key" | "state_node";

const DEFAULT_BLOCK_SIZE = 1000;

/** Hands out the ids of one sequence. */
export class IdAllocator {
  readonly #db: Database;
  readonly #sequence: IdSequence;
  readonly #blockSize: number;
  #next = 0;
  #end = 0;
  /** Blocks leased and not begun. */
  #blocks: { readonly first: number; readonly end: number }[] = [];
  #available = 0;
  #leasing: Promise<void> | null = null;

  constructor({ db, sequence, blockSize = DEFAULT_BLOCK_SIZE }: {
    db: Database;
    sequence: IdSequence;
    blockSize?: number;
  }) {
    this.#db = db;
    this.#sequence = sequence;
    this.#blockSize = blockSize;
  }

  /** How many ids `take` would give at once. */
  get available(): number {
    return this.#available;
  }

  /**
   * Makes sure that `count` ids are at hand, so that `take` may be called that often before anything is awaited. Not to
   * be awaited inside a transaction: on SQLite the lease would wait for that transaction.
   */
  async reserve(count: number): Promise<void> {
    while (this.#available < count) await (this.#leasing ??= this.#lease(count - this.#available));
    this.#prefetch();
  }

  /** Returns an id. Throws when none was reserved. */
  take(): number {
    if (this.#next === this.#end) {
      const block = this.#blocks.shift();
      if (block === undefined) throw new DatabaseError("driver", `No ids of ${this.#sequence} are reserved`);
      this.#next = block.first;
      this.#end = block.end;
    }
    this.#available--;
    return this.#next++;
  }

  /** Returns an id, waiting for a new block if need be. Not to be awaited inside a transaction. */
  async next(): Promise<number> {
    await this.reserve(1);
    return this.take();
  }

  /** Leases the next block before the current one is used up; a failure shows when somebody waits for it. */
  #prefetch(): void {
    if (this.#leasing !== null || this.#available > this.#blockSize / 4) return;
    this.#leasing = this.#lease(this.#blockSize);
    this.#leasing.catch(() => {});
  }

  async #lease(count: number): Promise<void> {
    const size = Math.max(count, this.#blockSize);
    try {
      const row = await this.#db.transaction((tx) =>
        tx.get<{ next_id: number }>(sql`
          UPDATE id_blocks SET next_id = next_id + ${size} WHERE sequence = ${this.#sequence} RETURNING next_id`)
      );
      if (row === null) throw new DatabaseError("driver", `Sequence ${this.#sequence} has no row`);
      this.#blocks.push({ first: row.next_id - size, end: row.next_id });
      this.#available += size;
    } finally {
      this.#leasing = null;
    }
  }
}
