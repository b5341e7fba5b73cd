/**
 * When something worth noticing last happened in each room. Spec: MSC4186, `bump_stamp`.
 *
 * Kept in memory from the first time it is asked for, and raised by what is written.
 */
import { LruCache } from "../../lib/lru.ts";
import type { PersistedBatch } from "../../rooms/pending.ts";
import type { Db, Tx } from "../../storage/database.ts";
import { selectLastPositionOfTypes } from "../../storage/sliding_sync.ts";
import { MAX_POSITION } from "../../storage/timeline.ts";

const BUMP_TYPES: readonly string[] = [
  "m.room.create",
  "m.room.message",
  "m.room.encrypted",
  "m.sticker",
  "m.call.invite",
  "m.poll.start",
  "org.matrix.msc3381.poll.start",
  "m.beacon_info",
  "org.matrix.msc3672.beacon_info",
];
const BUMPS: ReadonlySet<string> = new Set(BUMP_TYPES);
const CACHED_ROOMS = 50_000;

/** Knows the stamps: positions of the events stream. */
export class BumpStamps {
  readonly #db: Db;
  readonly #known = new LruCache<number, number>({ name: "sliding_bump_stamps", maxEntries: CACHED_ROOMS });
  /** Counts what was written, so that a reading that raced with it is not kept. */
  #writes = 0;

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** The engine's handler: raises the stamp of a room after the commit. */
  readonly onPersist = (tx: Tx, { room: { roomNid }, events }: PersistedBatch): Promise<void> => {
    let stamp = 0;
    for (const { stored: { event, position, isRejected, isSoftFailed } } of events) {
      if (BUMPS.has(event.type) && position !== null && !isRejected && !isSoftFailed) stamp = Math.max(stamp, position);
    }
    if (stamp > 0) {
      tx.afterCommit(() => {
        this.#writes++;
        const known = this.#known.peek(roomNid);
        if (known !== undefined && stamp > known) this.#known.set(roomNid, stamp);
      });
    }
    return Promise.resolve();
  };

  /** Returns the stamp of a room; 0 when nothing of the kind is known of it. */
  async of(roomNid: number): Promise<number> {
    const known = this.#known.get(roomNid);
    if (known !== undefined) return known;
    const writes = this.#writes;
    const found = await selectLastPositionOfTypes(this.#db, { roomNid, types: BUMP_TYPES, upTo: MAX_POSITION });
    const stamp = Math.max(found ?? 0, 0);
    if (writes === this.#writes) this.#known.set(roomNid, stamp);
    return stamp;
  }
}
