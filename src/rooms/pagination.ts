/**
 * Walking through a room's history. Spec: client-server API, `GET /rooms/{roomId}/messages`.
 *
 * History is in graph order: by depth, then by stream position. A token is a place between two events. A token of sync
 * is a place in the stream: it bounds what is shown by position, and the walk enters the graph at the depth found there.
 */
import type { EventFilter } from "../protocol/filter.ts";
import type { EventId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import {
  FIRST,
  type HistoryRange,
  LAST,
  MAX_POSITION,
  MIN_POSITION,
  selectDepthAfter,
  selectDepthBefore,
  selectDepthOfNext,
  selectHistoryBackward,
  selectHistoryForward,
  type TimelineRow,
} from "../storage/timeline.ts";
import { formatRoomToken, type RoomToken } from "../streams/tokens.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { MemberLoader } from "./lazy_members.ts";
import type { EventRenderer } from "./renderer.ts";
import type { Reading, RoomAccess, RoomReaders } from "./room_access.ts";
import type { Membership, StoredEvent } from "./types.ts";
import type { Viewer, Visibility, VisibleEvent } from "./visibility.ts";

/** What pagination is built from. */
export interface PaginationDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly visibility: Visibility;
  readonly readers: RoomReaders;
  readonly renderer: EventRenderer;
  readonly members: MemberLoader;
  /** Returns the position of the events stream. */
  readonly streamPosition: () => number;
  readonly bundle?: Bundler;
  /** Fills holes from other servers; null while these cannot be reached. */
  readonly history?: { current: RemoteHistory | null };
}

/** Returns the text of `unsigned.m.relations` for those of the events that have any, by event. */
export type Bundler = (events: readonly StoredEvent[], userId: UserId) => Promise<ReadonlyMap<number, string>>;

/** Gets from other servers what is not here. */
export interface RemoteHistory {
  /** Fetches what came before events of such depths whose parents are not known; tells whether there is more now. */
  fill(room: RoomIdentity, hole: { low: number; high: number; limit: number }): Promise<boolean>;
  /** Fetches one event and gives it its place; tells whether it is here now. */
  event(room: RoomIdentity, eventId: EventId): Promise<boolean>;
  /** Looks for an event nearer to a time than the known one; tells whether one was found, which is here now. */
  nearer(room: RoomIdentity, wanted: WantedTime): Promise<boolean>;
  /** Fetches an event with what is related to it, without places in the graph; null when nobody has it. */
  related(room: RoomIdentity, query: RelatedQuery): Promise<RelatedEvent[] | null>;
}

/** The body of a request for related events (MSC2836). */
export type RelatedQuery = JsonObject & { readonly event_id: EventId };

/** An event that another server sent, with its word on the event's children. */
export interface RelatedEvent {
  readonly eventId: EventId;
  readonly unsigned: JsonObject;
}

/** A moment, and what is known next to it. Times are in milliseconds. */
export interface WantedTime {
  readonly ts: number;
  readonly backwards: boolean;
  /** The time of the nearest event that is known; null for none. */
  readonly knownTs: number | null;
}

/** A page as asked for. */
export interface PageRequest {
  readonly direction: "b" | "f";
  readonly from: RoomToken | null;
  readonly to: RoomToken | null;
  readonly limit: number;
  readonly filter: EventFilter | null;
}

/** A part of a room's history. */
export interface Page {
  readonly events: readonly VisibleEvent[];
  readonly start: RoomToken;
  /** Null when there is nothing beyond. */
  readonly end: RoomToken | null;
  /** Of which depths the events are, and the one beyond at the start: holes are between. */
  readonly depths: { readonly low: number; readonly high: number };
}

/** How many events one request looks at, when a filter or visibility hides most of them. */
const MAX_SCANNED = 2_000;
const MAX_FETCHES = 3;
const MIN_CHUNK = 20;
const MAX_CHUNK = 500;

/** Reads pages of history. */
export class Pagination {
  readonly #deps: PaginationDeps;

