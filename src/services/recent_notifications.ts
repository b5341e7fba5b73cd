/**
 * What notified of late in each room, in memory: when a message wakes thousands, each of them counts it.
 *
 * Read from the database once for all and complete between two positions; only what is left behind costs a query again.
 */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import {
  type CountedNotification,
  type CountedUserNotification,
  type CountRange,
  selectCountedNotifications,
  type ThreadCount,
} from "../storage/notifications.ts";

/** What it is built from. */
export interface RecentNotificationsDeps {
  readonly db: Db;
  /** Returns the position of the events stream: nothing beyond it is known. */
  readonly position: () => number;
}

interface Recent {
  /** Complete in `(from, upTo]`; ascending. */
  from: number;
  upTo: number;
  ofRoom: CountedNotification[];
  ofUsers: CountedUserNotification[];
  /** Reads on, from `upTo`. */
  reading: Promise<void> | null;
}

const CACHED_ROOMS = 1_000;
const KEPT_ROWS = 100;
/** More than these at once are counted by the database. */
const MAX_READ = 200;

/** Counts what came of late. */
export class RecentNotifications {
  readonly #deps: RecentNotificationsDeps;
  readonly #rooms = new LruCache<number, Recent>({ name: "recent_notifications", maxEntries: CACHED_ROOMS });

  constructor(deps: RecentNotificationsDeps) {
    this.#deps = deps;
  }

  /** Forgets a room, of which something that notified is gone. */
  forget(roomNid: number): void {
    this.#rooms.delete(roomNid);
  }

  /** Counts what notifies a user, by thread, if memory holds the range. */
  peek({ userId, roomNid, after, upTo }: CountRange): readonly ThreadCount[] | null {
    const recent = this.#rooms.get(roomNid);
    if (recent === undefined || after < recent.from || this.#end(upTo) > recent.upTo) return null;
    return sum(recent, { userId, after, upTo });
  }

  /** As `peek`, after reading what memory lacks; null where that is much. */
  async count(range: CountRange): Promise<readonly ThreadCount[] | null> {
    const { roomNid, after, upTo } = range;
    let recent = this.#rooms.get(roomNid);
    if (recent === undefined) {
      const start = this.#end(after);
      recent = { from: start, upTo: start, ofRoom: [], ofUsers: [], reading: null };
      this.#rooms.set(roomNid, recent);
    }
    if (after < recent.from) return null;
    while (recent.upTo < this.#end(upTo)) {
      recent.reading ??= this.#read(recent, roomNid);
      await recent.reading;
      // Forgotten meanwhile, or too much came.
      if (this.#rooms.peek(roomNid) !== recent) return null;
    }
    return this.peek(range);
  }

  /** A token may claim any position: what is not there yet may come still. */
  #end(upTo: number): number {
    return Math.min(upTo, this.#deps.position());
  }

  async #read(recent: Recent, roomNid: number): Promise<void> {
    try {
      const upTo = this.#deps.position();
      const range = { roomNid, after: recent.upTo, upTo, limit: MAX_READ };
      const { ofRoom, ofUsers } = await selectCountedNotifications(this.#deps.db, range);
      if (Math.max(ofRoom.length, ofUsers.length) >= MAX_READ) {
        if (this.#rooms.peek(roomNid) === recent) this.#rooms.delete(roomNid);
        return;
      }
      recent.ofRoom.push(...ofRoom);
      recent.ofUsers.push(...ofUsers);
      recent.upTo = upTo;
      trim(recent);
    } finally {
      recent.reading = null;
    }
  }
}

function trim(recent: Recent): void {
  for (const rows of [recent.ofRoom, recent.ofUsers]) {
    if (rows.length > KEPT_ROWS * 2) {
      recent.from = Math.max(recent.from, rows[rows.length - KEPT_ROWS - 1]?.position ?? 0);
    }
  }
  recent.ofRoom = newer(recent.ofRoom, recent.from);
  recent.ofUsers = newer(recent.ofUsers, recent.from);
}

function newer<T extends { readonly position: number }>(rows: T[], from: number): T[] {
  return (rows[0]?.position ?? Infinity) > from ? rows : rows.filter(({ position }) => position > from);
}

const NOTHING: readonly ThreadCount[] = [];

function sum(
  { ofRoom, ofUsers }: Recent,
  { userId, after, upTo }: { userId: UserId; after: number; upTo: number },
): readonly ThreadCount[] {
  const counts = new Map<string, { notify: number; highlight: number }>();
  const add = (threadId: string, { notify, highlight }: { notify: number; highlight: number }) => {
    const count = counts.get(threadId) ?? { notify: 0, highlight: 0 };
    counts.set(threadId, { notify: count.notify + notify, highlight: count.highlight + highlight });
  };
  for (let index = ofRoom.length - 1; index >= 0; index--) {
    const row = ofRoom[index];
    if (row === undefined || row.position <= after) break;
    if (row.position <= upTo && row.sender !== userId) {
      add(row.threadId, { notify: 1, highlight: Number(row.highlight) });
    }
  }
  for (let index = ofUsers.length - 1; index >= 0; index--) {
    const row = ofUsers[index];
    if (row === undefined || row.position <= after) break;
    if (row.position > upTo || row.userId !== userId) continue;
    const notify = Number(row.notify) - Number(row.roomNotify);
    add(row.threadId, { notify, highlight: Number(row.highlight) - Number(row.roomHighlight) });
  }
  return counts.size === 0 ? NOTHING : [...counts].map(([threadId, count]) => ({ threadId, ...count }));
}
