/**
 * What both families of state resolution algorithms share: the events loaded so far, authorization against a state in the
 * making, and giving way to the event loop.
 */
import { authorizeEvent } from "./auth_rules.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "./event.ts";
import type { EventId } from "./ids.ts";
import type { StateResolutionInput } from "./state_resolution_input.ts";

/** Steps between two chances for the event loop; some hundred steps take about a millisecond. */
const STEPS_PER_YIELD = 200;

/** Loads each event once, and lets the event loop run now and then. */
export class EventPool {
  readonly #input: StateResolutionInput;
  readonly #events = new Map<EventId, RoomEvent | undefined>();
  #steps = 0;

  constructor(input: StateResolutionInput) {
    this.#input = input;
  }

  /** Loads those of the events that have not been asked for before. */
  async load(ids: Iterable<EventId>): Promise<void> {
    const missing = new Set<EventId>();
    for (const id of ids) {
      if (!this.#events.has(id)) missing.add(id);
    }
    if (missing.size === 0) return;
    const loaded = await this.#input.loadEvents([...missing]);
    for (const id of missing) this.#events.set(id, this.#accept(loaded.get(id)));
  }

  /** Returns a loaded event; undefined when it is unknown, not a state event or of another room. */
  get(id: EventId): RoomEvent | undefined {
    return this.#events.get(id);
  }

  /** Returns the loaded ones of the events, each once. */
  getAll(ids: Iterable<EventId>): RoomEvent[] {
    const events: RoomEvent[] = [];
    for (const id of new Set(ids)) {
      const event = this.#events.get(id);
      if (event !== undefined) events.push(event);
    }
    return events;
  }

  /** Returns the loaded event of the type and state key that `event` lists in `auth_events`. */
  findAuthEvent(event: RoomEvent, key: { type: string; stateKey: string }): RoomEvent | undefined {
    for (const id of event.authEvents) {
      const candidate = this.#events.get(id);
      if (candidate !== undefined && candidate.type === key.type && candidate.stateKey === key.stateKey) {
        return candidate;
      }
    }
    return undefined;
  }

  /** To be awaited once for each event that is worked on. */
  async step(): Promise<void> {
    if (++this.#steps % STEPS_PER_YIELD === 0) await this.#input.yieldToLoop?.();
  }

  #accept(event: RoomEvent | undefined): RoomEvent | undefined {
    if (event === undefined || event.stateKey === null) return undefined;
    return event.roomId === this.#input.createEvent.roomId ? event : undefined;
  }
}

/** Tells whether an event passes the authorization rules in the state that `find` gives. */
export function isAllowed(
  input: StateResolutionInput,
  { event, find }: { event: RoomEvent; find: (key: StateKey) => RoomEvent | undefined },
): boolean {
  return authorizeEvent({
    event,
    create: input.createEvent,
    authState: (type, stateKey) => find(stateKeyOf(type, stateKey)),
    verifyThirdPartyInvite: input.verifyThirdPartyInvite,
  }).allowed;
}

/** Returns the key of a state event that `EventPool` loaded. */
export function keyOf(event: RoomEvent): StateKey {
  return stateKeyOf(event.type, event.stateKey ?? "");
}

/** Loads the unconflicted state of the keys. */
export async function loadUnconflicted(
  { input, pool }: { input: StateResolutionInput; pool: EventPool },
  keys: Iterable<StateKey>,
): Promise<Map<StateKey, RoomEvent>> {
  const wanted = [...new Set(keys)].filter((key) => !input.conflicted.has(key));
  const ids = await Promise.all(wanted.map((key) => input.unconflicted(key)));
  await pool.load(ids.filter((id) => id !== undefined));
  const state = new Map<StateKey, RoomEvent>();
  wanted.forEach((key, index) => {
    const id = ids[index];
    const event = id === undefined ? undefined : pool.get(id);
    if (event !== undefined) state.set(key, event);
  });
  return state;
}
