/** One room of a sync response, as text. */
import { type EventFilter, matchesRoom } from "../protocol/filter.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { LocalMembership } from "../rooms/local_memberships.ts";
import type { Bundler } from "../rooms/pagination.ts";
import type { EventRenderer } from "../rooms/renderer.ts";
import type { StickyEvents } from "../rooms/sticky_events.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Viewer } from "../rooms/visibility.ts";
import type { StateDelta } from "../storage/timeline.ts";
import { formatRoomToken, type RoomToken } from "../streams/tokens.ts";
import type { UnreadCount, UnreadCounts } from "./providers.ts";
import {
  endRootOf,
  readEndState,
  readOwnMembers,
  readState,
  type RoomStatesDeps,
  type StateQuery,
} from "./room_states.ts";
import type { RoomEnd, SharedEnds, SharedEvents } from "./shared_ends.ts";
import type { SharedText } from "./shared_news.ts";
import { type Summaries, summaryText } from "./summaries.ts";
import { timelineTexts } from "./timeline_texts.ts";
import { readTimeline, type Timeline, type TimelineDeps, timelineLimit } from "./timelines.ts";
import { renderViewOf, type RoomPart, type SyncView } from "./types.ts";

/** What room entries are built from. */
export interface RoomEntryDeps extends RoomStatesDeps, TimelineDeps {
  readonly events: EventStore;
  readonly renderer: EventRenderer;
  readonly summaries: Summaries;
  readonly bundle?: Bundler;
  readonly stickyEvents: StickyEvents;
  readonly ends: SharedEnds;
  /** Counts what is unread of a room. */
  readonly unread: (view: SyncView, part: RoomPart) => Promise<UnreadCounts>;
}

/** What a room has besides its events: texts of events, ready to be put in. */
export interface RoomExtras {
  readonly ephemeral: readonly string[];
  readonly accountData: readonly string[];
  /** Show the room even if nothing else is new in it. */
  readonly isTouched: boolean;
}

const NO_TIMELINE: Omit<Timeline, "prev"> = { events: [], limited: false, isWhole: true };

/** A joined room, with what else there is to say of it. */
export interface JoinedRoom {
  readonly view: SyncView;
  readonly part: RoomPart;
  /** The user's membership. */
  readonly entry: LocalMembership | undefined;
  readonly extras: RoomExtras;
}

/** Returns the entry of a joined room whose timeline and state were made for all, or null when there is nothing to tell. */
export function sharedEntry(
  { view, part, extras }: JoinedRoom,
  { text, isEmpty, unread }: SharedText & { unread: UnreadCounts },
): string | null {
  if (isEmpty && !hasExtras(extras)) return null;
  return joinedText(part, { body: text, extras, rest: unreadText(view, unread) });
}

function hasExtras({ isTouched, ephemeral, accountData }: RoomExtras): boolean {
  return isTouched || ephemeral.length > 0 || accountData.length > 0;
}

function joinedText(
  { roomId }: RoomPart,
  { body, extras, rest }: { body: string; extras: RoomExtras; rest: string },
): string {
  return `${JSON.stringify(roomId)}:{${body},"account_data":{"events":[${extras.accountData.join(",")}]},` +
    `"ephemeral":{"events":[${extras.ephemeral.join(",")}]}${rest}}`;
}

function viewerOf(
  { requester: { userId }, ignored, showsSoftFailed }: SyncView,
  upTo: number | null,
): Viewer {
  return { userId, isMember: true, upTo, ignored, showsSoftFailed };
}

