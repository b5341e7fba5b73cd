/** One room of a sliding sync response, as text. Spec: MSC4186, "RoomResult". */
import { stateKeyOf } from "../../protocol/event.ts";
import type { UserId } from "../../protocol/ids.ts";
import { isJsonObject } from "../../protocol/json.ts";
import type { JoinPositions } from "../../rooms/join_positions.ts";
import type { Bundler } from "../../rooms/pagination.ts";
import type { EventRenderer, RenderView } from "../../rooms/renderer.ts";
import type { RoomReaders } from "../../rooms/room_access.ts";
import type { Viewer } from "../../rooms/visibility.ts";
import type { StoredEvent } from "../../rooms/types.ts";
import type { StateDelta } from "../../storage/timeline.ts";
import { formatRoomToken } from "../../streams/tokens.ts";
import type { NotificationsProvider } from "../providers.ts";
import type { RoomEnd, SharedEnds, SharedEvents } from "../shared_ends.ts";
import { endRootOf, type RoomStatesDeps } from "../room_states.ts";
import type { Summaries } from "../summaries.ts";
import { timelineTexts } from "../timeline_texts.ts";
import { limitFilter, readTimeline, type Timeline, type TimelineDeps } from "../timelines.ts";
import type { RoomPart } from "../types.ts";
import { countUnread, peekUnread } from "../unread.ts";
import type { BumpStamps } from "./bump_stamps.ts";
import { LIVE, NEVER, type RoomRecord } from "./connections.ts";
import { readRequiredState, type RequiredState, type RequiredStateQuery } from "./required_state.ts";
import { type StrippedDeps, strippedResult } from "./stripped_result.ts";
import type { WantedRoom } from "./types.ts";
import type { SlidingView } from "./view.ts";

/** What rooms are read from. */
export interface RoomResultDeps extends StrippedDeps, TimelineDeps, Omit<RoomStatesDeps, "sentMembers"> {
  readonly renderer: EventRenderer;
  readonly readers: RoomReaders;
  readonly summaries: Summaries;
  readonly bumpStamps: BumpStamps;
  readonly joinPositions: JoinPositions;
  readonly notifications: NotificationsProvider;
  readonly ends: SharedEnds;
  readonly bundle?: Bundler;
}

/** A room of a response. */
export interface RoomResult {
  /** The JSON object; null when there is nothing to tell after all. */
  readonly text: string | null;
  /** What the client has of the room once it has the response. */
  readonly record: RoomRecord;
  /** Numeric ids of the member events sent. */
  readonly members: readonly number[];
  /** The client starts over with this room, as far as members are concerned. */
  readonly resetsMembers: boolean;
  readonly isInitial: boolean;
  /** The ids of the events in the timeline. */
  readonly eventIds: readonly string[];
  /** Whom the response speaks of: their profiles matter to the client. */
  readonly speakers: ReadonlySet<UserId>;
}

/** The most events that a timeline shows, whatever the client asks for. */
export const MAX_TIMELINE_LIMIT = 100;
/** The limit of a room of which the client has all events there are. */
const SENT_ALL = 1_000_000;
/** A type of state, the key of its content, and the field of the response. */
type NamedPart = readonly [type: string, key: string, field: string];
const NAMED_PARTS: readonly NamedPart[] = [["m.room.name", "name", "name"], ["m.room.avatar", "url", "avatar"]];
const MEMBER = "m.room.member";
const NO_MEMBERS: ReadonlySet<number> = new Set();

/** Returns what to tell of a room, or null when nothing happened in it. */
export async function roomResult(
  deps: RoomResultDeps,
  { view, room }: { view: SlidingView; room: WantedRoom },
): Promise<RoomResult | null> {
  const { roomNid, membership, eventNid } = room.entry;
  const known = view.connection.rooms.get(roomNid);
  if (!mayHaveNews(deps, { view, room, known })) return null;
  if (membership === "join") return await insideResult(deps, { view, room, known, stay: null });
  const isOut = membership === "leave" || membership === "ban";
  const stay = isOut ? await deps.readers.lastStay(view.request.requester.userId, eventNid) : null;
  if (stay === null) return await strippedResult(deps, { view, room, known });
  return await insideResult(deps, { view, room, known, stay });
}

