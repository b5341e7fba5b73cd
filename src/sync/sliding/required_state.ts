/** The state of a room in sliding sync: `required_state`. Spec: MSC4186, "RequiredStateRequest". */
import { type StateKey, stateKeyOf } from "../../protocol/event.ts";
import type { UserId } from "../../protocol/ids.ts";
import type { EventStore } from "../../rooms/event_store.ts";
import type { MemberLoader } from "../../rooms/lazy_members.ts";
import type { StateReader } from "../../rooms/state_reader.ts";
import type { StoredEvent } from "../../rooms/types.ts";
import type { StateDelta } from "../../storage/timeline.ts";
import type { Timeline } from "../timelines.ts";
import type { RoomRecord } from "./connections.ts";
import type { StateSelection } from "./state_selection.ts";

/** What state is read from. */
export interface RequiredStateDeps {
  readonly state: StateReader;
  readonly events: EventStore;
  readonly members: MemberLoader;
}

/** What state is read for. */
export interface RequiredStateQuery {
  readonly selection: StateSelection;
  /** What the client was sent of the room; null when it is to be sent everything anew. */
  readonly record: RoomRecord | null;
  /** The state at the end of what is shown. */
  readonly root: number;
  /** How the state changed since the record. */
  readonly deltas: readonly StateDelta[];
  readonly timeline: Timeline;
  /** Member events that the client has. */
  readonly sentMembers: ReadonlySet<number>;
}

/** State that went away. */
export interface StateStub {
  readonly type: string;
  readonly stateKey: string;
}

/** What to send. */
export interface RequiredState {
  readonly events: readonly StoredEvent[];
  readonly gone: readonly StateStub[];
}

const MEMBER = "m.room.member";

/** Returns the state to send, each event once. */
export async function readRequiredState(deps: RequiredStateDeps, query: RequiredStateQuery): Promise<RequiredState> {
  const { selection, record, root } = query;
  const found = new Map<number, StoredEvent>();
  const gone: StateStub[] = [];
  const add = (events: Iterable<StoredEvent>) => {
    for (const stored of events) found.set(stored.nid, stored);
  };
  if (record === null) add(await selectState(deps.state, { root, selection }));
  else {
    const changed = await changedState(deps, query);
    add(changed.events);
    gone.push(...changed.gone);
    const { selection: before } = record;
    if (before.with(selection).text !== before.text) {
      for (const stored of await selectState(deps.state, { root, selection })) {
        const { type, stateKey } = stored.event;
        if (stateKey !== null && !before.selects(type, stateKey)) add([stored]);
      }
    }
  }
  if (selection.lazyMembers) add(await lazyMembers(deps, query));
  return { events: [...found.values()], gone };
}

/** Returns what a selection picks of a state. */
export async function selectState(
  state: StateReader,
  { root, selection }: { root: number; selection: StateSelection },
): Promise<StoredEvent[]> {
  const keys = new Set<StateKey>();
  for (const { type, stateKey } of selection.exactKeys()) keys.add(stateKeyOf(type, stateKey));
  const found = new Map<number, StoredEvent>();
  for (const stored of (await state.getMany(root, [...keys])).values()) found.set(stored.nid, stored);
  for (const half of ["others", "members"] as const) {
    if (!selection.needsAll(half)) continue;
    for (const stored of await state.entries(root, half)) found.set(stored.nid, stored);
  }
  return [...found.values()].filter(({ event: { type, stateKey } }) =>
    stateKey !== null && selection.selects(type, stateKey)
  );
}

async function changedState(
  { events }: RequiredStateDeps,
  { selection, deltas, timeline }: RequiredStateQuery,
): Promise<{ events: Iterable<StoredEvent>; gone: StateStub[] }> {
  const last = new Map<string, StateDelta>();
  for (const delta of deltas) {
    const { type, stateKey } = delta;
    const isLazyUpdate = selection.lazyMembers && type === MEMBER && !timeline.limited;
    if (isLazyUpdate || selection.selects(type, stateKey)) last.set(stateKeyOf(type, stateKey), delta);
  }
  const nids: number[] = [];
  const gone: StateStub[] = [];
  for (const { type, stateKey, eventNid } of last.values()) {
    if (eventNid === null) gone.push({ type, stateKey });
    else nids.push(eventNid);
  }
  return { events: (await events.byNid(nids)).values(), gone };
}

/** Returns the members that the timeline speaks of, but for those the client has. */
async function lazyMembers(
  { members }: RequiredStateDeps,
  { root, timeline, sentMembers }: RequiredStateQuery,
): Promise<StoredEvent[]> {
  const users = new Set<UserId>();
  for (const { stored: { event } } of timeline.events) {
    users.add(event.sender);
    if (event.type === MEMBER && event.stateKey !== null) users.add(event.stateKey as UserId);
  }
  if (users.size === 0) return [];
  return (await members.at(root, users)).filter(({ nid }) => !sentMembers.has(nid));
}
