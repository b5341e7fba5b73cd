/**
 * Which rooms lack members, and since when those are whole that did (MSC3902): asked by every sync, so kept in memory.
 * Whoever changes it says so after the commit.
 */
import type { Db, Tx } from "../storage/database.ts";
import { selectPartialSince } from "../storage/partial_rooms.ts";

/** By numeric id: null for a room whose state lacks members, else the position from which on it is whole. */
export type PartialSince = ReadonlyMap<number, number | null>;

interface Held {
  readonly rooms: PartialSince;
  /** The last position at which a room became whole; infinite while one is not. */
  readonly latest: number;
}

const NONE: PartialSince = new Map();

/** Knows the rooms that were joined without their members. */
export class PartialPositions {
  readonly #db: Db;
  #held: Held | null = null;
  #changes = 0;

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** To be called in each transaction that changes what is known of a room. */
  noteChange(tx: Tx): void {
    tx.afterCommit(() => this.forget());
  }

  /** Has it read again. */
  forget(): void {
    this.#changes++;
    this.#held = null;
  }

  /** Tells whether memory says that no room lacks members, nor has become whole after a position. */
  hasNoneSince(after: number): boolean {
    return this.#held !== null && this.#held.latest <= after;
  }

  /** Returns the rooms whose state lacks members or became whole after a position. */
  async since(after: number): Promise<PartialSince> {
    const { rooms, latest } = this.#held ?? await this.#read();
    if (latest <= after) return NONE;
    return new Map([...rooms].filter(([, position]) => position === null || position > after));
  }

  async #read(): Promise<Held> {
    const changes = this.#changes;
    const rooms = await selectPartialSince(this.#db, 0);
    let latest = 0;
    for (const position of rooms.values()) latest = Math.max(latest, position ?? Infinity);
    const held = { rooms, latest };
    // What was read while it changed may be what was before.
    if (changes === this.#changes) this.#held = held;
    return held;
  }
}
