/**
 * Events by id, through a cache that all readers share.
 *
 * An event never changes once it is written, but for the redaction in force and for outliers that get their place in the
 * graph later: the writer calls `put` for those after its commit.
 */
import { LruCache } from "../lib/lru.ts";
import { inTurns } from "../lib/turn.ts";
import { roomEventFromJson } from "../protocol/event_format.ts";
import type { EventId, RoomId } from "../protocol/ids.ts";
import { getRoomVersion, type RoomVersionRules } from "../protocol/room_versions.ts";
import type { Db } from "../storage/database.ts";
import { type EventRow, selectEventsById, selectEventsByNid } from "../storage/events.ts";
import { selectRoomById, selectRoomByNid } from "../storage/rooms.ts";
import type { StoredEvent } from "./types.ts";

const DEFAULT_CACHE_BYTES = 28 * 1024 * 1024;
const CACHED_ROOMS = 10_000;
/** Reading and parsing this many takes some milliseconds. */
const EVENTS_A_TURN = 250;
/** What an entry takes besides its text, which is held once as text and about once more as objects. */
const ENTRY_OVERHEAD_BYTES = 800;

/** What never changes about a room. */
export interface RoomIdentity {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly rules: RoomVersionRules;
}

/** Loads events and keeps those used of late. */
export class EventStore {
  readonly #db: Db;
  readonly #events: LruCache<number, StoredEvent>;
  readonly #cacheBytes: number;
  readonly #nids = new Map<EventId, number>();
  /** Counts what was dropped, so that a row read before is not kept. */
  #drops = 0;
  #redactedStates = 0;
  readonly #rooms = new LruCache<number, RoomIdentity>({ name: "rooms", maxEntries: CACHED_ROOMS });
  readonly #roomNids = new LruCache<RoomId, number>({ maxEntries: CACHED_ROOMS });