/** Returns the entry of a joined room, or null when there is nothing to tell. */
export async function joinedEntry(
  deps: RoomEntryDeps,
  { view, part, entry, extras }: JoinedRoom,
): Promise<string | null> {
  const viewer = viewerOf(view, null);
  const end = await sharedEnd(deps, { view, part, entry });
  const { timeline, deltas } = end === null
    ? await readPart(deps, { view, part, viewer })
    : { timeline: end.timeline, deltas: [] };
  const isNew = part.after === null || view.fullState;
  const wantsSummary = isNew || deps.summaries.isAffectedBy(deltas);
  const summary = wantsSummary
    ? await deps.summaries.of({ roomNid: part.roomNid, root: await endRootOf(deps, part) }, view.requester.userId)
    : null;
  const query = { view, part, timeline, deltas, heroes: summary?.heroes ?? [] };
  const endState = end === null ? null : await sharedState(deps, { query, end });
  const state = endState === null
    ? await readState(deps, query)
    : await readOwnMembers(deps, { ...query, shared: endState.events });
  const sticky = await readSticky(deps, { view, part, timeline });
  const hasNews = isNew || sticky.length > 0 || summary !== null || state.length > 0 || timeline.events.length > 0 ||
    timeline.limited || hasExtras(extras);
  if (!hasNews) return null;
  const body = await eventsText(deps, { view, timeline, state, end, endState }) +
    await stickyText(deps, { view, sticky });
  const summaryPart = summary === null ? "" : `,"summary":${summaryText(summary)}`;
  return joinedText(part, { body, extras, rest: unreadText(view, await deps.unread(view, part)) + summaryPart });
}

/** Returns the end of a room that is the same for all who ask in this way; null to answer the reader alone. */
async function sharedEnd(
  { ends }: RoomEntryDeps,
  { view, part, entry }: Pick<JoinedRoom, "view" | "part" | "entry">,
): Promise<RoomEnd | null> {
  const { filter, requester: { userId }, ignored } = view;
  const { timeline } = filter.room;
  const isShared = part.after === null && !view.fullState && !view.showsSoftFailed && timeline.matchesAll &&
    filter.eventFields === null &&
    filter.eventFormat === "client" && matchesRoom(timeline, part.roomId);
  return isShared ? await ends.of({ part, limit: timelineLimit(timeline), reader: { userId, entry, ignored } }) : null;
}

/** Returns the state that goes with a shared end, but for members who are the reader's own business; null as above. */
async function sharedState(
  deps: RoomEntryDeps,
  { query, end }: { query: StateQuery; end: RoomEnd },
): Promise<SharedEvents | null> {
  const { view: { filter, stateAfter }, part } = query;
  const { state } = filter.room;
  // All members of a room are too much to be kept for each state that it had.
  if (!state.lazyLoadMembers || !state.matchesAll || !matchesRoom(state, part.roomId)) return null;
  const key = stateAfter === null ? "before" : "after";
  return await deps.ends.state(end, { key, read: () => readEndState(deps, query) });
}

/** Returns the sticky events (MSC4354) that are new to the client and not in the timeline. */
async function readSticky(
  { stickyEvents }: RoomEntryDeps,
  { view, part, timeline }: { view: SyncView; part: RoomPart; timeline: Timeline },
): Promise<StoredEvent[]> {
  const { roomNid, upTo } = part;
  const after = part.newlyJoined || view.fullState ? 0 : part.after ?? 0;
  const found = await stickyEvents.inRoom({ roomNid, after, upTo, ignored: view.ignored });
  if (found.length === 0) return found;
  const shown = new Set(timeline.events.map(({ stored }) => stored.nid));
  return found.filter(({ nid }) => !shown.has(nid));
}

async function stickyText(
  { renderer }: RoomEntryDeps,
  { view, sticky }: { view: SyncView; sticky: readonly StoredEvent[] },
): Promise<string> {
  if (sticky.length === 0) return "";
  const texts = await renderer.render(sticky, renderViewOf(view));
  return `,"msc4354_sticky":{"events":[${texts.join(",")}]}`;
}