interface Query {
  readonly view: SlidingView;
  readonly room: WantedRoom;
  readonly known: RoomRecord | undefined;
}

/** Looks only at what is in memory. */
function mayHaveNews(deps: RoomResultDeps, { view, room, known }: Query): boolean {
  if (known === undefined) return true;
  const { entry } = room;
  const last = entry.membership === "join" ? deps.timelines.lastPosition(entry.roomNid) ?? Infinity : entry.position;
  if (last > positionOf(known, view)) return true;
  if (known.isDm !== view.direct.has(entry.roomId)) return true;
  if (known.shown !== "join") return false;
  return Math.min(room.timelineLimit, MAX_TIMELINE_LIMIT) > known.timelineLimit ||
    known.selection.with(room.state).text !== known.selection.text;
}

/** Returns up to where the client has a room's events. */
export function positionOf({ events }: RoomRecord, { since }: SlidingView): number {
  return events === LIVE ? since?.events ?? 0 : events;
}

interface Inside {
  readonly view: SlidingView;
  readonly room: WantedRoom;
  /** Null when the room is shown from the start. */
  readonly record: RoomRecord | null;
  readonly part: RoomPart;
  readonly limit: number;
  readonly timeline: Timeline;
  readonly isExpanded: boolean;
  readonly deltas: readonly StateDelta[];
  readonly root: number;
  readonly state: RequiredState;
  /** What is told is the same for all who ask in this way, as far as it is not null. */
  readonly end: RoomEnd | null;
  readonly endState: SharedEvents | null;
}

function viewerOf(
  { request: { requester: { userId } }, ignored, showsSoftFailed }: SlidingView,
  upTo: number | null,
): Viewer {
  return { userId, isMember: true, upTo, ignored, showsSoftFailed };
}

async function insideResult(
  deps: RoomResultDeps,
  { view, room, known, stay }: Query & { stay: { root: number; upTo: number } | null },
): Promise<RoomResult> {
  const { entry: { roomNid, roomId, membership } } = room;
  const shown = membership === "join" ? "join" : "leave";
  const isNew = known === undefined || known.shown === "stripped" || known.shown === "leave" && shown === "join";
  const record = isNew ? null : known;
  const upTo = stay?.upTo ?? view.now.events;
  const after = record === null ? null : positionOf(record, view);
  const part = { roomNid, roomId, after, upTo, endRoot: stay?.root ?? null, newlyJoined: false };
  const limit = Math.min(room.timelineLimit, MAX_TIMELINE_LIMIT);
  const isExpanded = record !== null && limit > record.timelineLimit;
  const { userId } = view.request.requester;
  const reader = { userId, entry: room.entry, ignored: view.ignored };
  const end = record === null && !view.showsSoftFailed ? await deps.ends.of({ part, limit, reader }) : null;
  const timeline = end?.timeline ?? await readTimeline(deps, {
    part: isExpanded ? { ...part, after: null } : part,
    filter: limitFilter(limit),
    viewer: viewerOf(view, stay?.upTo ?? null),
  });
  const deltas = after === null ? [] : await deps.timelines.deltas({ roomNid, after, upTo });
  const root = end?.root ?? await endRootOf(deps, part);
  const sentMembers = isNew ? NO_MEMBERS : view.connection.sentMembers.get(roomNid) ?? NO_MEMBERS;
  const query = { selection: room.state, record, root, deltas, timeline, sentMembers };
  const endState = end === null ? null : await sharedState(deps, { end, query });
  const state = endState === null ? await readRequiredState(deps, query) : { events: endState.events, gone: [] };
  const inside = { view, room, record, part, limit, timeline, isExpanded, deltas, root, state, end, endState };
  const isDm = view.direct.has(roomId);
  const hasNews = record === null || timeline.events.length > 0 || timeline.limited || deltas.length > 0 ||
    state.events.length > 0 || record.isDm !== isDm || record.shown !== shown;
  return {
    text: hasNews ? await insideText(deps, inside) : null,
    record: {
      events: LIVE,
      receipts: known?.receipts ?? NEVER,
      accountData: known?.accountData ?? NEVER,
      profiles: record?.profiles ?? NEVER,
      shown,
      timelineLimit: limitSent(inside),
      isDm,
      selection: selectionSent(inside),
    },
    members: state.events.filter(({ event }) => event.type === MEMBER).map(({ nid }) => nid),
    resetsMembers: isNew,
    isInitial: isNew,
    eventIds: timeline.events.map(({ stored }) => stored.event.eventId),
    speakers: view.request.extensions.profiles === null ? new Set() : await speakersOf(deps, inside),
  };
}

