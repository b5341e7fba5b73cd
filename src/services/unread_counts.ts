/**
 * How much is unread in a room. Spec: client-server API, "Receiving notifications" and "Threaded read receipts".
 *
 * A count goes over all that is unread, so it is kept: the next one only adds what came since, unless the user read
 * something or an event that counted was redacted.
 */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { countNotifications } from "../storage/notifications.ts";
import { selectReceiptsOfUser } from "../storage/receipts.ts";

/** How much is unread, and how much of it deserves attention. */
export interface UnreadCount {
  readonly notify: number;
  readonly highlight: number;
}

/** Unread counts of a room for a user. */
export interface UnreadCounts {
  /** Outside of threads. */
  readonly main: UnreadCount;
  /** By thread root. */
  readonly threads: ReadonlyMap<string, UnreadCount>;
}

/** What to count. */
export interface UnreadQuery {
  readonly userId: UserId;
  readonly roomNid: number;
  /** Nothing before it counts. */
  readonly joinedAt: number;
  readonly upTo: number;
}

/** Up to where a user has read. */
interface ReadPositions {
  readonly floor: number;
  /** By thread, where it is beyond the floor; `""` is the main timeline. */
  readonly threads: ReadonlyMap<string, number>;
  readonly highest: number;
  /** Equal for equal positions. */
  readonly mark: string;
}

interface Held {
  readonly mark: string;
  readonly generation: number;
  readonly upTo: number;
  readonly counts: ReadonlyMap<string, UnreadCount>;
}

const CACHED_COUNTS = 20_000;
const CACHED_GENERATIONS = 10_000;
const NOTHING: UnreadCount = { notify: 0, highlight: 0 };

/** Counts. */
export class UnreadCounter {
  readonly #db: Db;
  readonly #held = new LruCache<string, Held>({ maxEntries: CACHED_COUNTS });
  /** Raised when something that may have been counted is gone. */
  readonly #generations = new LruCache<number, number>({ maxEntries: CACHED_GENERATIONS });
  #nextGeneration = 1;

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** Counts what is unread for a user up to a position. */
  async count({ userId, roomNid, joinedAt, upTo }: UnreadQuery): Promise<UnreadCounts> {
    const generation = this.#generationOf(roomNid);
    const read = readPositions(await selectReceiptsOfUser(this.#db, { roomNid, userId }), joinedAt);
    const key = `${roomNid} ${userId}`;
    const held = this.#held.get(key);
    const isUsable = held !== undefined && held.mark === read.mark && held.generation === generation &&
      held.upTo <= upTo && read.highest <= held.upTo;
    if (isUsable && held.upTo === upTo) return toCounts(held.counts);
    const counts = isUsable
      ? await this.#add(held, { userId, roomNid, upTo })
      : await this.#countAll(read, { userId, roomNid, upTo });
    this.#held.set(key, { mark: read.mark, generation, upTo, counts });
    return toCounts(counts);
  }

  /** Returns the position up to which a user has read the main timeline (`""`) or a thread of a room they are in. */
  async readUpTo(
    { userId, roomNid, joinedAt, threadId }: Omit<UnreadQuery, "upTo"> & { threadId: string },
  ): Promise<number> {
    const read = readPositions(await selectReceiptsOfUser(this.#db, { roomNid, userId }), joinedAt);
    return read.threads.get(threadId) ?? read.floor;
  }

  /** Forgets what was counted in a room: an event that may have counted does so no more. */
  forgetRoom(roomNid: number): void {
    this.#generations.set(roomNid, this.#nextGeneration++);
  }

  #generationOf(roomNid: number): number {
    const known = this.#generations.get(roomNid);
    if (known !== undefined) return known;
    // A number of its own, so that a generation that fell out of the cache never comes again.
    const generation = this.#nextGeneration++;
    this.#generations.set(roomNid, generation);
    return generation;
  }

  async #add(
    held: Held,
    range: { userId: UserId; roomNid: number; upTo: number },
  ): Promise<ReadonlyMap<string, UnreadCount>> {
    const news = await countNotifications(this.#db, { ...range, after: held.upTo });
    if (news.length === 0) return held.counts;
    const counts = new Map(held.counts);
    for (const { threadId, notify, highlight } of news) {
      const old = counts.get(threadId) ?? NOTHING;
      counts.set(threadId, { notify: old.notify + notify, highlight: old.highlight + highlight });
    }
    return counts;
  }

  async #countAll(
    { floor, threads }: ReadPositions,
    range: { userId: UserId; roomNid: number; upTo: number },
  ): Promise<ReadonlyMap<string, UnreadCount>> {
    const counts = new Map<string, UnreadCount>();
    for (const { threadId, ...count } of await countNotifications(this.#db, { ...range, after: floor })) {
      const readTo = threads.get(threadId);
      if (readTo === undefined) counts.set(threadId, count);
      else {
        const [rest] = await countNotifications(this.#db, { ...range, after: readTo, threadId });
        if (rest !== undefined) counts.set(threadId, rest);
      }
    }
    return counts;
  }
}

function readPositions(
  receipts: readonly { threadId: string; eventPosition: number | null }[],
  joinedAt: number,
): ReadPositions {
  let floor = joinedAt;
  let highest = joinedAt;
  const all = new Map<string, number>();
  for (const { threadId, eventPosition } of receipts) {
    if (eventPosition === null) continue;
    highest = Math.max(highest, eventPosition);
    if (threadId === "") floor = Math.max(floor, eventPosition);
    else {
      const thread = threadId === "main" ? "" : threadId;
      all.set(thread, Math.max(all.get(thread) ?? 0, eventPosition));
    }
  }
  const threads = new Map([...all].filter(([, position]) => position > floor));
  const mark = `${floor} ${[...threads].map((pair) => pair.join(" ")).sort().join("\n")}`;
  return { floor, threads, highest, mark };
}

function toCounts(counts: ReadonlyMap<string, UnreadCount>): UnreadCounts {
  let main = NOTHING;
  const threads = new Map<string, UnreadCount>();
  for (const [threadId, count] of counts) {
    if (count.notify <= 0 && count.highlight <= 0) continue;
    if (threadId === "") main = count;
    else threads.set(threadId, count);
  }
  return { main, threads };
}
