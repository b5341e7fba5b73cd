/** When files were last asked for: gathered in memory and written in batches. A crash loses one interval of it. */
import type { Clock } from "../lib/clock.ts";
import type { Database } from "../storage/database.ts";
import { type MediaKey, updateLastAccess } from "../storage/media.ts";

const MAX_PENDING = 10_000;
const BATCH = 500;

/** Notes accesses to media. */
export class MediaLastAccess {
  readonly #db: Database;
  readonly #clock: Clock;
  #pending = new Map<string, MediaKey & { readonly accessTs: number }>();

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Notes an access for the next batch. */
  note({ origin, mediaId }: MediaKey): void {
    const key = `${origin}/${mediaId}`;
    if (this.#pending.size >= MAX_PENDING && !this.#pending.has(key)) return;
    this.#pending.set(key, { origin, mediaId, accessTs: this.#clock.now() });
  }

  /** Writes what was noted; called about once a minute and at shutdown. */
  async flush(): Promise<void> {
    // Sorted, so that two processes lock the rows in the same order.
    const accesses = [...this.#pending].sort(([a], [b]) => a < b ? -1 : 1).map(([, access]) => access);
    this.#pending = new Map();
    for (let start = 0; start < accesses.length; start += BATCH) {
      await this.#db.transaction((tx) => updateLastAccess(tx, accesses.slice(start, start + BATCH)));
    }
  }
}