async function sharedState(
  deps: RoomResultDeps,
  { end, query }: { end: RoomEnd; query: RequiredStateQuery },
): Promise<SharedEvents | null> {
  const read = async () => (await readRequiredState(deps, query)).events;
  return await deps.ends.state(end, { key: query.selection.text, read });
}

/** Returns who sent or joined what is shown, the members shown, and those that give the room its name. */
async function speakersOf(deps: RoomResultDeps, { view, room, record, ...inside }: Inside): Promise<Set<UserId>> {
  const { part, root, timeline, state, deltas } = inside;
  const speakers = new Set<UserId>();
  for (const { stored: { event } } of timeline.events) speakers.add(event.sender);
  for (const { event } of [...timeline.events.map(({ stored }) => stored), ...state.events]) {
    if (event.type === MEMBER && event.stateKey !== null) speakers.add(event.stateKey as UserId);
  }
  // All members are known to a client that has them at once, so those who come are told in any case.
  for (const { type, stateKey } of room.state.lazyMembers ? [] : deltas) {
    if (type === MEMBER) speakers.add(stateKey as UserId);
  }
  if (record !== null) return speakers;
  const { heroes } = await deps.summaries.of(
    { roomNid: part.roomNid, root, byAlias: false },
    view.request.requester.userId,
  );
  for (const hero of heroes) speakers.add(hero);
  return speakers;
}

/** Returns how many of the last events the client has. */
function limitSent({ record, timeline, isExpanded, limit }: Inside): number {
  if (record !== null && !isExpanded) return timeline.limited ? limit : record.timelineLimit;
  return timeline.limited ? limit : SENT_ALL;
}

/** State that was selected once stays known until it changes without being told. */
function selectionSent({ record, room, deltas }: Inside): RoomRecord["selection"] {
  if (record === null) return room.state;
  const isOutdated = deltas.some(({ type, stateKey }) =>
    record.selection.selects(type, stateKey) && !room.state.selects(type, stateKey)
  );
  return isOutdated ? room.state : record.selection.with(room.state);
}

async function insideText(deps: RoomResultDeps, inside: Inside): Promise<string> {
  const { view, room, record, isExpanded } = inside;
  let text = await commonText(deps, inside);
  if (record === null) text += `,"initial":true`;
  if (isExpanded) text += `,"unstable_expanded_timeline":true,"expanded_timeline":true`;
  const isDm = view.direct.has(room.entry.roomId);
  if (record === null ? isDm : record.isDm !== isDm) text += `,"is_dm":${isDm}`;
  text += await summaryText(deps, inside);
  text += await stateText(deps, inside);
  return `{${text}${await timelineText(deps, inside)}}`;
}