  constructor({ db, cacheBytes = DEFAULT_CACHE_BYTES }: { db: Db; cacheBytes?: number }) {
    this.#db = db;
    this.#cacheBytes = cacheBytes;
    this.#events = new LruCache({
      name: "events",
      maxBytes: cacheBytes,
      sizeOf: ({ json }) => ENTRY_OVERHEAD_BYTES + json.length * 3,
      onEvict: (stored) => this.#nids.delete(stored.event.eventId),
    });
  }

  /** Makes the cache so many times as big as it is by default. */
  scaleCache(factor: number): void {
    this.#events.resize(this.#cacheBytes * factor);
  }

  /** Returns the events with these ids; unknown ones are left out. */
  async byId(ids: readonly EventId[]): Promise<Map<EventId, StoredEvent>> {
    const found = new Map<EventId, StoredEvent>();
    const missing: EventId[] = [];
    for (const id of ids) {
      const cached = this.#cachedById(id);
      if (cached === undefined) missing.push(id);
      else found.set(id, cached);
    }
    for await (const part of inTurns(missing, EVENTS_A_TURN)) {
      for (const stored of await this.#load(() => selectEventsById(this.#db, part))) {
        found.set(stored.event.eventId, stored);
      }
    }
    return found;
  }

  /** Returns the events with these numeric ids; unknown ones are left out. */
  async byNid(nids: readonly number[]): Promise<Map<number, StoredEvent>> {
    const found = new Map<number, StoredEvent>();
    const missing: number[] = [];
    for (const nid of nids) {
      const cached = this.#events.get(nid);
      if (cached === undefined) missing.push(nid);
      else found.set(nid, cached);
    }
    for await (const part of inTurns(missing, EVENTS_A_TURN)) {
      for (const stored of await this.#load(() => selectEventsByNid(this.#db, part))) found.set(stored.nid, stored);
    }
    return found;
  }

  /** Returns one event, or null. */
  async getById(id: EventId): Promise<StoredEvent | null> {
    return this.#cachedById(id) ?? (await this.byId([id])).get(id) ?? null;
  }

  /** Returns one event, or null. */
  async getByNid(nid: number): Promise<StoredEvent | null> {
    return this.#events.get(nid) ?? (await this.byNid([nid])).get(nid) ?? null;
  }

  /** Returns an event if it is in memory. */
  peekByNid(nid: number): StoredEvent | undefined {
    return this.#events.get(nid);
  }

  /** Grows with each state event that is redacted: what was shown of what an event replaced may hold no more. */
  get redactedStates(): number {
    return this.#redactedStates;
  }

  /** Puts an event as it is after a commit. */
  put(stored: StoredEvent): void {
    if (stored.redactedByNid !== null && stored.event.stateKey !== null) this.#redactedStates++;
    this.#keep(stored);
  }

  #keep(stored: StoredEvent): void {
    this.#events.set(stored.nid, stored);
    this.#nids.set(stored.event.eventId, stored.nid);
  }

  /** Forgets an event, so that it is read from the database again. */
  drop(nid: number): void {
    this.#drops++;
    const stored = this.#events.peek(nid);
    if (stored === undefined) return;
    this.#events.delete(nid);
    this.#nids.delete(stored.event.eventId);
  }

  /** Forgets a room that is gone, with its events. */
  dropRoom(roomNid: number): void {
    this.#drops++;
    for (const nid of [...this.#events.keys()]) {
      if (this.#events.peek(nid)?.roomNid === roomNid) this.drop(nid);
    }
    const identity = this.#rooms.peek(roomNid);
    this.#rooms.delete(roomNid);
    if (identity !== undefined) this.#roomNids.delete(identity.roomId);
  }

  /** Returns a room's id and version by its numeric id, or null. */
  async room(roomNid: number): Promise<RoomIdentity | null> {
    return this.#rooms.get(roomNid) ?? await this.#loadRoom(() => selectRoomByNid(this.#db, roomNid));
  }

  /** Returns a room's numeric id and version by its id, or null. */
  async roomById(roomId: RoomId): Promise<RoomIdentity | null> {
    const roomNid = this.#roomNids.get(roomId);
    const cached = roomNid === undefined ? undefined : this.#rooms.get(roomNid);
    return cached ?? await this.#loadRoom(() => selectRoomById(this.#db, roomId));
  }

  async #loadRoom(
    select: () => Promise<{ roomNid: number; roomId: RoomId; roomVersion: string } | null>,
  ): Promise<RoomIdentity | null> {
    const drops = this.#drops;
    const row = await select();
    const rules = row === null ? null : getRoomVersion(row.roomVersion);
    if (row === null || rules === null) return null;
    const identity = { roomNid: row.roomNid, roomId: row.roomId, rules };
    if (drops === this.#drops) {
      this.#rooms.set(row.roomNid, identity);
      this.#roomNids.set(row.roomId, row.roomNid);
    }
    return identity;
  }

  #cachedById(id: EventId): StoredEvent | undefined {
    const nid = this.#nids.get(id);
    return nid === undefined ? undefined : this.#events.get(nid);
  }

  async #load(select: () => Promise<readonly EventRow[]>): Promise<StoredEvent[]> {
    const drops = this.#drops;
    const rows = await select();
    const loaded: StoredEvent[] = [];
    for (const row of rows) {
      const room = this.#rooms.get(row.roomNid) ?? await this.room(row.roomNid);
      if (room === null) continue;
      const cached = this.#events.get(row.eventNid);
      // A writer may have put a newer form while the row was read.
      const stored = cached ?? toStoredEvent(row, room);
      if (cached === undefined && drops === this.#drops) this.#keep(stored);
      loaded.push(stored);
    }
    return loaded;
  }
}

function toStoredEvent(row: EventRow, { roomId, rules }: RoomIdentity): StoredEvent {
  return {
    nid: row.eventNid,
    roomNid: row.roomNid,
    event: roomEventFromJson(row.json, { eventId: row.eventId, roomId, rules }),
    json: row.json,
    position: row.position,
    receivedTs: row.receivedTs,
    isOutlier: row.isOutlier,
    isRejected: row.isRejected,
    isSoftFailed: row.isSoftFailed,
    stateBefore: row.stateBefore,
    stateAfter: row.stateAfter,
    stateKeyNid: row.stateKeyNid,
    authRank: row.authRank,
    redactedByNid: row.redactedByNid,
  };
}
