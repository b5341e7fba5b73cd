/**
 * What happened of late in each room, in memory: where its stream ends, its last events, how its state changed.
 *
 * An incremental sync asks "which of these rooms have something after N" and "what". Both are answered from here as far
 * as memory reaches back, else from the database. Each list says from where on it is complete.
 */
import { LruCache } from "../lib/lru.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  FIRST,
  selectHistoryBackward,
  selectStateDeltas,
  selectTimelineTail,
  type StateDelta,
  type TimelineRow,
  WHOLE_ROOM,
} from "../storage/timeline.ts";
import type { PersistedBatch, PersistedEvent } from "./pending.ts";

interface Recent {
  /** Complete for positions above this; ascending. */
  rowsFrom: number;
  rows: TimelineRow[];
  deltasFrom: number;
  deltas: StateDelta[];
}

/** A part of a room's stream: after `after` (exclusive), up to `upTo` (inclusive). */
export interface StreamRange {
  readonly roomNid: number;
  readonly after: number;
  readonly upTo: number;
}

const CACHED_ROOMS = 2_000;
const KEPT_ROWS = 50;
const KEPT_DELTAS = 50;
const KEPT_WRITES = 8_192;
const NO_DELTAS: readonly StateDelta[] = [];

/** Knows the ends of the rooms' streams. */
export class RoomTimelines {
  readonly #db: Database;
  /** One number for each room seen since the start. */
  readonly #last = new Map<number, number>();
  readonly #recent = new LruCache<number, Recent>({ name: "room_timelines", maxEntries: CACHED_ROOMS });
  /** The last batches in order; `#writesFrom` is the position above which they are all there. */
  #writes: { readonly position: number; readonly roomNid: number }[] = [];
  #writesFrom: number;
  #revision = 0;

  /** `position` is where the events stream stands now. */
  constructor({ db, position }: { db: Database; position: number }) {
    this.#db = db;
    this.#writesFrom = position;
  }