async function commonText(deps: RoomResultDeps, { view, room }: Inside): Promise<string> {
  const { entry, lists } = room;
  const isJoined = entry.membership === "join";
  const { userId } = view.request.requester;
  const query = { userId, entry, upTo: view.now.events };
  const unread = isJoined ? peekUnread(deps, query) ?? await countUnread(deps, query) : null;
  let [notify, highlight] = [0, 0];
  for (const count of unread === null ? [] : [unread.main, ...unread.threads.values()]) {
    notify += count.notify;
    highlight += count.highlight;
  }
  const bump = isJoined ? await deps.bumpStamps.of(entry.roomNid) || entry.position : entry.position;
  const listsText = lists.length === 0 ? "" : `,"lists":${JSON.stringify(lists)}`;
  return `"notification_count":${notify},"highlight_count":${highlight},"bump_stamp":${bump},` +
    `"membership":"${entry.membership}"${listsText}`;
}

/** Returns name, avatar, heroes and counts as far as they may have changed. */
async function summaryText(deps: RoomResultDeps, { view, record, deltas, root, part }: Inside): Promise<string> {
  const isAsked = ([type]: NamedPart) => record === null || deltas.some((delta) => delta.type === type);
  const asked = NAMED_PARTS.filter(isAsked);
  const found = asked.length === 0 ? null : await deps.state.getMany(root, asked.map(([type]) => stateKeyOf(type, "")));
  let text = "";
  for (const [type, key, field] of asked) {
    const value = textOf(found?.get(stateKeyOf(type, "")), key);
    if (record !== null || value !== null) text += `,"${field}":${JSON.stringify(value)}`;
  }
  if (record !== null && !deps.summaries.isAffectedBy(deltas)) return text;
  const { userId } = view.request.requester;
  const summary = await deps.summaries.of({ roomNid: part.roomNid, root, byAlias: false }, userId);
  text += `,"joined_count":${summary.joined},"invited_count":${summary.invited}`;
  if (summary.heroes.length === 0) return text;
  const heroes = (await deps.members.at(root, summary.heroes)).map((stored) => {
    const [displayname, avatarUrl] = [textOf(stored, "displayname"), textOf(stored, "avatar_url")];
    return {
      user_id: stored.event.stateKey,
      ...(displayname === null ? {} : { displayname }),
      ...(avatarUrl === null ? {} : { avatar_url: avatarUrl }),
    };
  });
  return `${text},"heroes":${JSON.stringify(heroes)}`;
}

function textOf(stored: StoredEvent | undefined, key: string): string | null {
  if (stored === undefined || stored.redactedByNid !== null && stored.event.type !== "m.room.member") return null;
  const value = isJsonObject(stored.event.content) ? stored.event.content[key] : null;
  return typeof value === "string" && value !== "" && stored.redactedByNid === null ? value : null;
}

async function stateText(
  { renderer, ends }: RoomResultDeps,
  { view, state, record, endState }: Inside,
): Promise<string> {
  const asked = renderView(view, false);
  const texts = endState === null ? await renderer.render(state.events, asked) : await ends.texts(endState, asked);
  if (view.request.stateStubs) {
    for (const { type, stateKey } of state.gone) texts.push(JSON.stringify({ type, state_key: stateKey }));
  }
  return texts.length === 0 && record !== null ? "" : `,"required_state":[${texts.join(",")}]`;
}

async function timelineText(deps: RoomResultDeps, { view, timeline, record, end }: Inside): Promise<string> {
  const { userId } = view.request.requester;
  const texts = await timelineTexts(deps, { timeline, end, userId, view: renderView(view, true) });
  if (texts.length === 0 && !timeline.limited && record !== null) return "";
  const since = view.since?.events ?? Infinity;
  const live = timeline.events.filter(({ stored: { position } }) => (position ?? 0) > since).length;
  const prevBatch = formatRoomToken(timeline.prev);
  return `,"timeline":[${texts.join(",")}],"limited":${timeline.limited},"num_live":${live},` +
    `"prev_batch":"${prevBatch}"`;
}

function renderView({ request }: SlidingView, previous: boolean): RenderView {
  return { requester: request.requester, roomId: false, previous };
}
