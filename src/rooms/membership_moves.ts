/**
 * Who came to share a room with a user, and who no longer may: what device lists and presence ask after each sync.
 *
 * Looks only at rooms with events in the range and only at recorded changes of membership; all members of a room are
 * listed when the user himself joined or left it.
 */
import type { UserId } from "../protocol/ids.ts";
import type { EventStore } from "./event_store.ts";
import type { LocalMembership, LocalMemberships } from "./local_memberships.ts";
import type { RoomTimelines } from "./room_timelines.ts";
import type { StateReader } from "./state_reader.ts";
import { parseMembership } from "./visibility.ts";

/** What moves are found from. */
export interface MembershipMovesDeps {
  readonly memberships: LocalMemberships;
  readonly timelines: RoomTimelines;
  readonly events: EventStore;
  readonly state: StateReader;
}

/** People who came and went, as far as one user is concerned. */
export interface Moves {
  readonly joined: Set<UserId>;
  readonly left: Set<UserId>;
}

/** Finds moves. */
export class MembershipMoves {
  readonly #deps: MembershipMovesDeps;

  constructor(deps: MembershipMovesDeps) {
    this.#deps = deps;
  }

  /** Returns the moves in `(after, upTo]` of the events stream. */
  async between({ userId, after, upTo }: { userId: UserId; after: number; upTo: number }): Promise<Moves> {
    const moves: Moves = { joined: new Set(), left: new Set() };
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
    for (
      const { type, stateKey, eventNid, prevEventNid } of await this.#deps.timelines.deltas({ roomNid, after, upTo })
    ) {
      if (type !== "m.room.member" || stateKey === userId) continue;
      const was = await this.#isJoin(prevEventNid);
      const is = await this.#isJoin(eventNid);
      if (is && !was) moves.joined.add(stateKey as UserId);
      if (was && !is) moves.left.add(stateKey as UserId);
    }
  }

  async #ofUser(
    moves: Moves,
    { entry, after, userId }: { entry: LocalMembership; after: number; userId: UserId },
  ): Promise<void> {
    const { timelines, events, state } = this.#deps;
    const deltas = await timelines.deltas({ roomNid: entry.roomNid, after, upTo: entry.position });
    const first = deltas.find(({ type, stateKey }) => type === "m.room.member" && stateKey === userId);
    const was = first !== undefined && await this.#isJoin(first.prevEventNid);
    const is = entry.membership === "join";
    if (was === is) return;
    const stored = await events.getByNid(entry.eventNid);
    const root = is ? await state.currentRoot(entry.roomId) : stored?.stateBefore ?? null;
    if (root === null) return;
    const target = is ? moves.joined : moves.left;
    for (const { event } of await state.entries(root, "members")) {
      if (event.content.membership === "join" && event.stateKey !== null && event.stateKey !== userId) {
        target.add(event.stateKey as UserId);
      }
    }
  }

  async #isJoin(nid: number | null): Promise<boolean> {
    const stored = nid === null ? null : await this.#deps.events.getByNid(nid);
    return parseMembership(stored?.event.content.membership) === "join";
  }
}
