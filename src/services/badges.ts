/**
 * The number on an app's icon: invitations, and either the rooms with something unread or all that is unread.
 *
 * Counts of rooms are kept per user; a room is counted again after something new was written to it or read in it.
 */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { JoinPositions } from "../rooms/join_positions.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import type { RoomTimelines } from "../rooms/room_timelines.ts";
import type { NotificationsService } from "./notifications.ts";

/** What badges are counted from. */
export interface BadgesDeps {
  readonly memberships: LocalMemberships;
  readonly timelines: Pick<RoomTimelines, "lastPosition">;
  readonly joinPositions: JoinPositions;
  readonly notifications: Pick<NotificationsService, "unread">;
  /** Synapse's `push.group_unread_count_by_room`. */
  readonly byRoom: boolean;
}

interface RoomCount {
  readonly upTo: number;
  readonly memberEventNid: number;
  readonly unread: number;
}

const CACHED_USERS = 5_000;

/** Counts badges. */
export class Badges {
  readonly #deps: BadgesDeps;
  readonly #users = new LruCache<UserId, Map<number, RoomCount>>({ name: "badges", maxEntries: CACHED_USERS });

  constructor(deps: BadgesDeps) {
    this.#deps = deps;
  }

  /** Returns a user's badge as of a position of the events stream. */
  async of(userId: UserId, upTo: number): Promise<number> {
    const { memberships, byRoom } = this.#deps;
    const { all } = await memberships.forUser(userId);
    const known = this.#users.get(userId) ?? new Map<number, RoomCount>();
    this.#users.set(userId, known);
    const entries = [...all.values()];
    let badge = 0;
    for (const { roomNid, membership, eventNid, forgotten } of entries) {
      if (membership === "invite" && !forgotten) badge++;
      if (membership !== "join") {
        known.delete(roomNid);
        continue;
      }
      const unread = await this.#unread(known, { userId, roomNid, memberEventNid: eventNid, upTo });
      badge += byRoom ? Math.min(unread, 1) : unread;
    }
    return badge;
  }

  /** Has a room counted again: the user read in it. */
  noteRead(userId: UserId, roomNid: number): void {
    // A new object, so that a count under way sees that it is out of date.
    this.#users.peek(userId)?.set(roomNid, { upTo: -1, memberEventNid: -1, unread: 0 });
  }

  async #unread(
    known: Map<number, RoomCount>,
    { userId, roomNid, memberEventNid, upTo }: {
      userId: UserId;
      roomNid: number;
      memberEventNid: number;
      upTo: number;
    },
  ): Promise<number> {
    const { timelines, joinPositions, notifications } = this.#deps;
    const last = timelines.lastPosition(roomNid) ?? Infinity;
    const held = known.get(roomNid);
    if (held !== undefined && held.memberEventNid === memberEventNid && held.upTo >= Math.min(last, upTo)) {
      return held.unread;
    }
    const joinedAt = await joinPositions.of(userId, memberEventNid);
    const { main, threads } = await notifications.unread({ userId, roomNid, joinedAt, upTo });
    let unread = main.notify;
    for (const { notify } of threads.values()) unread += notify;
    if (known.get(roomNid) === held) known.set(roomNid, { upTo, memberEventNid, unread });
    return unread;
  }
}
