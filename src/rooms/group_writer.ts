/**
 * Group commit for rooms on PostgreSQL: while one transaction runs, batches of other rooms gather, and the next
 * transaction writes them all. One commit at a time holds the positions of events anyway; so a commit, a wait for the
 * disk and each statement serve many rooms.
 *
 * Only messages take part, since what changes state takes more and may wait for more. When a group fails, nothing of it
 * is written, and each batch is written by itself: a failure stays the one room's. SQLite's transactions share their
 * commits already.
 */
import { DatabaseError } from "../storage/database_error.ts";
import type { RoomBatch } from "./batch.ts";
import type { PendingEvent } from "./pending.ts";
import { persistBatch, type PersistDeps, persistTogether } from "./persist.ts";

/** Bounds how long a transaction takes. */
const MAX_EVENTS = 200;

interface Waiting {
  readonly batch: RoomBatch;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Writes batches, several at once where that is of use. */
export class GroupWriter {
  readonly #deps: PersistDeps;
  readonly #waiting: Waiting[] = [];
  #isWriting = false;

  constructor(deps: PersistDeps) {
    this.#deps = deps;
  }

  /** As `persistBatch`. */
  async write(batch: RoomBatch): Promise<void> {
    if (this.#deps.db.dialect === "sqlite" || !isOfMessages(batch)) return await persistBatch(this.#deps, batch);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ batch, resolve, reject });
    if (!this.#isWriting) this.#writeAll();
    await promise;
  }

  /** Never rejects: everybody who waits is told. */
  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, groupSize(this.#waiting));
      try {
        await persistTogether(this.#deps, group.map(({ batch }) => batch));
        for (const { resolve } of group) resolve();
      } catch (error) {
        // Not waited for: another writer may hold up one of the rooms, but not all others.
        for (const { batch, resolve, reject } of group) this.#writeAlone(batch, error).then(resolve, reject);
      }
    }
    this.#isWriting = false;
  }

  /** Writes a batch of a group that failed. After a loss of the connection nobody knows whether it is written. */
  async #writeAlone(batch: RoomBatch, error: unknown): Promise<void> {
    if (error instanceof DatabaseError && error.kind === "connection") throw error;
    await persistBatch(this.#deps, batch);
  }
}

function groupSize(waiting: readonly Waiting[]): number {
  let events = 0;
  const size = waiting.findIndex(({ batch }) => (events += batch.pending.length) > MAX_EVENTS);
  return size < 0 ? waiting.length : Math.max(1, size);
}

function isOfMessages({ copy, pending, writes }: RoomBatch): boolean {
  return copy !== null && pending.length > 0 && writes.length === 0 && pending.every(isMessage);
}

function isMessage({ stored, missingPrev, wasOutlier, isBackfill, deltas }: PendingEvent): boolean {
  return deltas.isEmpty && missingPrev.length === 0 && !wasOutlier && isBackfill !== true && !stored.isOutlier &&
    stored.event.redacts === null;
}
