/** When a user joined a room: member events that only change a profile do not count. */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { EventStore } from "./event_store.ts";
import type { StateReader } from "./state_reader.ts";
import { parseMembership } from "./visibility.ts";

const CACHED = 20_000;
/** A profile that changed more often than this since the join is followed no further. */
const MAX_STEPS = 1_000;

/** Finds the positions at which users joined. */
export class JoinPositions {
  readonly #events: EventStore;
  readonly #state: StateReader;
  readonly #known = new LruCache<number, number>({ name: "join_positions", maxEntries: CACHED });

  constructor({ events, state }: { events: EventStore; state: StateReader }) {
    this.#events = events;
    this.#state = state;
  }

  /** As `of`, from memory; undefined where it is not there. */
  peek(memberEventNid: number): number | undefined {
    return this.#known.get(memberEventNid);
  }

  /** Returns the position in the events stream of the join that a member event goes back to; 0 when it is unknown. */
  async of(userId: UserId, memberEventNid: number): Promise<number> {
    const known = this.#known.get(memberEventNid);
    if (known !== undefined) return known;
    const position = await this.#search(userId, memberEventNid);
    this.#known.set(memberEventNid, position);
    return position;
  }

  async #search(userId: UserId, memberEventNid: number): Promise<number> {
    let stored = await this.#events.getByNid(memberEventNid);
    for (let step = 0; stored !== null && step < MAX_STEPS; step++) {
      const previous = await this.#state.get(stored.stateBefore ?? 0, "m.room.member", userId);
      if (parseMembership(previous?.event.content.membership) !== "join") break;
      stored = previous;
    }
    return Math.max(stored?.position ?? 0, 0);
  }
}
