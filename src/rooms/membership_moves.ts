/**
 * Who came to share a room with a user, and who no longer may: what device lists and presence ask after each sync.
 *
 * Looks only at rooms with events in the range and only at recorded changes of membership; all members of a room are
 * listed when the user himself joined or left it.
 */
import { nextTurn } from "../lib/turn.ts";
import type { UserId } from "../protocol/ids.ts";
import type { EventStore } from "./event_store.ts";
import type { LocalMembership, LocalMemberships } from "./local_memberships.ts";
import type { PartialPositions } from "./partial_positions.ts";
import type { RoomTimelines } from "./room_timelines.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";
import { parseMembership } from "./visibility.ts";

/** Reading this many events takes some milliseconds. */
const DELTAS_A_TURN = 250;

/** What moves are found from. */
export interface MembershipMovesDeps {
  readonly partials: PartialPositions;
  readonly memberships: LocalMemberships;
  readonly timelines: RoomTimelines;
  readonly events: EventStore;
  readonly state: StateReader;
}

/** People who came and went, as far as one user is concerned. */
export interface Moves {
  readonly joined: Set<UserId>;
  /** Who was found to be in a room that is not encrypted when its state became whole (MSC3902). */
  readonly found: Set<UserId>;
  readonly left: Set<UserId>;
  /** Whether the user joined a room whose state lacked members then. */
  joinedPartial: boolean;
}

/** Finds moves. */
export class MembershipMoves {
  readonly #deps: MembershipMovesDeps;

  constructor(deps: MembershipMovesDeps) {
    this.#deps = deps;
  }

  /** Tells whether memory says that there are no moves in `(after, upTo]` of the events stream. */
  hasNone({ userId, after, upTo }: { userId: UserId; after: number; upTo: number }): boolean {
    const { memberships, timelines } = this.#deps;
    const rooms = memberships.peek(userId);
    if (rooms === undefined || rooms.lastChange > after) return false;
    for (const roomNid of timelines.changedAfter(after, rooms.joined)) {
      const deltas = timelines.peekDeltas({ roomNid, after, upTo });
      if (deltas === null || deltas.some(({ type }) => type === "m.room.member")) return false;
    }
    return true;
  }

  /** Returns the moves in `(after, upTo]` of the events stream. */
  async between({ userId, after, upTo }: { userId: UserId; after: number; upTo: number }): Promise<Moves> {
    const moves: Moves = { joined: new Set(), found: new Set(), left: new Set(), joinedPartial: false };
    const { memberships, timelines } = this.#deps;
    const rooms = await memberships.forUser(userId);
    const own: LocalMembership[] = [];
    if (rooms.lastChange > after) {
      for (const entry of rooms.all.values()) {
        if (entry.position > after && entry.position <= upTo) own.push(entry);
      }
    }
    const changed = timelines.changedAfter(after, rooms.joined);
    for (const roomNid of changed) await this.#inRoom(moves, { roomNid, after, upTo, userId });
    for (const entry of own) await this.#ofUser(moves, { entry, after, userId });
    return moves;
  }

  async #inRoom(
    moves: Moves,
    { roomNid, after, upTo, userId }: { roomNid: number; after: number; upTo: number; userId: UserId },
  ): Promise<void> {
    const deltas = (await this.#deps.timelines.deltas({ roomNid, after, upTo }))
      .filter(({ type, stateKey }) => type === "m.room.member" && stateKey !== userId);
    if (deltas.length === 0) return;
    const whole = await this.#becameWhole(roomNid, after);
    for (let start = 0; start < deltas.length; start += DELTAS_A_TURN) {
      if (start > 0) await nextTurn();
      const part = deltas.slice(start, start + DELTAS_A_TURN);
      const nids = part.flatMap(({ eventNid, prevEventNid }) => [eventNid, prevEventNid]).filter((nid) => nid !== null);
      const events = await this.#deps.events.byNid(nids);
      for (const { position, stateKey, eventNid, prevEventNid } of part) {
        const [was, is] = [isJoin(events.get(prevEventNid ?? 0)), isJoin(events.get(eventNid ?? 0))];
        if (is && !was) (position === whole ? moves.found : moves.joined).add(stateKey as UserId);
        if (was && !is) moves.left.add(stateKey as UserId);
      }
    }
  }

  /** Where the state of a room that is not encrypted became whole, if that was after a position. */
  async #becameWhole(roomNid: number, after: number): Promise<number | null> {
    const { partials, events, state } = this.#deps;
    const position = (await partials.since(after)).get(roomNid) ?? null;
    const room = position === null ? null : await events.room(roomNid);
    const root = room === null ? null : await state.currentRoot(room.roomId);
    if (root === null || await state.getNid(root, "m.room.encryption", "") !== null) return null;
    return position;
  }

  async #ofUser(
    moves: Moves,
    { entry, after, userId }: { entry: LocalMembership; after: number; userId: UserId },
  ): Promise<void> {
    const { timelines, events, state, partials } = this.#deps;
    const deltas = await timelines.deltas({ roomNid: entry.roomNid, after, upTo: entry.position });
    const first = deltas.find(({ type, stateKey }) => type === "m.room.member" && stateKey === userId);
    const prevNid = first?.prevEventNid ?? null;
    const was = prevNid !== null && isJoin(await events.getByNid(prevNid));
    const is = entry.membership === "join";
    if (was === is) return;
    const stored = await events.getByNid(entry.eventNid);
    const root = is ? await state.currentRoot(entry.roomId) : stored?.stateBefore ?? null;
    if (root === null) return;
    if (is && (await partials.since(after)).has(entry.roomNid)) moves.joinedPartial = true;
    const target = is ? moves.joined : moves.left;
    for (const { event } of await state.entries(root, "members")) {
      if (event.content.membership === "join" && event.stateKey !== null && event.stateKey !== userId) {
        target.add(event.stateKey as UserId);
      }
    }
  }
}

function isJoin(stored: StoredEvent | null | undefined): boolean {
  return parseMembership(stored?.event.content.membership) === "join";
}
