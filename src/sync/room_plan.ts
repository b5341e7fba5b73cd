/**
 * Which rooms a sync shows, and in which section.
 *
 * Starts from what is in memory about the user's rooms: those whose membership changed after the token, those with
 * events after it. No other room is looked at.
 */
import type { SyncFilter } from "../protocol/filter.ts";
import { matchesRoom } from "../protocol/filter.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import type { LocalMembership, UserRooms } from "../rooms/local_memberships.ts";
import type { PartialPositions } from "../rooms/partial_positions.ts";
import type { RoomReaders } from "../rooms/room_access.ts";
import type { RoomTimelines } from "../rooms/room_timelines.ts";
import { parseMembership } from "../rooms/visibility.ts";
import type { RoomPart, SyncView } from "./types.ts";

/** What the plan is made from. */
export interface RoomPlanDeps {
  readonly partials: PartialPositions;
  readonly timelines: RoomTimelines;
  readonly events: EventStore;
  readonly readers: RoomReaders;
  /** Rooms that no sync shows, by id (option `exclude_rooms_from_sync`). */
  readonly excludedRooms: ReadonlySet<string>;
  readonly decideInvite?: DecideInvite;
}

/** The rooms of one sync. */
export interface RoomPlan {
  /** By the room's numeric id. */
  readonly joined: Map<number, RoomPart>;
  /** Joined rooms that are not shown yet. */
  readonly hidden: Set<number>;
  readonly invited: LocalMembership[];
  readonly knocked: LocalMembership[];
  readonly left: LeftRoom[];
}

/** A room that the user is out of. */
export interface LeftRoom {
  readonly entry: LocalMembership;
  /** Null when the user was not joined before: then only the event that ended it is shown. */
  readonly part: RoomPart | null;
}

/** Plans a sync. `rooms` must be what it was when the positions were taken. */
export async function planRooms(
  deps: RoomPlanDeps,
  { view, rooms }: { view: SyncView; rooms: UserRooms },
): Promise<RoomPlan> {
  const plan: RoomPlan = { hidden: new Set(), joined: new Map(), invited: [], knocked: [], left: [] };
  const { since, now } = view;
  // Taken without waiting: later on the maps may be ahead of the positions.
  const moved: LocalMembership[] = [];
  if (since === null || view.fullState || rooms.lastChange > since.events) {
    for (const entry of rooms.all.values()) {
      const isRecent = since === null || view.fullState || entry.position > since.events;
      if (isRecent && entry.position <= now.events && isWanted(deps, { entry, filter: view.filter })) moved.push(entry);
    }
  }
  const after = since?.events ?? null;
  if (after !== null && !view.fullState && now.events > after) {
    for (const roomNid of deps.timelines.changedAfter(after, rooms.joined)) {
      const entry = rooms.all.get(roomNid);
      if (entry === undefined || entry.position > after || !isWanted(deps, { entry, filter: view.filter })) continue;
      plan.joined.set(roomNid, joinedPart(entry, { after, upTo: now.events, newlyJoined: false }));
    }
  }
  for (const entry of moved) await place(deps, { plan, view, entry });
  const showsPartial = view.filter.room.state.lazyLoadMembers || deps.partials.hasNoneSince(after ?? now.events);
  if (!showsPartial) await hidePartial(deps, { plan, view, rooms });
  return plan;
}

/**
 * Rooms whose members are not all here are shown to clients that ask for all members once they are (MSC3902), as rooms
 * that are new to them.
 */
async function hidePartial(
  { partials }: RoomPlanDeps,
  { plan, view: { since, now }, rooms }: { plan: RoomPlan; view: SyncView; rooms: UserRooms },
): Promise<void> {
  for (const [roomNid, position] of await partials.since(since?.events ?? now.events)) {
    const entry = rooms.all.get(roomNid);
    if (position === null || position > now.events) {
      plan.hidden.add(roomNid);
      plan.joined.delete(roomNid);
    } else if (since !== null && entry?.membership === "join" && plan.joined.has(roomNid)) {
      plan.joined.set(roomNid, joinedPart(entry, { after: null, upTo: now.events, newlyJoined: true }));
    }
  }
}

