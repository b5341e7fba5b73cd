/**
 * The state of a room in one sync: `state`, what the client must know before the timeline, or `state_after`, what it must
 * know after it (MSC4222). Spec: client-server API, "Syncing" and "Lazy-loading room members".
 *
 * In full for rooms that are new to the client: a state tree's entries. Otherwise the changes of the current state since
 * the last sync, as they were recorded: no state is compared, and no member is looked at who did nothing.
 */
import type { UserId } from "../protocol/ids.ts";
import { matchesRoom } from "../protocol/filter.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { MemberLoader, SentMembers } from "../rooms/lazy_members.ts";
import type { RoomTimelines } from "../rooms/room_timelines.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { StateDelta } from "../storage/timeline.ts";
import type { Timeline } from "./timelines.ts";
import type { RoomPart, SyncView } from "./types.ts";

/** What reading state is built from. */
export interface RoomStatesDeps {
  readonly state: StateReader;
  readonly events: EventStore;
  readonly timelines: RoomTimelines;
  readonly members: MemberLoader;
  readonly sentMembers: SentMembers;
}

/** What the state of a room is read for. */
export interface StateQuery {
  readonly view: SyncView;
  readonly part: RoomPart;
  readonly timeline: Timeline;
  /** How the current state changed since the last sync; empty when `part.after` is null. */
  readonly deltas: readonly StateDelta[];
  /** Users whose member events go with the room's summary under lazy loading. */
  readonly heroes: readonly UserId[];
}

/** Returns the state events of a room, in no order. */
export async function readState(deps: RoomStatesDeps, query: StateQuery): Promise<StoredEvent[]> {
  const { view, part, timeline } = query;
  const filter = view.filter.room.state;
  const lazy = filter.lazyLoadMembers;
  if (filter.matchesNone || !matchesRoom(filter, part.roomId)) return [];
  let events = part.after === null || view.fullState ? await fullState(deps, query) : await changedState(deps, query);
  if (lazy) {
    const senders = await membersOfSenders(deps, { query, events });
    events = events.concat(unsentOf(deps, { view, part, members: senders }));
    events = await addHeroes(deps, { query, events });
    const shown = timeline.events.map(({ stored }) => stored).filter(isMember);
    deps.sentMembers.note(view.requester, [...events.filter(isMember), ...shown]);
  }
  return filter.matchesAll ? events : events.filter(({ event }) => filter.matches(event));
}

/** The state of a room that was shown before, as far as it is the same for all who ask in the same way. */
export interface SharedState {
  readonly changed: readonly StoredEvent[];
  /** Members who are shown to devices that do not have them yet. */
  readonly senders: readonly StoredEvent[];
}

/** Returns what `readState` goes by, of a room whose members have not changed; null where the reader counts for more. */
export async function readSharedState(
  deps: RoomStatesDeps,
  query: Omit<StateQuery, "heroes">,
): Promise<SharedState | null> {
  const { view, part, timeline, deltas } = query;
  const filter = view.filter.room.state;
  if (part.after === null || view.fullState || deltas.some(({ type }) => type === "m.room.member")) return null;
  if (timeline.events.some(({ stored }) => isMember(stored))) return null;
  if (filter.matchesNone || !matchesRoom(filter, part.roomId)) return { changed: [], senders: [] };
  const changed = await changedState(deps, { ...query, heroes: [] });
  const senders = filter.lazyLoadMembers
    ? await membersOfSenders(deps, { query: { ...query, heroes: [] }, events: changed })
    : [];
  const isShown = ({ event }: StoredEvent) => filter.matchesAll || filter.matches(event);
  return { changed: changed.filter(isShown), senders };
}

/** Returns what `readState` goes by under lazy loading, of a room that is new to the client, but for `readOwnMembers`. */
export async function readEndState(
  deps: RoomStatesDeps,
  query: Omit<StateQuery, "heroes">,
): Promise<readonly StoredEvent[]> {
  const ofAll = { ...query, heroes: [] };
  const events = await deps.state.entries(await startRootOf(deps, query), "others");
  return events.concat(await membersOfSenders(deps, { query: ofAll, events }));
}

