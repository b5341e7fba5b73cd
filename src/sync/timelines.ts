/** The timeline of a room in one sync: the last events that the filter and the history visibility let through. */
import { type EventFilter, parseRoomEventFilter } from "../protocol/filter.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomTimelines } from "../rooms/room_timelines.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Viewer, Visibility, VisibleEvent } from "../rooms/visibility.ts";
import { tokenBefore } from "../rooms/pagination.ts";
import { LAST, MIN_POSITION, type TimelineRow } from "../storage/timeline.ts";
import type { RoomToken } from "../streams/tokens.ts";
import type { TimelineGaps } from "./timeline_gaps.ts";
import type { RoomPart } from "./types.ts";

/** A part of a room's timeline. */
export interface Timeline {
  /** Oldest first. */
  readonly events: readonly VisibleEvent[];
  /** There are more events between the last sync and the first of these. */
  readonly limited: boolean;
  /** Pagination goes on backwards from here. */
  readonly prev: RoomToken;
  /** The events follow one another and none between them was left out, so their own state is all that changed. */
  readonly isWhole: boolean;
}

/** What reading timelines is built from. */
export interface TimelineDeps {
  readonly timelines: RoomTimelines;
  readonly events: EventStore;
  readonly visibility: Pick<Visibility, "filter">;
  readonly gaps: TimelineGaps;
}

/** How many events a room's timeline has when the filter does not say, and at most. */
const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
/** How often the search goes further back when a filter hides much. */
const MAX_ROUNDS = 5;
const FILTERED_CHUNK = 100;

/** Returns how many events of a room's timeline a filter asks for. */
export function timelineLimit(filter: EventFilter): number {
  return filter.matchesNone ? 0 : Math.min(filter.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
}

/** Returns the filter that lets all events through, up to so many. */
export function limitFilter(limit: number): EventFilter {
  const { filter, error } = parseRoomEventFilter({ limit });
  if (filter === null) throw new Error(error);
  return filter;
}

/** Reads a room's timeline. */
export async function readTimeline(
  deps: TimelineDeps,
  { part, filter, viewer }: { part: RoomPart; filter: EventFilter; viewer: Viewer },
): Promise<Timeline> {
  const limit = timelineLimit(filter);
  const chunk = filter.matchesAll ? limit : Math.max(limit, FILTERED_CHUNK);
  const found: VisibleEvent[] = [];
  const cursor = new TailCursor(deps.timelines, { part, withSoftFailed: viewer.showsSoftFailed === true });
  let more = true;
  let isWhole = true;
  for (let round = 0; more && found.length < limit && round < MAX_ROUNDS; round++) {
    const rows = await cursor.next(chunk + 1);
    more = rows.length > chunk;
    const { taken, isCut } = await upToGap(deps, { rows: rows.slice(0, chunk), part });
    if (isCut) more = true;
    const visible = await readVisible(deps, { rows: taken, filter, viewer });
    if (visible.length < taken.length) isWhole = false;
    for (const event of visible) {
      if (found.length < limit) found.push(event);
      else more = true;
    }
    cursor.moveBefore(taken[taken.length - 1]);
    if (isCut) break;
  }
  if (limit === 0) more = (await cursor.next(1)).length > 0;
  found.reverse();
  return {
    events: found,
    limited: more || part.newlyJoined && part.after === null,
    prev: cursor.placeBefore(found[0]?.stored ?? null),
    isWhole: isWhole && !cursor.hasBranches && isChain(found),
  };
}

/**
 * Goes through the end of a room, newest first.
 *
 * In the order of the stream, as events came. But a client that is new to the room gets the order of the graph where the
 * two differ: else an old branch that came last would take the place of the room's latest messages (MSC4445; Synapse does
 * the same, and Complement's TestSyncOmitsStateChangeOnFilteredEvents expects it).
 */
class TailCursor {
  readonly #timelines: RoomTimelines;
  readonly #part: RoomPart;
  readonly #withSoftFailed: boolean;
  #upTo: number;
  /** Where to go on in the graph; null while the order of the stream holds. */
  #place: { readonly depth: number; readonly position: number } | null = null;

  constructor(
    timelines: RoomTimelines,
    { part, withSoftFailed }: { part: RoomPart; withSoftFailed: boolean },
  ) {
    this.#timelines = timelines;
    this.#part = part;
    this.#withSoftFailed = withSoftFailed;
    this.#upTo = part.upTo;
  }

  /** Events that came later may stand before those that are shown. */
  get hasBranches(): boolean {
    return this.#place !== null;
  }

  async next(limit: number): Promise<TimelineRow[]> {
    const { roomNid, after, upTo } = this.#part;
    const position = this.#upTo;
    const withSoftFailed = this.#withSoftFailed;
    if (this.#place === null) {
      const rows = await this.#timelines.tail(
        { roomNid, after: after ?? MIN_POSITION, upTo: position, withSoftFailed },
        limit,
      );
      if (after !== null || position !== upTo || isInGraphOrder(rows)) return rows;
      this.#place = LAST;
    }
    return await this.#timelines.history(
      { roomNid, from: this.#place, maxPosition: upTo, withSoftFailed },
      limit,
    );
  }

  /** Goes on before a row. */
  moveBefore(row: TimelineRow | undefined): void {
    if (row === undefined) return;
    if (this.#place === null) this.#upTo = row.position - 1;
    else this.#place = { depth: row.depth, position: row.position - 1 };
  }

  /** Returns the token for what lies before an event, or for all there is. */
  placeBefore(first: StoredEvent | null): RoomToken {
    if (first === null) return { kind: "stream", position: this.#part.upTo };
    const position = first.position ?? 0;
    if (this.#place === null) return { kind: "stream", position: position - 1 };
    return tokenBefore({ depth: first.event.depth, position });
  }
}

function isInGraphOrder(rows: readonly TimelineRow[]): boolean {
  return rows.every(({ depth }, index) => depth <= (rows[index - 1]?.depth ?? depth));
}

/** Returns the rows, newest first, down to the first that lies behind a hole, if any; of a room new to the client, all. */
async function upToGap(
  { events, gaps }: TimelineDeps,
  { rows, part }: { rows: readonly TimelineRow[]; part: RoomPart },
): Promise<{ taken: readonly TimelineRow[]; isCut: boolean }> {
  if (part.after === null) return { taken: rows, isCut: false };
  const behind = await gaps.among((await events.byNid(rows.map(({ nid }) => nid))).values());
  const first = behind.size === 0 ? -1 : rows.findIndex(({ nid }) => behind.has(nid));
  return first < 0 ? { taken: rows, isCut: false } : { taken: rows.slice(0, first + 1), isCut: true };
}

/** Returns those of the rows, newest first, that the viewer may see and the filter lets through. */
async function readVisible(
  { events, visibility }: TimelineDeps,
  { rows, filter, viewer }: { rows: readonly TimelineRow[]; filter: EventFilter; viewer: Viewer },
): Promise<VisibleEvent[]> {
  const stored = await events.byNid(rows.map(({ nid }) => nid));
  const wanted: StoredEvent[] = [];
  for (const { nid } of rows) {
    const event = stored.get(nid);
    if (event !== undefined && filter.matches(event.event)) wanted.push(event);
  }
  return await visibility.filter(wanted, viewer);
}

/** Tells whether each event's state is what the one before it left behind. */
function isChain(events: readonly VisibleEvent[]): boolean {
  for (let index = 1; index < events.length; index++) {
    if (events[index]?.stored.stateBefore !== events[index - 1]?.stored.stateAfter) return false;
  }
  return true;
}
