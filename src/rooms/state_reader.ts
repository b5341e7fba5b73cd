/**
 * Room state at any point of a room's graph.
 *
 * A state is a root in the state tree (0 is the empty state); equal roots are equal states. Trees hold numbers only:
 * the numeric id of a (type, state key) pair leads to the numeric id of an event.
 */
import { splitStateKey, type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { RoomId } from "../protocol/ids.ts";
import { MAX_STRIPPED_EVENTS } from "../protocol/stripped_state.ts";
import type { EventStore } from "./event_store.ts";
import { DEFAULT_PREJOIN_STATE, type PrejoinState } from "./prejoin_state.ts";
import type { StoredEvent } from "./types.ts";

/** Which part of a state to list: that of `m.room.member`, the rest, or both. */
export type StateHalf = "members" | "others";

/** One key on which two states differ, by numeric ids; null where a state does not have it. */
export interface StateChange {
  readonly stateKeyNid: number;
  readonly before: number | null;
  readonly after: number | null;
}

/** The state tree as readers use it. */
export interface StateTreeReads {
  get(root: number, key: { readonly nid: number; readonly isMember: boolean }): Promise<number | null>;
  /** Pairs of state key and event. */
  entries(root: number, half: StateHalf): Promise<(readonly [number, number])[]>;
  diff(before: number, after: number): Promise<StateChange[]>;
}

/** Numeric ids of (type, state key) pairs as readers use them. */
export interface StateKeyReads {
  /** Null when no event ever had that key. */
  nidOf(type: string, stateKey: string): Promise<number | null>;
}

/** The member event of who invites goes with them. */
const MAX_PREJOIN_EVENTS = MAX_STRIPPED_EVENTS - 1;

/** Gives the current state's root of a room. */
export type CurrentRoot = (roomId: RoomId) => Promise<number | null>;

/** Reads states. */
export class StateReader {
  readonly #tree: StateTreeReads;
  readonly #keys: StateKeyReads;
  readonly #events: EventStore;
  readonly #currentRoot: CurrentRoot;
  readonly #prejoin: PrejoinState;

  constructor(
    { tree, keys, events, currentRoot, prejoin = DEFAULT_PREJOIN_STATE }: {
      tree: StateTreeReads;
      keys: StateKeyReads;
      events: EventStore;
      currentRoot: CurrentRoot;
      prejoin?: PrejoinState;
    },
  ) {
    this.#tree = tree;
    this.#keys = keys;
    this.#events = events;
    this.#currentRoot = currentRoot;
    this.#prejoin = prejoin;
  }

  /** Returns the root of a room's current state, or null when the room is not known. */
  currentRoot(roomId: RoomId): Promise<number | null> {
    return this.#currentRoot(roomId);
  }

  /** Returns the numeric id of the event at a key, or null. */
  async getNid(root: number, type: string, stateKey: string): Promise<number | null> {
    if (root === 0) return null;
    const nid = await this.#keys.nidOf(type, stateKey);
    return nid === null ? null : await this.#tree.get(root, { nid, isMember: type === "m.room.member" });
  }

  /** Returns the event at a key, or null. */
  async get(root: number, type: string, stateKey: string): Promise<StoredEvent | null> {
    const nid = await this.getNid(root, type, stateKey);
    return nid === null ? null : await this.#events.getByNid(nid);
  }

  /** Returns the events at the given keys; keys that the state does not have are left out. */
  async getMany(root: number, keys: readonly StateKey[]): Promise<Map<StateKey, StoredEvent>> {
    const found = new Map<StateKey, StoredEvent>();
    const nids = await Promise.all(keys.map((key) => {
      const { type, stateKey } = splitStateKey(key);
      return this.getNid(root, type, stateKey);
    }));
    const events = await this.#events.byNid(nids.filter((nid) => nid !== null));
    for (const [index, key] of keys.entries()) {
      const nid = nids[index];
      const stored = typeof nid === "number" ? events.get(nid) : undefined;
      if (stored !== undefined) found.set(key, stored);
    }
    return found;
  }

  /** Returns what of a state people are shown before they are in the room. */
  async prejoin(root: number): Promise<StoredEvent[]> {
    const { keys, types } = this.#prejoin;
    const found = await this.getMany(root, keys);
    // The tree knows no types: the state is read whole, only where every key of a type is asked for.
    const halves: StateHalf[] = types.has("m.room.member") ? ["others", "members"] : ["others"];
    for (const half of types.size === 0 ? [] : halves) {
      for (const stored of await this.entries(root, half)) {
        const key = keyOfState(stored);
        if (key !== null && types.has(stored.event.type)) found.set(key, stored);
      }
    }
    return [...found.values()].slice(0, MAX_PREJOIN_EVENTS);
  }

  /** Returns all events of a state, or of one half of it, in no order. */
  async entries(root: number, half?: StateHalf): Promise<StoredEvent[]> {
    const nids = await this.entryNids(root, half);
    const events = await this.#events.byNid(nids);
    return nids.map((nid) => events.get(nid)).filter((stored) => stored !== undefined);
  }

  /** Returns the numeric ids of the events of a state, or of one half of it. */
  async entryNids(root: number, half?: StateHalf): Promise<number[]> {
    if (root === 0) return [];
    const halves: StateHalf[] = half === undefined ? ["others", "members"] : [half];
    const lists = await Promise.all(halves.map((part) => this.#tree.entries(root, part)));
    return lists.flatMap((list) => list.map(([, nid]) => nid));
  }

  /** Returns the root of the state before an event; null for outliers. */
  stateBefore(stored: StoredEvent): number | null {
    return stored.stateBefore;
  }

  /** Returns the root of the state after an event; null for outliers. */
  stateAfter(stored: StoredEvent): number | null {
    return stored.stateAfter;
  }

  /** Returns the keys on which two states differ: costs as much as they differ, not as they hold. */
  diff(before: number, after: number): Promise<StateChange[]> {
    return before === after ? Promise.resolve([]) : this.#tree.diff(before, after);
  }
}

/** Returns the map key of a state event; null for other events. */
export function keyOfState(stored: StoredEvent): StateKey | null {
  const { type, stateKey } = stored.event;
  return stateKey === null ? null : stateKeyOf(type, stateKey);
}