/** Returns the reader and the heroes of a room that is new to the client, as far as they are not among `shared`. */
export async function readOwnMembers(
  deps: RoomStatesDeps,
  query: StateQuery & { readonly shared: readonly StoredEvent[] },
): Promise<StoredEvent[]> {
  const { view: { requester }, timeline, heroes, shared } = query;
  const known = shared.filter(isMember);
  const wanted = new Set<UserId>([requester.userId, ...heroes]);
  for (const { event } of known) wanted.delete(event.stateKey as UserId);
  const found = await deps.members.at(await startRootOf(deps, query), wanted);
  const shown = timeline.events.map(({ stored }) => stored).filter(isMember);
  deps.sentMembers.note(requester, [...known, ...found, ...shown]);
  return found;
}

/** Returns those of the members who are to be shown to a device, and notes that it has them. */
export function takeUnsent(
  deps: Pick<RoomStatesDeps, "sentMembers">,
  query: { view: SyncView; part: RoomPart; members: readonly StoredEvent[] },
): readonly StoredEvent[] {
  if (query.members.length === 0) return query.members;
  const unsent = unsentOf(deps, query);
  deps.sentMembers.note(query.view.requester, unsent);
  const filter = query.view.filter.room.state;
  return filter.matchesAll ? unsent : unsent.filter(({ event }) => filter.matches(event));
}

function unsentOf(
  { sentMembers }: Pick<RoomStatesDeps, "sentMembers">,
  { view: { filter, requester }, part, members }: {
    view: SyncView;
    part: RoomPart;
    members: readonly StoredEvent[];
  },
): readonly StoredEvent[] {
  const showsAll = filter.room.state.includeRedundantMembers || part.after === null;
  return showsAll ? members : sentMembers.unsent(requester, members);
}

/** Returns the root of the state at the end of a room's part of the stream. */
export async function endRootOf(
  { state, timelines, events }: Pick<RoomStatesDeps, "state" | "timelines" | "events">,
  part: RoomPart,
): Promise<number> {
  if (part.endRoot !== null) return part.endRoot;
  if ((timelines.lastPosition(part.roomNid) ?? Infinity) <= part.upTo) {
    const root = await state.currentRoot(part.roomId);
    if (root !== null) return root;
  }
  const [row] = await timelines.tail({ roomNid: part.roomNid, after: 0, upTo: part.upTo }, 1);
  const stored = row === undefined ? null : await events.getByNid(row.nid);
  return stored?.stateAfter ?? 0;
}

function isMember({ event }: StoredEvent): boolean {
  return event.type === "m.room.member";
}

/** Returns the root of the state that a client is told in full. */
async function startRootOf(
  deps: RoomStatesDeps,
  { view, part, timeline }: Pick<StateQuery, "view" | "part" | "timeline">,
): Promise<number> {
  const before = view.stateAfter === null ? timeline.events[0]?.stored.stateBefore : undefined;
  return before ?? await endRootOf(deps, part);
}

async function fullState(deps: RoomStatesDeps, query: StateQuery): Promise<StoredEvent[]> {
  const { view, part, timeline, heroes } = query;
  const lazy = view.filter.room.state.lazyLoadMembers;
  const endRoot = await endRootOf(deps, part);
  const root = await startRootOf(deps, query);
  let events = await deps.state.entries(root, lazy ? "others" : undefined);
  if (lazy) events = events.concat(await deps.members.at(root, new Set([view.requester.userId, ...heroes])));
  if (root === endRoot || timeline.isWhole) return events;
  return await catchUp(deps, { events, root, endRoot, timeline });
}