  constructor(deps: PaginationDeps) {
    this.#deps = deps;
  }

  /** Returns the response body of `/messages`, as text. */
  async messages(reading: Reading, request: PageRequest): Promise<string> {
    const { requester, access } = reading;
    const { readers, renderer, members, bundle } = this.#deps;
    const viewer = readers.viewer(reading);
    const page = await this.pageWithoutHoles(access, { viewer, request });
    const events = page.events.map(({ stored }) => stored);
    const relations = await bundle?.(events, requester.userId);
    const chunk = await renderer.render(events, {
      requester,
      roomId: true,
      previous: true,
      memberships: membershipsOf(page.events),
      ...(relations && { relations }),
    });
    let text = `{"chunk":[${chunk.join(",")}],"start":"${formatRoomToken(page.start)}"`;
    if (page.end !== null) text += `,"end":"${formatRoomToken(page.end)}"`;
    if (request.filter?.lazyLoadMembers && events.length > 0) {
      const state = await members.membersFor(events, request.direction === "b" ? "before" : "after");
      const rendered = await renderer.render(state, { requester, roomId: true, previous: false });
      text += `,"state":[${rendered.join(",")}]`;
    }
    return `${text}}`;
  }

  /** As `page`, but holes in it are filled first, as far as other servers help. */
  async pageWithoutHoles(
    access: RoomAccess,
    { viewer, request }: { viewer: Viewer; request: PageRequest },
  ): Promise<Page> {
    const history = this.#deps.history?.current ?? null;
    let page = await this.page(access, { viewer, request });
    if (history === null || access.kind === "peeking") return page;
    for (let attempt = 0; attempt < MAX_FETCHES; attempt++) {
      if (!await history.fill(access.room, { ...page.depths, limit: request.limit })) break;
      page = await this.page(access, { viewer, request });
    }
    return page;
  }

