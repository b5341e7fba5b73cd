/**
 * How much is unread in a room. Spec: client-server API, "Receiving notifications" and "Threaded read receipts".
 *
 * Sending an event does not mark what came before it as read, although the specification says so ("Marking notifications
 * as read", https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications): as with Synapse, only receipts do,
 * which clients send for what they show.
 *
 * A count goes over all that is unread, so it is kept: the next one only adds what came since, unless the user read
 * something or an event that counted was redacted.
 */
import { LruCache } from "../lib/lru.ts";
import { ReadCache } from "../lib/read_cache.ts";
import { inTurns } from "../lib/turn.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { countNotifications, type ThreadCount } from "../storage/notifications.ts";
import { selectReceiptsOfUser } from "../storage/receipts.ts";
import { countNotificationsInRooms, selectReadsInRooms } from "../storage/unread_counts.ts";
import { RecentNotifications } from "./recent_notifications.ts";

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

/** Many rooms to count in. */
export interface UnreadBatchQuery {
  readonly userId: UserId;
  readonly rooms: readonly Pick<UnreadQuery, "roomNid" | "joinedAt">[];
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

/** A user's receipts in a room, and what they come to for one who joined at a position. */
interface Reads {
  readonly receipts: readonly { readonly threadId: string; readonly eventPosition: number | null }[];
  joinedAt: number;
  positions: ReadPositions;
}

interface Held {
  readonly mark: string;
  readonly generation: number;
  readonly upTo: number;
  readonly counts: ReadonlyMap<string, UnreadCount>;
  /** The counts as they are told. */
  readonly told: UnreadCounts;
}

/** What counting is done from. */
export interface UnreadCounterDeps {
  readonly db: Db;
  /** Returns the position of the events stream. */
  readonly position: () => number;
}

const CACHED_COUNTS = 20_000;
const CACHED_GENERATIONS = 10_000;
/** Of how many rooms one query counts. */
const ROOMS_AT_ONCE = 500;
const NOTHING: UnreadCount = { notify: 0, highlight: 0 };
const NO_COUNTS: ReadonlyMap<string, UnreadCount> = new Map();

/** Counts. */
export class UnreadCounter {
  readonly #db: Db;
  readonly #recent: RecentNotifications;
  readonly #reads = new ReadCache<string, Reads>({ name: "unread_reads", maxEntries: CACHED_COUNTS });
  readonly #held = new LruCache<string, Held>({ maxEntries: CACHED_COUNTS });
  /** Raised when something that may have been counted is gone. */
  readonly #generations = new LruCache<number, number>({ maxEntries: CACHED_GENERATIONS });
  #nextGeneration = 1;

  constructor({ db, position }: UnreadCounterDeps) {
    this.#db = db;
    this.#recent = new RecentNotifications({ db, position });
  }

