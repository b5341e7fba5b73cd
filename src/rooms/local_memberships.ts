/**
 * Which rooms each local user is or was in, in memory.
 *
 * Sync starts here on every request. A user's rooms are read once and then kept up to date by the batches that are
 * written; entries are replaced, never changed, so a reader may keep those it has taken.
 */
import { LruCache } from "../lib/lru.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import { type LocalMembershipRow, selectMembershipsOfUser } from "../storage/memberships.ts";
import type { PersistedBatch } from "./pending.ts";
import type { Membership } from "./types.ts";
import { parseMembership } from "./visibility.ts";

/** A local user's membership of one room. */
export interface LocalMembership {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly membership: Membership;
  readonly eventNid: number;
  readonly sender: UserId;
  /** Where in the events stream it became so. */
  readonly position: number;
  readonly forgotten: boolean;
  /** As received with an invitation or a knock from elsewhere; null where the room's own state serves. */
  readonly strippedState: string | null;
}

/** All rooms of one user. */
export interface UserRooms {
  /** By the room's numeric id. Changes while the server runs: read it without waiting in between. */
  readonly all: ReadonlyMap<number, LocalMembership>;
  readonly joined: ReadonlyMap<number, RoomId>;
  /** The greatest position of an entry: nothing changed after it. */
  readonly lastChange: number;
}

interface Held {
  readonly all: Map<number, LocalMembership>;
  readonly joined: Map<number, RoomId>;
  lastChange: number;
}

const CACHED_USERS = 10_000;

/** Keeps the rooms of the users who are around. */
export class LocalMemberships {
  readonly #db: Database;
  readonly #onRoom: (roomNid: number, lastPosition: number) => void;
  readonly #users = new LruCache<UserId, Held>({ name: "local_memberships", maxEntries: CACHED_USERS });
  readonly #loading = new Map<UserId, Promise<Held>>();
  /** Users who are being loaded and were written to meanwhile: what was read may be out of date. */
  readonly #touched = new Set<UserId>();

  /** `onRoom` gets the last position of each room that a load comes across. */
  constructor({ db, onRoom }: { db: Database; onRoom: (roomNid: number, lastPosition: number) => void }) {
    this.#db = db;
    this.#onRoom = onRoom;
  }

  /** Returns a user's rooms. */
  async forUser(userId: UserId): Promise<UserRooms> {
    return this.peek(userId) ?? await this.#load(userId);
  }

  /** Returns a user's rooms if they are in memory. */
  peek(userId: UserId): UserRooms | undefined {
    return this.#users.get(userId);
  }

  /** The engine's handler: takes over, after the commit, how a batch changed memberships. */
  readonly onPersist = (tx: Tx, batch: PersistedBatch): Promise<void> => {
    if (batch.events.some(({ deltas }) => deltas.localMembers.length > 0)) tx.afterCommit(() => this.#apply(batch));
    return Promise.resolve();
  };

  /** Forgets what is held of a user, after a change that came by another way (a forgotten room, an invitation from afar). */
  drop(userId: UserId): void {
    this.#users.delete(userId);
    if (this.#loading.has(userId)) this.#touched.add(userId);
  }

  #apply({ room, events }: PersistedBatch): void {
    for (const { stored, deltas } of events) {
      if (stored.position === null) continue;
      for (const { stateKey, after } of deltas.localMembers) {
        const userId = stateKey as UserId;
        if (this.#loading.has(userId)) this.#touched.add(userId);
        const held = this.#users.peek(userId);
        if (held === undefined) continue;
        if (after === null) {
          this.drop(userId);
          continue;
        }
        put(held, {
          roomNid: room.roomNid,
          roomId: room.roomId,
          membership: parseMembership(after.event.content.membership),
          eventNid: after.nid,
          sender: after.event.sender,
          position: stored.position,
          forgotten: false,
          strippedState: null,
        });
      }
    }
  }

  #load(userId: UserId): Promise<Held> {
    const running = this.#loading.get(userId);
    if (running !== undefined) return running;
    const loading = this.#read(userId).finally(() => {
      this.#loading.delete(userId);
      this.#touched.delete(userId);
    });
    this.#loading.set(userId, loading);
    return loading;
  }

  async #read(userId: UserId): Promise<Held> {
    while (true) {
      this.#touched.delete(userId);
      const rows = await selectMembershipsOfUser(this.#db, userId);
      if (this.#touched.has(userId)) continue;
      const held: Held = { all: new Map(), joined: new Map(), lastChange: 0 };
      for (const row of rows) {
        this.#onRoom(row.roomNid, row.roomLastPosition);
        put(held, toLocalMembership(row));
      }
      this.#users.set(userId, held);
      return held;
    }
  }
}

function put(held: Held, entry: LocalMembership): void {
  held.all.set(entry.roomNid, entry);
  if (entry.membership === "join") held.joined.set(entry.roomNid, entry.roomId);
  else held.joined.delete(entry.roomNid);
  if (entry.position > held.lastChange) held.lastChange = entry.position;
}

function toLocalMembership(row: LocalMembershipRow): LocalMembership {
  return {
    roomNid: row.roomNid,
    roomId: row.roomId,
    membership: parseMembership(row.membership),
    eventNid: row.eventNid,
    sender: row.sender,
    position: row.position,
    forgotten: row.forgotten,
    strippedState: row.strippedState,
  };
}
