/** Statistics for administrators, as in Synapse's admin API. */
import { nextTurn } from "../lib/turn.ts";
import { localpartOf, type RoomId } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import {
  type RoomBytes,
  selectEventBytes,
  selectEventSpan,
  selectLastStateNode,
  selectRoomIds,
  selectStateNodeBytes,
  selectUserMedia,
  type UserMedia,
} from "../storage/statistics.ts";

/** By what users can be ordered. */
export const MEDIA_STATISTIC_ORDERS = ["user_id", "displayname", "media_count", "media_length"] as const;
/** One of `MEDIA_STATISTIC_ORDERS`. */
export type MediaStatisticOrder = typeof MEDIA_STATISTIC_ORDERS[number];

/** Which users to list. */
export interface MediaStatisticPage {
  readonly order: MediaStatisticOrder;
  readonly backward: boolean;
  /** How many are passed over. */
  readonly from: number;
  readonly limit: number;
  /** The span of time in which the uploads were. */
  readonly fromTs: number;
  readonly untilTs: number;
  /** A part of the user's name. */
  readonly searchTerm: string | null;
}

const PAGE = 500;
const LARGEST_ROOMS = 10;
/** So many rows are looked at of each kind, spread over all of them. */
const SAMPLES = 20_000;
const BATCH = 500;

/** Counts. */
export class Statistics {
  readonly #db: Database;
  readonly #samples: number;

  constructor({ db, samples = SAMPLES }: { db: Database; samples?: number }) {
    this.#db = db;
    this.#samples = samples;
  }

  /** Returns a page of users with what they have uploaded, and how many users there are. All are looked at. */
  async userMedia(page: MediaStatisticPage): Promise<{ users: UserMedia[]; total: number }> {
    const found: UserMedia[] = [];
    const term = page.searchTerm?.toLowerCase() ?? null;
    for (let after = "";;) {
      const users = await selectUserMedia(this.#db, { after, from: page.fromTs, until: page.untilTs, limit: PAGE });
      for (const user of users) if (term === null || isNamed(user, term)) found.push(user);
      const last = users.at(-1);
      if (last === undefined || users.length < PAGE) break;
      after = last.userId;
      await nextTurn();
    }
    // They are in the order of their ids, which is kept among equals.
    const sign = page.backward ? -1 : 1;
    found.sort((a, b) => sign * compare(keyOf(a, page.order), keyOf(b, page.order)));
    return { users: found.slice(page.from, page.from + page.limit), total: found.length };
  }

  /** Returns the rooms whose events and states take most, with an estimate of how many bytes that is. */
  async largestRooms(): Promise<{ roomId: RoomId; bytes: number }[]> {
    const sums = new Map<number, number>();
    const span = await selectEventSpan(this.#db);
    if (span !== null) await this.#sample(span, { sums, select: selectEventBytes });
    const last = await selectLastStateNode(this.#db);
    await this.#sample({ first: 1, last }, { sums, select: selectStateNodeBytes });
    const largest = [...sums].sort(([, a], [, b]) => b - a).slice(0, LARGEST_ROOMS);
    const ids = await selectRoomIds(this.#db, largest.map(([roomNid]) => roomNid));
    return largest.flatMap(([roomNid, bytes]) => {
      const roomId = ids.get(roomNid);
      return roomId === undefined ? [] : [{ roomId, bytes }];
    });
  }

  /** Adds up what each n-th row takes, n times. */
  async #sample(
    { first, last }: { first: number; last: number },
    { sums, select }: {
      sums: Map<number, number>;
      select: (db: Database, numbers: readonly number[]) => Promise<RoomBytes[]>;
    },
  ): Promise<void> {
    const step = Math.max(1, Math.ceil((last - first + 1) / this.#samples));
    for (let start = first; start <= last; start += step * BATCH) {
      const count = Math.min(BATCH, Math.floor((last - start) / step) + 1);
      const numbers = Array.from({ length: count }, (_, index) => start + index * step);
      for (const { roomNid, bytes } of await select(this.#db, numbers)) {
        sums.set(roomNid, (sums.get(roomNid) ?? 0) + bytes * step);
      }
      await nextTurn();
    }
  }
}

function isNamed({ userId, displayname }: UserMedia, term: string): boolean {
  return localpartOf(userId).includes(term) || displayname?.toLowerCase().includes(term) === true;
}

function keyOf(user: UserMedia, order: MediaStatisticOrder): string | number {
  switch (order) {
    case "user_id":
      return user.userId;
    case "displayname":
      return user.displayname ?? "";
    case "media_count":
      return user.count;
    case "media_length":
      return user.length;
  }
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
