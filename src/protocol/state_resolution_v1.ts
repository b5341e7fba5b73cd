/**
 * State resolution of room version 1. Spec: "Room version 1", "State resolution".
 *
 * Unlike in later versions a key conflicts only where sets have different values for it: one that some sets lack is
 * taken from those that have it. Rejected events take no part.
 */
import { createHash } from "node:crypto";
import { selectAuthKeys } from "./auth_events.ts";
import type { RoomEvent, StateKey } from "./event.ts";
import type { EventId } from "./ids.ts";
import { EventPool, isAllowed, loadUnconflicted } from "./state_resolution_events.ts";
import type { StateResolutionInput } from "./state_resolution_input.ts";

/** The types that decide on others, in the order in which their conflicts are resolved. */
const AUTHORITY_TYPES = ["m.room.power_levels", "m.room.join_rules", "m.room.member"] as const;

interface Resolution {
  readonly input: StateResolutionInput;
  /** The unconflicted state, as far as it can be asked for. */
  readonly base: ReadonlyMap<StateKey, RoomEvent>;
  /** *R* without the unconflicted state. */
  readonly resolved: Map<StateKey, RoomEvent>;
}

/** Resolves conflicts by the algorithm of room version 1; see `resolveState`. */
export async function resolveStateV1(input: StateResolutionInput): Promise<Map<StateKey, EventId>> {
  const pool = new EventPool(input);
  await pool.load([...input.conflicted.values()].flat().filter((id) => id !== undefined));
  const resolved = new Map<StateKey, RoomEvent>();
  const contested = new Map<StateKey, RoomEvent[]>();
  for (const [key, values] of input.conflicted) {
    const candidates = pool.getAll(
      values.filter((id) => id !== undefined && input.isRejected?.(id) !== true) as EventId[],
    );
    const [only, second] = candidates;
    if (second !== undefined) contested.set(key, sortByDepth(candidates));
    else if (only !== undefined) resolved.set(key, only);
  }
  const authKeys = [...contested.values()].flat().flatMap((event) => selectAuthKeys(input.rules, event));
  const resolution: Resolution = { input, base: await loadUnconflicted({ input, pool }, authKeys), resolved };
  for (const type of AUTHORITY_TYPES) resolveType(resolution, { contested, type });
  // No other type decides on others, so their order does not matter.
  for (const [key, events] of contested) {
    resolved.set(key, pickOther(resolution, events));
    await pool.step();
  }
  return new Map([...resolved].map(([key, event]) => [key, event.eventId]));
}

/** Orders by ascending depth, then by descending SHA-1 of the id. */
function sortByDepth(events: readonly RoomEvent[]): RoomEvent[] {
  const keyed = events.map((event) => ({ event, digest: createHash("sha1").update(event.eventId).digest("hex") }));
  keyed.sort((a, b) => a.event.depth - b.event.depth || (a.digest < b.digest ? 1 : -1));
  return keyed.map(({ event }) => event);
}

/** Resolves the conflicts of one type against *R* as it was before any of them, then takes them out of `contested`. */
function resolveType(
  resolution: Resolution,
  { contested, type }: { contested: Map<StateKey, RoomEvent[]>; type: string },
): void {
  const settled = new Map<StateKey, RoomEvent>();
  for (const [key, events] of contested) {
    if (events[0]?.type === type) settled.set(key, pickByAuthority(resolution, { key, events }));
  }
  for (const [key, event] of settled) {
    contested.delete(key);
    resolution.resolved.set(key, event);
  }
}

/** Starts with the first event and goes on as long as each is allowed in the state that the one before made. */
function pickByAuthority(
  resolution: Resolution,
  { key, events }: { key: StateKey; events: readonly RoomEvent[] },
): RoomEvent {
  let [current, ...rest] = events as [RoomEvent, ...RoomEvent[]];
  for (const event of rest) {
    const before = current;
    const find = (wanted: StateKey): RoomEvent | undefined => wanted === key ? before : findState(resolution, wanted);
    if (!isAllowed(resolution.input, { event, find })) break;
    current = event;
  }
  return current;
}

/**
 * Returns the allowed event that comes last in the order. The spec does not say what to do when none is allowed; the
 * first is taken then, as by other servers, so that the key does not lose its value.
 */
function pickOther(resolution: Resolution, events: readonly RoomEvent[]): RoomEvent {
  const find = (key: StateKey): RoomEvent | undefined => findState(resolution, key);
  const allowed = events.findLast((event) => isAllowed(resolution.input, { event, find }));
  return allowed ?? events[0] as RoomEvent;
}

function findState({ base, resolved }: Resolution, key: StateKey): RoomEvent | undefined {
  return resolved.get(key) ?? base.get(key);
}
