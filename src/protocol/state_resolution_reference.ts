/**
 * The graph questions of state resolution answered in memory, straight from the definitions. The room engine answers them
 * from the database without walking whole chains; its answers are tested against these.
 */
import type { VerifyThirdPartyInvite } from "./auth_rules_context.ts";
import type { RoomEvent, StateKey, StateMap } from "./event.ts";
import type { EventId } from "./ids.ts";
import type { StateResolutionInput } from "./state_resolution_input.ts";

/** Returns a known event. */
export type FindEvent = (id: EventId) => RoomEvent | undefined;

/** Returns the events in the full auth chain of some sets, but not of all; a set's events count as in its chain. */
export function authDifference(sets: readonly Iterable<EventId>[], find: FindEvent): Set<EventId> {
  const chains = sets.map((set) => withAuthChain(set, find));
  const union = new Set(chains.flatMap((chain) => [...chain]));
  return new Set([...union].filter((id) => !chains.every((chain) => chain.has(id))));
}

/** Returns the events on paths along `auth_events` from one conflicted event to another, both included. */
export function conflictedSubgraph(conflicted: Iterable<EventId>, find: FindEvent): Set<EventId> {
  const ends = new Set(conflicted);
  const reached = withAuthChain(ends, find);
  const children = new Map<EventId, EventId[]>();
  for (const id of reached) {
    for (const auth of find(id)?.authEvents ?? []) {
      const siblings = children.get(auth);
      if (siblings === undefined) children.set(auth, [id]);
      else siblings.push(id);
    }
  }
  return reachable(ends, (id) => children.get(id) ?? []);
}

function withAuthChain(ids: Iterable<EventId>, find: FindEvent): Set<EventId> {
  return reachable(ids, (id) => find(id)?.authEvents ?? []);
}

function reachable(from: Iterable<EventId>, next: (id: EventId) => readonly EventId[]): Set<EventId> {
  const seen = new Set(from);
  const open = [...seen];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    for (const neighbor of next(id)) {
      if (seen.has(neighbor)) continue;
      seen.add(neighbor);
      open.push(neighbor);
    }
  }
  return seen;
}

/** Complete state sets with the events they rest on. */
export interface StateSets {
  readonly sets: readonly StateMap<EventId>[];
  readonly events: ReadonlyMap<EventId, RoomEvent>;
  readonly createEvent: RoomEvent;
  readonly rejected?: ReadonlySet<EventId>;
  readonly verifyThirdPartyInvite?: VerifyThirdPartyInvite;
}

/** Makes the input of `resolveState` from complete state sets. */
export function toResolutionInput(given: StateSets): StateResolutionInput {
  const { sets, events, createEvent, rejected } = given;
  const find: FindEvent = (id) => events.get(id);
  const conflicted = new Map<StateKey, (EventId | undefined)[]>();
  for (const key of new Set(sets.flatMap((set) => [...set.keys()]))) {
    const values = sets.map((set) => set.get(key));
    if (values.some((value) => value !== values[0])) conflicted.set(key, values);
  }
  return {
    rules: createEvent.rules,
    conflicted,
    unconflicted: (key) => Promise.resolve(conflicted.has(key) ? undefined : sets[0]?.get(key)),
    loadEvents: (ids) => Promise.resolve(pick(events, ids)),
    isRejected: (id) => rejected?.has(id) === true,
    authDifference: () => Promise.resolve([...authDifference(sets.map((set) => set.values()), find)]),
    conflictedSubgraph: (ids) => Promise.resolve([...conflictedSubgraph(ids, find)]),
    createEvent,
    ...(given.verifyThirdPartyInvite && { verifyThirdPartyInvite: given.verifyThirdPartyInvite }),
  };
}

/** Puts what `resolveState` returned over one of the state sets, which gives the complete resolved state. */
export function applyResolution(
  set: StateMap<EventId>,
  { conflicted, resolved }: { conflicted: Iterable<StateKey>; resolved: StateMap<EventId> },
): Map<StateKey, EventId> {
  const state = new Map(set);
  for (const key of conflicted) state.delete(key);
  for (const [key, id] of resolved) state.set(key, id);
  return state;
}

function pick(events: ReadonlyMap<EventId, RoomEvent>, ids: readonly EventId[]): Map<EventId, RoomEvent> {
  const picked = new Map<EventId, RoomEvent>();
  for (const id of ids) {
    const event = events.get(id);
    if (event !== undefined) picked.set(id, event);
  }
  return picked;
}