  /** Counts what is unread for a user up to a position. */
  async count(query: UnreadQuery): Promise<UnreadCounts> {
    const { userId, roomNid, joinedAt, upTo } = query;
    const generation = this.#generationOf(roomNid);
    const read = positionsOf(await this.#readsOf(query), joinedAt);
    const key = keyOf(query);
    const held = this.#held.get(key);
    const isUsable = held !== undefined && isBefore(held, { read, generation, upTo });
    if (isUsable && held.upTo === upTo) return held.told;
    const counts = isUsable
      ? await this.#add(held, { userId, roomNid, upTo })
      : await this.#countAll(read, { userId, roomNid, upTo });
    return this.#hold(key, { mark: read.mark, generation, upTo, counts });
  }

  /** As `count`, if it takes nothing that is not in memory; else null. */
  peek(query: UnreadQuery): UnreadCounts | null {
    const { userId, roomNid, joinedAt, upTo } = query;
    const key = keyOf(query);
    const reads = this.#reads.peek(key);
    const held = this.#held.get(key);
    if (reads === undefined || held === undefined) return null;
    const read = positionsOf(reads, joinedAt);
    const generation = this.#generationOf(roomNid);
    if (!isBefore(held, { read, generation, upTo })) return null;
    if (held.upTo === upTo) return held.told;
    const news = this.#recent.peek({ userId, roomNid, after: held.upTo, upTo });
    if (news === null) return null;
    const { counts } = held;
    if (news.length > 0) return this.#hold(key, { mark: read.mark, generation, upTo, counts: added(counts, news) });
    this.#held.set(key, { ...held, upTo });
    return held.told;
  }

  /** Counts in many rooms of a user at once, so that counting in each of them finds all in memory. */
  async prepare({ userId, upTo, rooms }: UnreadBatchQuery): Promise<void> {
    const joinedAt = new Map(rooms.map((room) => [room.roomNid, room.joinedAt]));
    for await (const roomNids of inTurns([...joinedAt.keys()], ROOMS_AT_ONCE)) {
      await this.#prepareReads(userId, roomNids);
      const generations = new Map<number, number>();
      const unread = new Map<number, ReadPositions>();
      for (const roomNid of roomNids) {
        const key = keyOf({ userId, roomNid });
        const reads = this.#reads.peek(key);
        if (reads === undefined) continue;
        const generation = this.#generationOf(roomNid);
        const read = positionsOf(reads, joinedAt.get(roomNid) ?? 0);
        const held = this.#held.peek(key);
        // What was read of threads apart is counted apart.
        if (read.threads.size > 0 || held !== undefined && isBefore(held, { read, generation, upTo })) continue;
        generations.set(roomNid, generation);
        unread.set(roomNid, read);
      }
      if (unread.size === 0) continue;
      const pairs = [...unread].map(([roomNid, { floor }]) => [roomNid, floor] as const);
      const found = await countNotificationsInRooms(this.#db, { userId, rooms: pairs, upTo });
      for (const [roomNid, { mark }] of unread) {
        const counts = added(NO_COUNTS, found.get(roomNid) ?? []);
        this.#hold(keyOf({ userId, roomNid }), { mark, generation: generations.get(roomNid) ?? 0, upTo, counts });
      }
    }
  }

  /** Returns the position up to which a user has read the main timeline (`""`) or a thread of a room they are in. */
  async readUpTo(
    { userId, roomNid, joinedAt, threadId }: Omit<UnreadQuery, "upTo"> & { threadId: string },
  ): Promise<number> {
    const read = positionsOf(await this.#readsOf({ userId, roomNid }), joinedAt);
    return read.threads.get(threadId) ?? read.floor;
  }

  /** Forgets what was counted in a room: an event that may have counted does so no more. */
  forgetRoom(roomNid: number): void {
    this.#generations.set(roomNid, this.#nextGeneration++);
    this.#recent.forget(roomNid);
  }

  /** Forgets how far a user has read a room: they have read on. To be called after the commit. */
  forgetReads(reader: { userId: UserId; roomNid: number }): void {
    this.#reads.forget(keyOf(reader));
  }

  #generationOf(roomNid: number): number {
    const known = this.#generations.get(roomNid);
    if (known !== undefined) return known;
    // A number of its own, so that a generation that fell out of the cache never comes again.
    const generation = this.#nextGeneration++;
    this.#generations.set(roomNid, generation);
    return generation;
  }

  async #readsOf(reader: { userId: UserId; roomNid: number }): Promise<Reads> {
    return await this.#reads.get(keyOf(reader), async () => {
      const receipts = await selectReceiptsOfUser(this.#db, reader);
      const known = receipts.map(({ threadId, eventPosition }) => ({ threadId, eventPosition }));
      return { receipts: known, joinedAt: 0, positions: readPositions(known, 0) };
    });
  }

  async #prepareReads(userId: UserId, roomNids: readonly number[]): Promise<void> {
    const roomOf = new Map(roomNids.map((roomNid) => [keyOf({ userId, roomNid }), roomNid]));
    await this.#reads.fill([...roomOf.keys()], async (keys) => {
      const missing = keys.map((key) => roomOf.get(key) ?? 0);
      const byRoom = Map.groupBy(
        await selectReadsInRooms(this.#db, { userId, roomNids: missing }),
        ({ roomNid }) => roomNid,
      );
      return new Map(keys.map((key) => {
        const known = byRoom.get(roomOf.get(key) ?? 0) ?? [];
        return [key, { receipts: known, joinedAt: 0, positions: readPositions(known, 0) }];
      }));
    });
  }

  #hold(key: string, held: Omit<Held, "told">): UnreadCounts {
    const told = toCounts(held.counts);
    this.#held.set(key, { ...held, told });
    return told;
  }

  async #add(
    held: Held,
    range: { userId: UserId; roomNid: number; upTo: number },
  ): Promise<ReadonlyMap<string, UnreadCount>> {
    const news = await this.#recent.count({ ...range, after: held.upTo }) ??
      await countNotifications(this.#db, { ...range, after: held.upTo });
    return news.length === 0 ? held.counts : added(held.counts, news);
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

function keyOf({ userId, roomNid }: { userId: UserId; roomNid: number }): string {
  return `${roomNid} ${userId}`;
}

/** Tells whether what is held counts still and only has to be added to. */
function isBefore(
  held: Held,
  { read, generation, upTo }: { read: ReadPositions; generation: number; upTo: number },
): boolean {
  return held.mark === read.mark && held.generation === generation && held.upTo <= upTo && read.highest <= held.upTo;
}

function added(
  old: ReadonlyMap<string, UnreadCount>,
  news: readonly ThreadCount[],
): ReadonlyMap<string, UnreadCount> {
  const counts = new Map(old);
  for (const { threadId, notify, highlight } of news) {
    const count = counts.get(threadId) ?? NOTHING;
    counts.set(threadId, { notify: count.notify + notify, highlight: count.highlight + highlight });
  }
  return counts;
}

function positionsOf(reads: Reads, joinedAt: number): ReadPositions {
  if (reads.joinedAt !== joinedAt) {
    reads.positions = readPositions(reads.receipts, joinedAt);
    reads.joinedAt = joinedAt;
  }
  return reads.positions;
}

function readPositions(
  receipts: Reads["receipts"],
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
