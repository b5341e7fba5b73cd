/**
 * Each user's rooms, the most recently active first. Spec: MSC4186, "Activity ordering".
 *
 * The order is kept between requests and brought up to date by what was written since: a request costs nothing for rooms
 * in which nothing happened.
 */
import { LruCache } from "../../lib/lru.ts";
import type { UserId } from "../../protocol/ids.ts";
import type { LocalMembership, UserRooms } from "../../rooms/local_memberships.ts";
import type { RoomReaders } from "../../rooms/room_access.ts";
import type { RoomTimelines } from "../../rooms/room_timelines.ts";

/** A user's rooms. */
export interface OrderedRooms {
  /** Joined, invited and knocked rooms, and those that others put the user out of. */
  readonly shown: readonly LocalMembership[];
  /** Rooms that the user left, in no order: for clients that do not know yet. */
  readonly left: readonly LocalMembership[];
}

/** What the order is made from. */
export interface RoomOrderDeps {
  readonly timelines: RoomTimelines;
  readonly readers: RoomReaders;
  /** Rooms that no sync shows (option `exclude_rooms_from_sync`). */
  readonly excludedRooms: ReadonlySet<string>;
}

interface Held extends OrderedRooms {
  readonly all: ReadonlyMap<number, LocalMembership>;
  readonly lastChange: number;
  /** Brought up to date to this position of the events stream. */
  readonly at: number;
}

const CACHED_USERS = 1_000;
const CACHED_STAYS = 10_000;
/** A greater part of the rooms than this moves by sorting all anew. */
const SORT_ALL_ABOVE = 0.25;

/** Keeps the orders. */
export class RoomOrder {
  readonly #deps: RoomOrderDeps;
  readonly #users = new LruCache<UserId, Held>({ name: "sliding_room_order", maxEntries: CACHED_USERS });
  /** By the event that put a user out: whether the user was joined until then. */
  readonly #stays = new LruCache<number, boolean>({ maxEntries: CACHED_STAYS });

  constructor(deps: RoomOrderDeps) {
    this.#deps = deps;
  }

  /** Returns a user's rooms. `at` is a position of the events stream taken when `rooms` was. */
  async of(userId: UserId, { rooms, at }: { rooms: UserRooms; at: number }): Promise<OrderedRooms> {
    const held = this.#users.get(userId);
    if (held?.all !== rooms.all || held.lastChange !== rooms.lastChange) {
      const made = await this.#make(userId, { rooms, at });
      this.#users.set(userId, made);
      return made;
    }
    const changed = at > held.at ? this.#deps.timelines.changedAfter(held.at, rooms.joined) : [];
    if (changed.length === 0) return held;
    const moved = { ...held, at, shown: this.#move(held.shown, new Set(changed)) };
    this.#users.set(userId, moved);
    return moved;
  }

  /** Returns where in the order a room stands: greater is earlier. */
  positionOf({ membership, roomNid, position }: LocalMembership): number {
    return membership === "join" ? Math.max(this.#deps.timelines.lastPosition(roomNid) ?? 0, position) : position;
  }

  #move(shown: readonly LocalMembership[], changed: ReadonlySet<number>): LocalMembership[] {
    if (changed.size > shown.length * SORT_ALL_ABOVE) return this.#sort([...shown]);
    const front: LocalMembership[] = [];
    const rest: LocalMembership[] = [];
    for (const entry of shown) (changed.has(entry.roomNid) ? front : rest).push(entry);
    return [...this.#sort(front), ...rest];
  }

  async #make(userId: UserId, { rooms, at }: { rooms: UserRooms; at: number }): Promise<Held> {
    const { all, lastChange } = rooms;
    const shown: LocalMembership[] = [];
    const left: LocalMembership[] = [];
    const putOut: LocalMembership[] = [];
    for (const entry of all.values()) {
      if (this.#deps.excludedRooms.has(entry.roomId)) continue;
      const isOut = entry.membership === "leave" || entry.membership === "ban";
      if (!isOut) shown.push(entry);
      else if (entry.sender === userId || entry.forgotten) left.push(entry);
      else putOut.push(entry);
    }
    for (const entry of putOut) (await this.#wasJoined(userId, entry) ? shown : left).push(entry);
    return { all, lastChange, at, shown: this.#sort(shown), left };
  }

  async #wasJoined(userId: UserId, { eventNid }: LocalMembership): Promise<boolean> {
    const known = this.#stays.get(eventNid);
    if (known !== undefined) return known;
    const wasJoined = await this.#deps.readers.lastStay(userId, eventNid) !== null;
    this.#stays.set(eventNid, wasJoined);
    return wasJoined;
  }

  #sort(entries: LocalMembership[]): LocalMembership[] {
    const keyed = entries.map((entry) => ({ entry, position: this.positionOf(entry) }));
    keyed.sort((a, b) => b.position - a.position);
    return keyed.map(({ entry }) => entry);
  }
}

/** Adds to an order rooms that the client must still be told of; both lists are ordered by `positionOf`. */
export function withLeft(
  order: RoomOrder,
  { shown, left }: { shown: readonly LocalMembership[]; left: readonly LocalMembership[] },
): readonly LocalMembership[] {
  if (left.length === 0) return shown;
  const all = [...shown, ...left].map((entry) => ({ entry, position: order.positionOf(entry) }));
  return all.sort((a, b) => b.position - a.position).map(({ entry }) => entry);
}