/** Returns the entry of a room that the user left, up to the leaving. */
export async function leftEntry(
  deps: RoomEntryDeps,
  { view, part, accountData }: { view: SyncView; part: RoomPart; accountData: readonly string[] },
): Promise<string> {
  const viewer = viewerOf(view, part.upTo);
  const { timeline, deltas } = await readPart(deps, { view, part, viewer });
  const state = await readState(deps, { view, part, timeline, deltas, heroes: [] });
  const body = await eventsText(deps, { view, timeline, state, end: null, endState: null });
  return `${JSON.stringify(part.roomId)}:{${body},"account_data":{"events":[${accountData.join(",")}]}}`;
}

/** Returns the entry of a room that the user was never in: only the event that ended the invitation or the knock. */
export async function refusedEntry(
  deps: RoomEntryDeps,
  { view, entry }: { view: SyncView; entry: LocalMembership },
): Promise<string> {
  const own = await deps.events.getByNid(entry.eventNid);
  const shown = own === null || !view.filter.room.timeline.matches(own.event) ? [] : [own];
  const memberships = new Map(shown.map(({ nid }) => [nid, entry.membership]));
  const texts = await deps.renderer.render(shown, { ...renderViewOf(view), memberships });
  const prevBatch = formatRoomToken({ kind: "stream", position: entry.position - 1 });
  return `${JSON.stringify(entry.roomId)}:{"timeline":{"events":[${texts.join(",")}],"limited":false,` +
    `"prev_batch":"${prevBatch}"},"${view.stateAfter ?? "state"}":{"events":[]},"account_data":{"events":[]}}`;
}

async function readPart(
  deps: RoomEntryDeps,
  { view, part, viewer }: { view: SyncView; part: RoomPart; viewer: Viewer },
): Promise<{ timeline: Timeline; deltas: readonly StateDelta[] }> {
  const filter: EventFilter = view.filter.room.timeline;
  const end: RoomToken = { kind: "stream", position: part.upTo };
  const isQuiet = part.after !== null && (deps.timelines.lastPosition(part.roomNid) ?? Infinity) <= part.after;
  if (isQuiet) return { timeline: { ...NO_TIMELINE, prev: end }, deltas: [] };
  const timeline = matchesRoom(filter, part.roomId)
    ? await readTimeline(deps, { part, filter, viewer })
    : { ...NO_TIMELINE, prev: end };
  const { roomNid, after, upTo } = part;
  const deltas = after === null ? [] : await deps.timelines.deltas({ roomNid, after, upTo });
  return { timeline, deltas };
}

async function eventsText(
  deps: RoomEntryDeps,
  { view, timeline, state, end, endState }: {
    view: SyncView;
    timeline: Timeline;
    /** Beside that of `endState`. */
    state: readonly StoredEvent[];
    end: RoomEnd | null;
    endState: SharedEvents | null;
  },
): Promise<string> {
  const renderView = renderViewOf(view);
  const events = await timelineTexts(deps, { timeline, end, userId: view.requester.userId, view: renderView });
  const stateView = { ...renderView, previous: false };
  const stateTexts = endState === null ? [] : await deps.ends.texts(endState, stateView);
  stateTexts.push(...await deps.renderer.render(state, stateView));
  const prevBatch = formatRoomToken(timeline.prev);
  return `"timeline":{"events":[${events.join(",")}],"limited":${timeline.limited},"prev_batch":"${prevBatch}"},` +
    `"${view.stateAfter ?? "state"}":{"events":[${stateTexts.join(",")}]}`;
}

function unreadText(view: SyncView, unread: UnreadCounts): string {
  let { notify, highlight } = unread.main;
  const byThread = view.filter.room.timeline.unreadThreadNotifications;
  const threads: string[] = [];
  for (const [root, count] of unread.threads) {
    if (byThread) threads.push(`${JSON.stringify(root)}:${countText(count)}`);
    else {
      notify += count.notify;
      highlight += count.highlight;
    }
  }
  const text = `,"unread_notifications":${countText({ notify, highlight })}`;
  return threads.length > 0 ? `${text},"unread_thread_notifications":{${threads.join(",")}}` : text;
}

function countText({ notify, highlight }: UnreadCount): string {
  return `{"highlight_count":${highlight},"notification_count":${notify}}`;
}