  /** Returns a page of what a viewer may see. */
  async page(
    access: RoomAccess,
    { viewer, request }: { viewer: Viewer; request: PageRequest },
  ): Promise<Page> {
    const backward = request.direction === "b";
    const start = request.from ?? this.#edge(backward);
    let range = await this.#range(access, { start, request });
    const found: VisibleEvent[] = [];
    const entry = range === null ? null : range.from.depth;
    let end: RoomToken | null = null;
    let scanned = 0;
    let more = false;
    while (range !== null) {
      const limit = Math.min(Math.max(request.limit - found.length, MIN_CHUNK), MAX_CHUNK);
      // One more than wanted tells whether anything lies beyond.
      const select = backward ? selectHistoryBackward : selectHistoryForward;
      const rows = await select(this.#deps.db, {
        ...{ ...range, limit: limit + 1 },
        withSoftFailed: viewer.showsSoftFailed === true,
      });
      const chunk = rows.slice(0, limit);
      const taken = await this.#take(chunk, { viewer, request, found });
      scanned += chunk.length;
      more = taken < chunk.length || rows.length > limit;
      const last = chunk[taken - 1];
      if (last === undefined) {
        if (more) end = start;
        break;
      }
      // The last page has an end too, from which the next request gets nothing. The specification would have it left
      // out, but Synapse does this, and Complement's TestRoomImageRoundtrip and clients have come to expect it.
      end = beside(last, backward);
      if (!more || found.length >= request.limit || scanned >= MAX_SCANNED) break;
      range = { ...range, from: next(last, backward) };
    }
    return { events: found, start, end, depths: depthsOf({ entry, request, found, isWhole: !more }) };
  }

  /** Adds to `found` what may be shown of the rows, up to the limit; returns how many rows that took. */
  async #take(
    rows: readonly TimelineRow[],
    { viewer, request, found }: { viewer: Viewer; request: PageRequest; found: VisibleEvent[] },
  ): Promise<number> {
    if (request.limit <= found.length) return 0;
    const { events, visibility } = this.#deps;
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    const wanted = rows.map(({ nid }) => stored.get(nid)).filter((event): event is StoredEvent =>
      event !== undefined && (request.filter === null || request.filter.matches(event.event))
    );
    const visible = await visibility.filter(wanted, viewer);
    const room = request.limit - found.length;
    found.push(...visible.slice(0, room));
    const lastShown = visible[room - 1];
    if (lastShown === undefined) return rows.length;
    return rows.findIndex(({ nid }) => nid === lastShown.stored.nid) + 1;
  }

  #edge(backward: boolean): RoomToken {
    return { kind: "stream", position: backward ? this.#deps.streamPosition() : MIN_POSITION };
  }

  /** Turns tokens into bounds; null when nothing lies in that direction. */
  async #range(
    { room: { roomNid }, upTo }: RoomAccess,
    { start, request }: { start: RoomToken; request: PageRequest },
  ): Promise<Omit<HistoryRange, "limit"> | null> {
    const backward = request.direction === "b";
    let minPosition = MIN_POSITION;
    let maxPosition = upTo ?? MAX_POSITION;
    const from = { ...(backward ? LAST : FIRST) };
    const to = { ...(backward ? FIRST : LAST) };
    if (start.kind === "topological") {
      from.depth = start.depth;
      from.position = backward ? start.position : start.position + 1;
    } else if (backward) {
      maxPosition = Math.min(maxPosition, start.position);
      const at = { roomNid, position: maxPosition };
      const [depth, next] = await Promise.all([
        selectDepthBefore(this.#deps.db, at),
        selectDepthOfNext(this.#deps.db, at),
      ]);
      if (depth === null && next === null) return null;
      // What fills a hole before the next event is deeper than the events that came before it.
      from.depth = Math.max(depth ?? MIN_POSITION, next === null ? MIN_POSITION : next - 1);
    } else {
      minPosition = start.position === MIN_POSITION ? MIN_POSITION : start.position + 1;
      if (start.position !== MIN_POSITION) {
        const depth = await selectDepthAfter(this.#deps.db, { roomNid, position: start.position });
        if (depth === null) return null;
        from.depth = depth;
      }
    }
    if (request.to?.kind === "topological") {
      to.depth = request.to.depth;
      to.position = backward ? request.to.position + 1 : request.to.position;
    } else if (request.to !== null && backward) minPosition = Math.max(minPosition, request.to.position + 1);
    else if (request.to !== null) maxPosition = Math.min(maxPosition, request.to.position);
    return { roomNid, from, to, minPosition, maxPosition };
  }
}

/** Returns what the viewer was at each event, for `unsigned.membership`. */
export function membershipsOf(events: readonly VisibleEvent[]): ReadonlyMap<number, Membership> {
  return new Map(events.map(({ stored, membership }) => [stored.nid, membership]));
}

/** Returns the place just before an event, in graph order. */
export function tokenBefore({ depth, position }: { depth: number; position: number }): RoomToken {
  return { kind: "topological", depth, position: position - 1 };
}

/** Returns the place just after an event, in graph order. */
export function tokenAfter({ depth, position }: { depth: number; position: number }): RoomToken {
  return { kind: "topological", depth, position };
}

/** Returns the depths that a page spans: to the end of the room where it goes there. */
function depthsOf(
  { entry, request, found, isWhole }: {
    entry: number | null;
    request: PageRequest;
    found: readonly VisibleEvent[];
    isWhole: boolean;
  },
): Page["depths"] {
  if (entry === null) return { low: 0, high: -1 };
  const last = isWhole ? undefined : found.at(-1)?.stored.event.depth;
  // The event just beyond the start may be what lacks its parents.
  if (request.direction === "b") return { low: last ?? MIN_POSITION, high: Math.min(MAX_POSITION, entry + 1) };
  return { low: entry, high: last ?? MAX_POSITION };
}

function beside(row: TimelineRow, backward: boolean): RoomToken {
  return backward ? tokenBefore(row) : tokenAfter(row);
}

/** Returns the bound that goes on after a row. */
function next({ depth, position }: TimelineRow, backward: boolean): { depth: number; position: number } {
  return { depth, position: backward ? position - 1 : position + 1 };
}
