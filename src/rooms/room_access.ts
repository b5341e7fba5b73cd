/**
 * Which part of a room a user may read: all of it while joined, up to the end of their stay once they left, what is
 * world-readable when they peek.
 */
import { forbidden } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { LocalMemberships } from "./local_memberships.ts";
import type { StateReader } from "./state_reader.ts";
import type { Sender } from "./transaction_ids.ts";
import type { Viewer, Visibility } from "./visibility.ts";

/** What a user may read of a room. */
export interface RoomAccess {
  readonly room: RoomIdentity;
  readonly kind: "joined" | "left" | "peeking";
  /** The state to show: the current one, or the one in which the user left. */
  readonly root: number;
  /** The position of the event by which the user left; null when there is no end. */
  readonly upTo: number | null;
  /** For an administrator, who need not be in the room and sees all of it. */
  readonly seesAll?: boolean;
}

/** Who reads, and whether that is an administrator. */
export interface Reader extends Sender {
  readonly isAdmin?: boolean;
}

/** A user's reading of a room. */
export interface Reading {
  readonly requester: Reader;
  readonly access: RoomAccess;
}

/** What access is decided from. */
export interface RoomAccessDeps {
  readonly events: EventStore;
  readonly state: StateReader;
  readonly visibility: Visibility;
  readonly memberships: LocalMemberships;
  /** Returns the users whom a user ignores. */
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<string>;
  /** Tells whether a reader is shown soft-failed events too. */
  readonly showsSoftFailed?: (reader: Reader) => boolean;
}

/** Who was put out, banned, let in again and so on more often since they were in the room reads nothing any more. */
const MAX_CHANGES_SINCE_STAY = 20;

/** Decides who may read what. */
export class RoomReaders {
  readonly #deps: RoomAccessDeps;

  constructor(deps: RoomAccessDeps) {
    this.#deps = deps;
  }

  /** Returns what a user may read, or null when that is nothing. */
  async find(userId: UserId, roomId: RoomId): Promise<RoomAccess | null> {
    const { events, state, visibility, memberships } = this.#deps;
    const room = await events.roomById(roomId);
    if (room === null) return null;
    const root = await state.currentRoot(roomId);
    if (root === null) return null;
    const entry = (await memberships.forUser(userId)).all.get(room.roomNid);
    if (entry?.membership === "join") return { room, kind: "joined", root, upTo: null };
    if (entry !== undefined && !entry.forgotten && (entry.membership === "leave" || entry.membership === "ban")) {
      const left = await this.lastStay(userId, entry.eventNid);
      if (left !== null) return { room, kind: "left", ...left };
    }
    const setting = await visibility.settingAt(root);
    return setting === "world_readable" ? { room, kind: "peeking", root, upTo: null } : null;
  }

  /** As `find`, but throws 403 when that is nothing; whether the room exists is not told. */
  async require(userId: UserId, roomId: RoomId): Promise<RoomAccess> {
    const access = await this.find(userId, roomId);
    if (access === null) {
      throw forbidden(`User ${userId} not in room ${roomId}, and room previews are disabled`);
    }
    return access;
  }

  /** As `require`, with who asks. */
  async reading(requester: Reader, roomId: RoomId): Promise<Reading> {
    return { requester, access: await this.require(requester.userId, roomId) };
  }

  /** Returns an administrator's reading of all of a room, or null where there is nothing to read. */
  async readingOfAll(requester: Sender, roomId: RoomId): Promise<Reading | null> {
    const room = await this.#deps.events.roomById(roomId);
    const root = room === null ? null : await this.#deps.state.currentRoot(roomId);
    if (room === null || root === null) return null;
    return { requester, access: { room, kind: "joined", root, upTo: null, seesAll: true } };
  }

  /** Returns the filter for a user's reading. */
  viewer({ requester, access }: Reading): Viewer {
    const { userId } = requester;
    if (access.seesAll === true) return { userId, isMember: true, upTo: null, ignored: new Set(), seesAll: true };
    return {
      userId,
      isMember: access.kind !== "peeking",
      upTo: access.upTo,
      ignored: this.#deps.ignoredUsers(userId),
      showsSoftFailed: this.#deps.showsSoftFailed?.(requester) ?? false,
    };
  }

  /** As `stay`, also for who was banned, invited or the like since they left. */
  async lastStay(userId: UserId, eventNid: number): Promise<{ root: number; upTo: number } | null> {
    const { events, state } = this.#deps;
    let nid: number | null = eventNid;
    for (let step = 0; nid !== null && step < MAX_CHANGES_SINCE_STAY; step++) {
      const stay = await this.stay(userId, nid);
      if (stay !== null) return stay;
      const before: number | null = (await events.getByNid(nid))?.stateBefore ?? null;
      nid = before === null ? null : await state.getNid(before, "m.room.member", userId);
    }
    return null;
  }

  /** Returns the state and position in which a user left by an event; null unless they were joined until then. */
  async stay(userId: UserId, eventNid: number): Promise<{ root: number; upTo: number } | null> {
    const { events, visibility } = this.#deps;
    const stored = await events.getByNid(eventNid);
    if (stored === null || stored.position === null || stored.stateBefore === null) return null;
    if (await visibility.membershipAt(stored.stateBefore, userId) !== "join") return null;
    return { root: stored.stateAfter ?? stored.stateBefore, upTo: stored.position };
  }
}