/** Brings the state at the start up to the end where the timeline, having gaps, does not tell of a change. */
async function catchUp(
  { state, events: store }: RoomStatesDeps,
  { events, root, endRoot, timeline }: {
    events: StoredEvent[];
    root: number;
    endRoot: number;
    timeline: Timeline;
  },
): Promise<StoredEvent[]> {
  const told = new Set(timeline.events.map(({ stored }) => stored.nid));
  const changes = (await state.diff(root, endRoot)).filter(({ after }) => after !== null && !told.has(after));
  if (changes.length === 0) return events;
  const stale = new Set(changes.map(({ before }) => before));
  const fresh = await store.byNid(changes.map(({ after }) => after).filter((nid) => nid !== null));
  return [...events.filter(({ nid }) => !stale.has(nid)), ...fresh.values()];
}

async function changedState(
  { events: store }: RoomStatesDeps,
  { view, timeline, deltas }: StateQuery,
): Promise<StoredEvent[]> {
  if (deltas.length === 0) return [];
  const told = new Set(timeline.events.map(({ stored }) => stored.nid));
  const startsAt = timeline.events[0]?.stored.position ?? Infinity;
  const wanted = new Map<string, number>();
  for (const { type, stateKey, position, eventNid } of deltas) {
    if (eventNid === null) continue;
    const key = `${type}\u0000${stateKey}`;
    if (view.stateAfter !== null) wanted.set(key, eventNid);
    else if (position < startsAt || !told.has(eventNid)) wanted.set(key, eventNid);
  }
  const nids = [...wanted.values()].filter((nid) => view.stateAfter !== null || !told.has(nid));
  return [...(await store.byNid(nids)).values()];
}

/** Adds the members who make up the room's name when that is told anew, but for those the client was told of. */
async function addHeroes(
  deps: RoomStatesDeps,
  { query: { view, part, timeline, heroes }, events }: { query: StateQuery; events: StoredEvent[] },
): Promise<StoredEvent[]> {
  if (heroes.length === 0 || part.after === null || view.fullState) return events;
  const told = new Set([...events, ...timeline.events.map(({ stored }) => stored)].map(({ nid }) => nid));
  const found = await deps.members.at(await endRootOf(deps, part), heroes);
  return events.concat(deps.sentMembers.unsent(view.requester, found).filter(({ nid }) => !told.has(nid)));
}

/** Returns the members who sent what the timeline shows, but for those that are among the events. */
async function membersOfSenders(
  deps: RoomStatesDeps,
  { query: { view, part, timeline }, events }: { query: StateQuery; events: readonly StoredEvent[] },
): Promise<StoredEvent[]> {
  if (timeline.events.length === 0) return [];
  const known = new Set<string>();
  for (const stored of events) if (isMember(stored)) known.add(stored.event.stateKey ?? "");
  const wanted = new Set<UserId>();
  for (const { stored } of timeline.events) if (!known.has(stored.event.sender)) wanted.add(stored.event.sender);
  if (view.stateAfter === null) {
    for (const { stored } of timeline.events) {
      if (isMember(stored) && stored.event.sender === stored.event.stateKey) wanted.delete(stored.event.sender);
    }
  }
  if (wanted.size === 0) return [];
  const root = view.stateAfter === null ? timeline.events[0]?.stored.stateBefore : await endRootOf(deps, part);
  const inState = await deps.members.at(root ?? 0, wanted);
  return [...inState, ...await namedMembers(deps, { timeline, wanted, inState })];
}

/**
 * While a room's members are not all here (MSC3902), a sender may not be in the state: then the member event that
 * authorizes what they sent is shown.
 */
async function namedMembers(
  { events: store }: RoomStatesDeps,
  { timeline, wanted, inState }: {
    timeline: Timeline;
    wanted: ReadonlySet<UserId>;
    inState: readonly StoredEvent[];
  },
): Promise<StoredEvent[]> {
  const known = new Set<string | null>(inState.map(({ event }) => event.stateKey));
  const named: StoredEvent[] = [];
  for (const { stored: { event } } of timeline.events) {
    if (!wanted.has(event.sender) || known.has(event.sender)) continue;
    const auth = await store.byId(event.authEvents);
    for (const stored of auth.values()) {
      if (!isMember(stored) || stored.event.stateKey !== event.sender || stored.isRejected) continue;
      known.add(event.sender);
      named.push(stored);
    }
  }
  return named;
}
