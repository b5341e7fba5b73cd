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
  /** Ids leased and not given out. */
  readonly #blocks: { next: number; readonly end: number }[] = [];
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

  /** Returns an id, waiting for a lease if need be. Not to be awaited inside a transaction: the lease is one itself. */
  async next(): Promise<number> {
    for (;;) {
      const id = this.tryNext();
      if (id !== null) return id;
      await this.#waitForLease(1);
    }
  }

  /** Returns an id if one is in memory, else null. */
  tryNext(): number | null {
    const block = this.#blocks[0];
    if (block === undefined) return null;
    const id = block.next++;
    if (block.next === block.end) this.#blocks.shift();
    this.#available--;
    this.#prefetch();
    return id;
  }

  /** Returns several ids, not always in a row. Not to be awaited inside a transaction. */
  async take(count: number): Promise<number[]> {
    const ids: number[] = [];
    while (ids.length < count) {
      const id = this.tryNext();
      if (id !== null) ids.push(id);
      else await this.#waitForLease(count - ids.length);
    }
    return ids;
  }

  async #waitForLease(count: number): Promise<void> {
    await (this.#leasing ??= this.#lease(count));
  }

  /** Leases the next block before this one is used up. A failure shows again when somebody waits for an id. */
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
      this.#blocks.push({ next: row.next_id - size, end: row.next_id });
      this.#available += size;
    } finally {
      this.#leasing = null;
    }
  }
}