/** Returns the part of a joined room in which nothing need have happened but what is ephemeral. */
export function joinedPart(
  { roomNid, roomId }: { roomNid: number; roomId: LocalMembership["roomId"] },
  { after, upTo, newlyJoined }: { after: number | null; upTo: number; newlyJoined: boolean },
): RoomPart {
  return { roomNid, roomId, after, upTo, endRoot: null, newlyJoined };
}

/** Tells whether a filter and the server's settings let a room be shown. */
export function isWanted(
  { excludedRooms }: RoomPlanDeps,
  { entry, filter }: { entry: { readonly roomId: string }; filter: SyncFilter },
): boolean {
  return matchesRoom(filter.room, entry.roomId) && !excludedRooms.has(entry.roomId);
}

async function place(
  deps: RoomPlanDeps,
  { plan, view, entry }: { plan: RoomPlan; view: SyncView; entry: LocalMembership },
): Promise<void> {
  const since = view.since?.events ?? null;
  const isNew = since === null || entry.position > since;
  switch (entry.membership) {
    case "join": {
      const newlyJoined = since !== null && isNew && await joinedSince(deps, { view, entry });
      const after = newlyJoined ? null : since;
      plan.joined.set(entry.roomNid, joinedPart(entry, { after, upTo: view.now.events, newlyJoined }));
      return;
    }
    case "invite":
      if (await isShownInvite(deps, { view, entry })) plan.invited.push(entry);
      return;
    case "knock":
      plan.knocked.push(entry);
      return;
    default:
      await placeLeft(deps, { plan, view, entry });
  }
}

async function placeLeft(
  deps: RoomPlanDeps,
  { plan, view, entry }: { plan: RoomPlan; view: SyncView; entry: LocalMembership },
): Promise<void> {
  const since = view.since?.events ?? null;
  const isNew = since !== null && entry.position > since;
  // A room that is left is news once, even if it was forgotten meanwhile: other devices must learn of it.
  // Who was put out learns of it in an initial sync too, as from Synapse; Complement's TestUnbanViaInvite counts on it.
  const wasPutOut = since === null && entry.sender !== view.requester.userId;
  if (!isNew && (entry.forgotten || !view.filter.room.includeLeave && !wasPutOut)) return;
  const stay = await deps.readers.stay(view.requester.userId, entry.eventNid);
  if (stay === null) {
    if (isNew || since === null) plan.left.push({ entry, part: null });
    return;
  }
  const { roomNid, roomId } = entry;
  const cameAndWent = isNew && await joinedSince(deps, { view, entry });
  plan.left.push({
    entry,
    part: {
      roomNid,
      roomId,
      after: cameAndWent || !isNew ? null : since,
      upTo: stay.upTo,
      endRoot: stay.root,
      newlyJoined: false,
    },
  });
}

/** Tells whether the user was not joined all the time from the token on, so that the client must start afresh. */
async function joinedSince(
  { timelines, events }: RoomPlanDeps,
  { view, entry }: { view: SyncView; entry: LocalMembership },
): Promise<boolean> {
  const after = view.since?.events ?? 0;
  const deltas = await timelines.deltas({ roomNid: entry.roomNid, after, upTo: entry.position });
  const own = deltas.filter(({ type, stateKey }) => type === "m.room.member" && stateKey === view.requester.userId);
  const before = own.slice(0, 1).map(({ prevEventNid }) => prevEventNid);
  const between = own.slice(0, -1).map(({ eventNid }) => eventNid);
  for (const nid of [...before, ...between]) {
    const stored = nid === null ? null : await events.getByNid(nid);
    if (parseMembership(stored?.event.content.membership) !== "join") return true;
  }
  return own.length === 0;
}

/** Invitations by those whom the user ignores, or lets invite in vain, are not shown. */
async function isShownInvite(
  { decideInvite }: RoomPlanDeps,
  { view, entry: { sender } }: { view: SyncView; entry: LocalMembership },
): Promise<boolean> {
  if (view.ignored.has(sender)) return false;
  return decideInvite === undefined || await decideInvite({ sender, target: view.requester.userId }) === "allow";
}
