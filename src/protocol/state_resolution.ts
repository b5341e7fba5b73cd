/**
 * State resolution. Spec: "Room version 2" (v2) and "Room version 12" (v2.1), "State resolution".
 *
 * Only what differs between the state sets is looked at; the caller keeps the rest. The steps are those of the spec. One
 * point is open there and decided as deployed servers do: the auth chain of a power event is followed only along events
 * of the full conflicted set, so a path that leaves the set is not taken up again where it returns.
 */
import { selectAuthKeys } from "./auth_events.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "./event.ts";
import type { EventId } from "./ids.ts";
import { EventPool, isAllowed, keyOf, loadUnconflicted } from "./state_resolution_events.ts";
import type { StateResolutionInput } from "./state_resolution_input.ts";
import { sortByMainline, sortByPower } from "./state_resolution_order.ts";
import { resolveStateV1 } from "./state_resolution_v1.ts";

const POWER_LEVELS = stateKeyOf("m.room.power_levels", "");

/**
 * Resolves the conflicts between state sets; no input order matters.
 *
 * Returns the value of each conflicted key (absent = the resolved state has none). Keys that no state set has may be
 * among them, where an event of the auth chains turns out to be valid: they belong to the resolved state too.
 */
export async function resolveState(input: StateResolutionInput): Promise<ReadonlyMap<StateKey, EventId>> {
  if (input.conflicted.size === 0) return new Map();
  return input.rules.stateResolution === "v1" ? await resolveStateV1(input) : await resolveStateV2(input);
}

interface Resolution {
  readonly input: StateResolutionInput;
  readonly pool: EventPool;
  /** The state to start from: the unconflicted one in v2, none in v2.1. */
  readonly base: ReadonlyMap<StateKey, RoomEvent>;
  /** What the iterative auth checks have put over it. */
  readonly resolved: Map<StateKey, RoomEvent>;
}

async function resolveStateV2(input: StateResolutionInput): Promise<Map<StateKey, EventId>> {
  const pool = new EventPool(input);
  const full = await loadFullConflictedSet(input, pool);
  const base = input.rules.stateResolution === "v2.1" ? new Map<StateKey, RoomEvent>() : await loadBase(full, {
    input,
    pool,
  });
  const resolution: Resolution = { input, pool, base, resolved: new Map() };
  // Step 1.
  const powerSet = selectPowerSet(full);
  const powerEvents = full.filter((event) => powerSet.has(event.eventId));
  const first = await sortByPower(powerEvents, { pool, create: input.createEvent });
  // Step 2; since v12 from an empty state.
  await applyAllowed(resolution, first);
  // Step 3.
  const rest = full.filter((event) => !powerSet.has(event.eventId));
  const powerLevels = resolution.resolved.get(POWER_LEVELS) ?? base.get(POWER_LEVELS);
  const second = await sortByMainline(rest, { pool, powerLevels });
  // Step 4.
  await applyAllowed(resolution, second);
  return await restoreUnconflicted(resolution);
}

/** Loads the full conflicted set and all auth events of its members. */
async function loadFullConflictedSet(input: StateResolutionInput, pool: EventPool): Promise<RoomEvent[]> {
  const conflicted = new Set<EventId>();
  for (const values of input.conflicted.values()) {
    for (const id of values) {
      if (id !== undefined) conflicted.add(id);
    }
  }
  const ids = new Set(conflicted);
  for (const id of await input.authDifference()) ids.add(id);
  if (input.rules.stateResolution === "v2.1") {
    for (const id of await input.conflictedSubgraph([...conflicted])) ids.add(id);
  }
  await pool.load(ids);
  const full = pool.getAll(ids);
  await pool.load(full.flatMap((event) => event.authEvents));
  return full;
}

/** Loads the part of the unconflicted state that the authorization of the events can ask for. */
async function loadBase(
  full: readonly RoomEvent[],
  { input, pool }: { input: StateResolutionInput; pool: EventPool },
): Promise<Map<StateKey, RoomEvent>> {
  const keys = new Set([POWER_LEVELS]);
  for (const event of full) {
    for (const key of selectAuthKeys(input.rules, event)) keys.add(key);
  }
  return await loadUnconflicted({ input, pool }, keys);
}

/** Returns the power events of the set, with what leads to them along auth events within the set. */
function selectPowerSet(full: readonly RoomEvent[]): Set<EventId> {
  const byId = new Map(full.map((event) => [event.eventId, event]));
  const open = full.filter(isPowerEvent);
  const selected = new Set(open.map((event) => event.eventId));
  for (let event = open.pop(); event !== undefined; event = open.pop()) {
    for (const id of event.authEvents) {
      const auth = byId.get(id);
      if (auth === undefined || selected.has(id)) continue;
      selected.add(id);
      open.push(auth);
    }
  }
  return selected;
}

/** Tells whether the event might take away somebody's ability to do something. Spec: "Power events". */
function isPowerEvent({ type, stateKey, sender, content }: RoomEvent): boolean {
  if (type === "m.room.power_levels" || type === "m.room.join_rules") return stateKey === "";
  if (type !== "m.room.member" || sender === stateKey) return false;
  return content["membership"] === "leave" || content["membership"] === "ban";
}

/** Spec: "Iterative auth checks". */
async function applyAllowed(resolution: Resolution, sorted: readonly RoomEvent[]): Promise<void> {
  const { input, pool, resolved } = resolution;
  for (const event of sorted) {
    const find = (key: StateKey): RoomEvent | undefined => findAuthState(resolution, { event, key });
    if (isAllowed(input, { event, find })) resolved.set(keyOf(event), event);
    await pool.step();
  }
}

/** Where the state has no value, the event's own auth event counts, unless it was rejected. */
function findAuthState(
  { input, pool, base, resolved }: Resolution,
  { event, key }: { event: RoomEvent; key: StateKey },
): RoomEvent | undefined {
  const current = resolved.get(key) ?? base.get(key);
  if (current !== undefined) return current;
  for (const id of event.authEvents) {
    const auth = pool.get(id);
    if (auth !== undefined && keyOf(auth) === key && input.isRejected?.(id) !== true) return auth;
  }
  return undefined;
}

/** Step 5: a value on which all state sets agree wins over what the steps before found. */
async function restoreUnconflicted({ input, resolved }: Resolution): Promise<Map<StateKey, EventId>> {
  const result = new Map<StateKey, EventId>();
  for (const [key, event] of resolved) {
    if (input.conflicted.has(key) || await input.unconflicted(key) === undefined) result.set(key, event.eventId);
  }
  return result;
}
