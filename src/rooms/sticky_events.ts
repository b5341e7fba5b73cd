/**
 * The sticky events of rooms (MSC4354), for those who read rooms.
 *
 * Few rooms have any, and those are in memory, so that reading the others costs nothing.
 */
import type { Clock } from "../lib/clock.ts";
import { stickyEndOf } from "../protocol/sticky.ts";
import type { Database, Tx } from "../storage/database.ts";
import { insertStickyEvent, selectStickyEvents, selectStickyRooms } from "../storage/sticky_events.ts";
import type { EventStore } from "./event_store.ts";
import type { PersistedBatch } from "./pending.ts";
import type { StreamRange } from "./room_timelines.ts";
import type { StoredEvent } from "./types.ts";

/** What it is built from. */
export interface StickyEventsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: EventStore;
  /** Synapse's `msc4354_enabled`; without it no event is sticky. */
  readonly isEnabled: boolean;
}

/** What memory holds of a room. */
interface StickyRoom {
  /** When its last event expires. */
  readonly endTs: number;
  /** Position of the newest. */
  readonly position: number;
}

/** A part of what a room's members have to be told. */
export interface StickyRange extends StreamRange {
  /** Whose events the reader does not want. */
  readonly ignored: ReadonlySet<string>;
}

/** How many of a room's events are told at most: of more only the newest. */
const MAX_EVENTS = 500;

/** Keeps sticky events and finds them. */
export class StickyEvents {
  readonly #deps: StickyEventsDeps;
  #rooms: Promise<Map<number, StickyRoom>> | null = null;
  #loaded: Map<number, StickyRoom> | null = null;

  constructor(deps: StickyEventsDeps) {
    this.#deps = deps;
  }

  /** The engine's handler. */
  readonly onPersist = async (tx: Tx, { room: { roomNid }, events }: PersistedBatch): Promise<void> => {
    if (!this.#deps.isEnabled) return;
    const now = this.#deps.clock.now();
    for (const { stored } of events) {
      const endTs = stickyEndOf(stored.event.pdu, stored.receivedTs);
      if (endTs === null || endTs <= now || !isShown(stored)) continue;
      const { nid, position } = stored;
      await insertStickyEvent(tx, { nid, roomNid, position, endTs, now });
      tx.afterCommit(() => this.#note(roomNid, { endTs, position }));
    }
  };

  /** Returns the rooms that have sticky events now, with the position of the newest in each. */
  async rooms(): Promise<ReadonlyMap<number, { readonly position: number }>> {
    if (!this.#deps.isEnabled) return NO_ROOMS;
    const rooms = await this.#load();
    const now = this.#deps.clock.now();
    for (const [roomNid, { endTs }] of rooms) if (endTs <= now) rooms.delete(roomNid);
    return rooms;
  }

  /** Tells whether memory says that a room has no sticky events. */
  hasNoneIn(roomNid: number): boolean {
    return !this.#deps.isEnabled || this.#loaded !== null && !this.#loaded.has(roomNid);
  }

  /** Returns a room's sticky events of a range, the oldest first. Whoever is in the room may see them all. */
  async inRoom({ roomNid, after, upTo, ignored }: StickyRange): Promise<StoredEvent[]> {
    const room = (await this.rooms()).get(roomNid);
    if (room === undefined || room.position <= after) return [];
    const { db, clock, events } = this.#deps;
    const rows = await selectStickyEvents(db, { roomNid, after, upTo, now: clock.now(), limit: MAX_EVENTS });
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    const found: StoredEvent[] = [];
    for (const { nid } of rows.reverse()) {
      const event = stored.get(nid);
      if (event !== undefined && event.redactedByNid === null && !ignored.has(event.event.sender)) found.push(event);
    }
    return found;
  }

  #load(): Promise<Map<number, StickyRoom>> {
    const { db, clock } = this.#deps;
    this.#rooms ??= selectStickyRooms(db, { now: clock.now() }).then(
      (rows) => this.#loaded = new Map(rows.map(({ roomNid, ...room }) => [roomNid, room])),
      (error) => {
        this.#rooms = null;
        throw error;
      },
    );
    return this.#rooms;
  }

  /** Rooms that are not in memory yet come with what is written by then. */
  #note(roomNid: number, { endTs, position }: StickyRoom): void {
    void this.#rooms?.then((rooms) => {
      const room = rooms.get(roomNid);
      rooms.set(roomNid, {
        endTs: Math.max(endTs, room?.endTs ?? 0),
        position: Math.max(position, room?.position ?? 0),
      });
    }, () => {});
  }
}

const NO_ROOMS: ReadonlyMap<number, { readonly position: number }> = new Map();

/** Backfilled events have had their time; what is refused is shown to nobody. */
function isShown(stored: StoredEvent): stored is StoredEvent & { readonly position: number } {
  return stored.position !== null && stored.position > 0 && !stored.isRejected && !stored.isSoftFailed &&
    !stored.isOutlier;
}