  /** The engine's handler: takes over a batch after its commit. */
  readonly onPersist = (tx: Tx, batch: PersistedBatch): Promise<void> => {
    tx.afterCommit(() => this.#apply(batch));
    return Promise.resolve();
  };

  /** Another number whenever the past of some room has become another. */
  get revision(): number {
    return this.#revision;
  }

  /** Notes that a room's current state changed without an event, at a position. */
  noteReplaced(roomNid: number, position: number): void {
    this.#revision++;
    if (position > (this.#last.get(roomNid) ?? 0)) this.#last.set(roomNid, position);
    this.#noteWrite(position, roomNid);
    this.#recent.delete(roomNid);
  }

  /** Forgets a room's last events, some of which are gone; what is left is read from the database. */
  forgetRecent(roomNid: number): void {
    this.#revision++;
    this.#recent.delete(roomNid);
  }

  /** Notes where a room's stream ended when it was read; what is known already counts more. */
  noteRoom(roomNid: number, lastPosition: number): void {
    if (!this.#last.has(roomNid)) this.#last.set(roomNid, lastPosition);
  }

  /** Returns the position of a room's last event, or null when it is not in memory. */
  lastPosition(roomNid: number): number | null {
    return this.#last.get(roomNid) ?? null;
  }

  /** Returns which of some rooms have events after a position: costs the lesser of what was written and the rooms. */
  changedAfter(after: number, rooms: ReadonlyMap<number, unknown>): number[] {
    const first = this.#firstWriteAfter(after);
    if (after >= this.#writesFrom && this.#writes.length - first <= rooms.size) {
      const changed = new Set<number>();
      for (let index = first; index < this.#writes.length; index++) {
        const roomNid = this.#writes[index]?.roomNid;
        if (roomNid !== undefined && rooms.has(roomNid)) changed.add(roomNid);
      }
      return [...changed];
    }
    const changed: number[] = [];
    for (const roomNid of rooms.keys()) {
      if ((this.#last.get(roomNid) ?? Infinity) > after) changed.push(roomNid);
    }
    return changed;
  }

  /** Returns the last `limit` events of a range, newest first. */
  async tail(
    { roomNid, after, upTo, withSoftFailed = false }: StreamRange & { readonly withSoftFailed?: boolean },
    limit: number,
  ): Promise<TimelineRow[]> {
    // Memory has what everybody is shown.
    if (withSoftFailed) return await selectTimelineTail(this.#db, { roomNid, after, upTo, limit, withSoftFailed });
    const recent = this.#recent.get(roomNid);
    if (recent !== undefined && upTo >= recent.rowsFrom) {
      const found = newestRows(recent.rows, { after, upTo, limit });
      if (found.length >= limit || after >= recent.rowsFrom) return found;
    }
    const rows = await selectTimelineTail(this.#db, { roomNid, after, upTo, limit });
    this.#keep({ roomNid, after, upTo }, { rows, complete: rows.length < limit });
    return rows;
  }

  /** Returns events of the room in the order of its graph, from a place back, the latest first. */
  async history(
    { roomNid, from, maxPosition, withSoftFailed = false }: {
      roomNid: number;
      from: { readonly depth: number; readonly position: number };
      maxPosition: number;
      withSoftFailed?: boolean;
    },
    limit: number,
  ): Promise<TimelineRow[]> {
    const range = { ...WHOLE_ROOM, roomNid, from, to: FIRST, maxPosition, limit, withSoftFailed };
    return await selectHistoryBackward(this.#db, range);
  }

  /** Returns how the room's current state changed in a range, oldest first. */
  async deltas(range: StreamRange): Promise<readonly StateDelta[]> {
    return this.peekDeltas(range) ?? await selectStateDeltas(this.#db, range);
  }

  /** As `deltas`, from memory; null where memory does not reach back. */
  peekDeltas({ roomNid, after, upTo }: StreamRange): readonly StateDelta[] | null {
    const recent = this.#recent.get(roomNid);
    if (recent === undefined || after < recent.deltasFrom) return null;
    const last = recent.deltas[recent.deltas.length - 1];
    if (last === undefined || last.position <= after) return NO_DELTAS;
    return recent.deltas.filter(({ position }) => position > after && position <= upTo);
  }

  #firstWriteAfter(after: number): number {
    let low = 0;
    let high = this.#writes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#writes[middle]?.position ?? 0) > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #apply({ room: { roomNid }, events, position }: PersistedBatch): void {
    const live = events.filter(({ stored }) => stored.position !== null && stored.position > 0);
    const first = live[0]?.stored.position;
    if (first === undefined || first === null) return;
    if (position > (this.#last.get(roomNid) ?? 0)) this.#last.set(roomNid, position);
    this.#noteWrite(position, roomNid);
    let recent = this.#recent.get(roomNid);
    if (recent === undefined) {
      recent = { rowsFrom: first - 1, rows: [], deltasFrom: first - 1, deltas: [] };
      this.#recent.set(roomNid, recent);
    }
    for (const persisted of live) append(recent, persisted);
    trim(recent);
  }

  #noteWrite(position: number, roomNid: number): void {
    const last = this.#writes[this.#writes.length - 1];
    // Commits of several connections may be heard of out of order.
    if (last !== undefined && last.position > position) {
      this.#writes.splice(this.#firstWriteAfter(position), 0, { position, roomNid });
    } else this.#writes.push({ position, roomNid });
    if (this.#writes.length <= KEPT_WRITES * 2) return;
    const dropped = this.#writes.splice(0, this.#writes.length - KEPT_WRITES);
    this.#writesFrom = dropped[dropped.length - 1]?.position ?? this.#writesFrom;
  }

  /** Keeps what was read, unless something that it does not hold was written since. */
  #keep({ roomNid, after, upTo }: StreamRange, { rows, complete }: { rows: TimelineRow[]; complete: boolean }): void {
    const oldest = rows[rows.length - 1];
    const from = complete || oldest === undefined ? after : oldest.position - 1;
    const ascending = rows.slice(0, KEPT_ROWS).reverse();
    const rowsFrom = rows.length > KEPT_ROWS ? (rows[KEPT_ROWS - 1]?.position ?? 0) - 1 : from;
    const recent = this.#recent.get(roomNid);
    if (recent === undefined) {
      if ((this.#last.get(roomNid) ?? Infinity) > upTo) return;
      this.#recent.set(roomNid, { rowsFrom, rows: ascending, deltasFrom: upTo, deltas: [] });
    } else if (upTo >= recent.rowsFrom && rowsFrom < recent.rowsFrom) {
      const boundary = recent.rowsFrom;
      recent.rows = [...ascending.filter((row) => row.position <= boundary), ...recent.rows];
      recent.rowsFrom = rowsFrom;
      trim(recent);
    }
  }
}

function newestRows(
  rows: readonly TimelineRow[],
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): TimelineRow[] {
  const found: TimelineRow[] = [];
  for (let index = rows.length - 1; index >= 0 && found.length < limit; index--) {
    const row = rows[index];
    if (row === undefined || row.position <= after) break;
    if (row.position <= upTo) found.push(row);
  }
  return found;
}

function append(recent: Recent, { stored, deltas }: PersistedEvent): void {
  const { nid, position, event, isRejected, isSoftFailed } = stored;
  if (position === null) return;
  if (!isRejected && !isSoftFailed) recent.rows.push({ nid, depth: event.depth, position });
  if (deltas.all.length > KEPT_DELTAS) {
    recent.deltas = [];
    recent.deltasFrom = position;
    return;
  }
  for (const { type, stateKey, before, after } of deltas.all) {
    const eventNid = after?.nid ?? null;
    recent.deltas.push({ position, type, stateKey, eventNid, prevEventNid: before?.nid ?? null });
  }
}

function trim(recent: Recent): void {
  if (recent.rows.length > KEPT_ROWS * 2) {
    const dropped = recent.rows.splice(0, recent.rows.length - KEPT_ROWS);
    recent.rowsFrom = dropped[dropped.length - 1]?.position ?? recent.rowsFrom;
  }
  if (recent.deltas.length > KEPT_DELTAS * 2) {
    // Cut between positions, never within one.
    const cut = recent.deltas[recent.deltas.length - KEPT_DELTAS - 1]?.position ?? recent.deltasFrom;
    recent.deltas = recent.deltas.filter(({ position }) => position > cut);
    recent.deltasFrom = cut;
  }
}
