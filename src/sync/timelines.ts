/** The timeline of a room in one sync: the last events that the filter and the history visibility let through. */
import type { EventFilter } from "../protocol/filter.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomTimelines } from "../rooms/room_timelines.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Viewer, Visibility, VisibleEvent } from "../rooms/visibility.ts";
import { MIN_POSITION, type TimelineRow } from "../storage/timeline.ts";
import type { TimelineGaps } from "./timeline_gaps.ts";
import type { RoomPart } from "./types.ts";

/** A part of a room's timeline. */
export interface Timeline {
  /** Oldest first. */
  readonly events: readonly VisibleEvent[];
  /** There are more events between the last sync and the first of these. */
  readonly limited: boolean;
  /** Pagination goes on backwards from this position of the stream. */
  readonly prevPosition: number;
  /** The events follow one another and none between them was left out, so their own state is all that changed. */
  readonly isWhole: boolean;
}

/** What reading timelines is built from. */
export interface TimelineDeps {
  readonly timelines: RoomTimelines;
  readonly events: EventStore;
  readonly visibility: Visibility;
  readonly gaps: TimelineGaps;
}

/** How many events a room's timeline has when the filter does not say, and at most. */
const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
/** How often the search goes further back when a filter hides much. */
const MAX_ROUNDS = 5;
const FILTERED_CHUNK = 100;

/** Reads a room's timeline. */
export async function readTimeline(
  deps: TimelineDeps,
  { part, filter, viewer }: { part: RoomPart; filter: EventFilter; viewer: Viewer },
): Promise<Timeline> {
  const after = part.after ?? MIN_POSITION;
  const limit = filter.matchesNone ? 0 : Math.min(filter.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
  const chunk = filter.matchesAll ? limit : Math.max(limit, FILTERED_CHUNK);
  const found: VisibleEvent[] = [];
  let upTo = part.upTo;
  let more = true;
  let isWhole = true;
  for (let round = 0; more && found.length < limit && round < MAX_ROUNDS; round++) {
    const rows = await deps.timelines.tail({ roomNid: part.roomNid, after, upTo }, chunk + 1);
    more = rows.length > chunk;
    const { taken, isCut } = await upToGap(deps, { rows: rows.slice(0, chunk), part });
    if (isCut) more = true;
    const visible = await readVisible(deps, { rows: taken, filter, viewer });
    if (visible.length < taken.length) isWhole = false;
    for (const event of visible) {
      if (found.length < limit) found.push(event);
      else more = true;
    }
    upTo = (taken[taken.length - 1]?.position ?? upTo) - 1;
    if (isCut) break;
  }
  if (limit === 0) more = (await deps.timelines.tail({ roomNid: part.roomNid, after, upTo }, 1)).length > 0;
  found.reverse();
  return {
    events: found,
    limited: more || part.newlyJoined && part.after === null,
    prevPosition: found[0] === undefined ? part.upTo : (found[0].stored.position ?? 0) - 1,
    isWhole: isWhole && isChain(found),
  };
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
