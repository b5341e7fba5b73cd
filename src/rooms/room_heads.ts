/**
 * The copy in memory of each room in use: the ends of its graph, its current state as far as it was asked for, and who of
 * this server is in it.
 *
 * A copy belongs to the room's queue: only the batch that is being written changes it, after its commit. When a write
 * fails the copy is dropped. With several processes a copy may be out of date: the writer sees that by `lastPosition`.
 */
import { LruCache } from "../lib/lru.ts";
import type { StateKey } from "../protocol/event.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { selectPartialRoom } from "../storage/partial_rooms.ts";
import { selectForwardExtremities, selectLocalJoinedUsers, selectRoomById } from "../storage/rooms.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { StoredEvent } from "./types.ts";

const CACHED_ROOMS = 1_000;
/** Enough for what authorizes the events of those who talk; more would keep events alive that the event cache lets go. */
const CACHED_STATE_KEYS = 64;

/** A room as its writer knows it. */
export interface RoomCopy {
  readonly identity: RoomIdentity;
  extremities: readonly StoredEvent[];
  /** Root of the resolved current state. */
  stateRoot: number;
  lastPosition: number;
  /** Pieces of the current state that were asked for; null where there is none. */
  readonly state: LruCache<StateKey, StoredEvent | typeof ABSENT>;
  readonly localJoined: Set<UserId>;
  /** Its state lacks members: the rest of a join is still being fetched. */
  isPartial: boolean;
}

/** Stands for "the state does not have that key" in a cache. */
export const ABSENT = Symbol("absent");

/** Makes the copy of a room. */
export function makeRoomCopy(
  identity: RoomIdentity,
  { extremities, stateRoot, lastPosition, localJoined, isPartial = false }: {
    isPartial?: boolean;
    extremities: readonly StoredEvent[];
    stateRoot: number;
    lastPosition: number;
    localJoined: Iterable<UserId>;
  },
): RoomCopy {
  return {
    identity,
    extremities,
    stateRoot,
    lastPosition,
    state: new LruCache({ maxEntries: CACHED_STATE_KEYS }),
    localJoined: new Set(localJoined),
    isPartial,
  };
}

/** Loads and keeps the copies. */
export class RoomHeads {
  readonly #db: Db;
  readonly #events: EventStore;
  readonly #copies = new LruCache<RoomId, RoomCopy>({ name: "room_heads", maxEntries: CACHED_ROOMS });
  readonly #loading = new Map<RoomId, Promise<RoomCopy | null>>();

  constructor({ db, events }: { db: Db; events: EventStore }) {
    this.#db = db;
    this.#events = events;
  }

  /** Returns the copy of a room, or null when this server does not know the room. */
  async load(roomId: RoomId): Promise<RoomCopy | null> {
    const copy = this.#copies.get(roomId);
    if (copy !== undefined) return copy;
    let loading = this.#loading.get(roomId);
    if (loading === undefined) {
      loading = this.#read(roomId).finally(() => this.#loading.delete(roomId));
      this.#loading.set(roomId, loading);
    }
    return await loading;
  }

  /** Returns the copy if it is in memory. */
  peek(roomId: RoomId): RoomCopy | undefined {
    return this.#copies.peek(roomId);
  }

  /** Keeps the copy of a room that was just created. */
  put(copy: RoomCopy): void {
    this.#copies.set(copy.identity.roomId, copy);
  }

  /** Forgets a copy, so that it is loaded again. */
  drop(roomId: RoomId): void {
    this.#copies.delete(roomId);
    this.#loading.delete(roomId);
  }

  async #read(roomId: RoomId): Promise<RoomCopy | null> {
    const row = await selectRoomById(this.#db, roomId);
    const identity = row === null ? null : await this.#events.room(row.roomNid);
    if (row === null || identity === null) return null;
    const [ends, localJoined, partial] = await Promise.all([
      selectForwardExtremities(this.#db, row.roomNid),
      selectLocalJoinedUsers(this.#db, row.roomNid),
      selectPartialRoom(this.#db, row.roomNid),
    ]);
    const events = await this.#events.byNid(ends.map((end) => end.nid));
    const copy = makeRoomCopy(identity, {
      extremities: ends.map((end) => events.get(end.nid)).filter((stored) => stored !== undefined),
      stateRoot: row.stateRoot,
      lastPosition: row.lastPosition,
      localJoined,
      isPartial: partial !== null,
    });
    this.#copies.set(roomId, copy);
    return copy;
  }
}
