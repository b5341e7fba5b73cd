/**
 * Events without a place in the graph: the auth chains and states that other servers send along. They are authorized by
 * their own auth events only, and get their place when they arrive as part of the graph.
 */
import { nextTurn } from "../lib/turn.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { EventId, RoomId } from "../protocol/ids.ts";
import { rankAfter, type RoomBatch } from "./batch.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { checkAuthEvents } from "./receive_checks.ts";
import type { ReceivedEvent } from "./receive.ts";
import { StateDeltas } from "./state_deltas.ts";
import type { StoredEvent } from "./types.ts";

/** Bounds how long one transaction holds up others. */
const CHUNK = 250;
/** Sorting this many takes some milliseconds. */
const SORTED_A_TURN = 2_000;

/** Stores events as outliers; those whose auth events are neither known nor among them are left out. */
export async function storeOutliers(
  deps: Pick<EngineDeps, "queues">,
  { roomId, events }: { roomId: RoomId; events: readonly ReceivedEvent[] },
): Promise<void> {
  const ordered = await authFirst(events.filter(({ event }) => event.roomId === roomId));
  for (let start = 0; start < ordered.length; start += CHUNK) {
    const chunk = ordered.slice(start, start + CHUNK);
    await deps.queues.run(roomId, async (batch) => {
      await batch.deps.keys.intern(chunk.flatMap(({ event }) => keyOf(event)));
      for (const received of chunk) await addOutlier(batch, received);
    });
  }
}

/** Adds one outlier to the batch and returns it; null when its auth events are not known. */
export async function addOutlier(
  batch: RoomBatch,
  { event, json }: ReceivedEvent,
  { mayLackAuth = false }: { mayLackAuth?: boolean } = {},
): Promise<StoredEvent | null> {
  const known = (await batch.byId([event.eventId])).get(event.eventId);
  if (known !== undefined && !lacksAuth(known)) return known;
  const auth = [...(await batch.byId(event.authEvents)).values()];
  const isComplete = auth.length === new Set(event.authEvents).size;
  if (!isComplete && (!mayLackAuth || known !== undefined)) return known ?? null;
  const refusal = isComplete ? await checkAuthEvents(batch, { event, auth }) : null;
  const stored = await makeOutlier(batch, { event, json, known, auth: isComplete ? auth : [], refusal });
  await batch.addResolved({
    ...{
      stored,
      prev: [],
      missingPrev: [],
      auth: isComplete ? auth : [],
      deltas: StateDeltas.NONE,
      transaction: null,
      redacts: null,
    },
    wasOutlier: known !== undefined,
  }, { root: batch.root, extremities: batch.extremities });
  return stored;
}

/** An invitation from afar was stored without its auth events, which come with the join. */
function lacksAuth({ isOutlier, authRank, event }: StoredEvent): boolean {
  return isOutlier && authRank === 1 && event.authEvents.length > 0;
}

async function makeOutlier(
  batch: RoomBatch,
  { event, json, known, auth, refusal }: {
    event: RoomEvent;
    json: string;
    known: StoredEvent | undefined;
    auth: readonly StoredEvent[];
    refusal: string | null;
  },
): Promise<StoredEvent> {
  return {
    nid: known?.nid ?? await batch.deps.eventIds.next(),
    roomNid: batch.room.roomNid,
    event,
    json,
    position: null,
    receivedTs: known?.receivedTs ?? batch.deps.clock.now(),
    isOutlier: true,
    isRejected: refusal !== null,
    isSoftFailed: false,
    stateBefore: null,
    stateAfter: null,
    stateKeyNid: event.stateKey === null ? null : await batch.intern(event.type, event.stateKey),
    authRank: rankAfter(auth),
    redactedByNid: known?.redactedByNid ?? null,
  };
}

function keyOf({ type, stateKey }: RoomEvent): StateKey[] {
  return stateKey === null ? [] : [stateKeyOf(type, stateKey)];
}

/** Returns the events so that each comes after those of its auth events that are among them; cycles are cut. */
async function authFirst(events: readonly ReceivedEvent[]): Promise<ReceivedEvent[]> {
  // Since version 12 the create event authorizes all others without being listed by them.
  const isCreate = ({ event }: ReceivedEvent) => event.type === "m.room.create";
  const createFirst = [...events.filter(isCreate), ...events.filter((received) => !isCreate(received))];
  const sorting = sortBehind(createFirst, ({ event }) => event.authEvents);
  let step = sorting.next();
  for (; !step.done; step = sorting.next()) await nextTurn();
  return step.value;
}

/** Returns the events so that each comes after those of its parents that are among them; cycles are cut. */
export function parentsFirst(events: readonly ReceivedEvent[]): ReceivedEvent[] {
  const sorting = sortBehind(events, ({ event }) => event.prevEvents);
  let step = sorting.next();
  while (!step.done) step = sorting.next();
  return step.value;
}

/** Stops now and then, so that other work gets its turn. */
function* sortBehind(
  events: readonly ReceivedEvent[],
  before: (received: ReceivedEvent) => readonly EventId[],
): Generator<void, ReceivedEvent[]> {
  const byId = new Map(events.map((received) => [received.event.eventId, received]));
  if (events.length > SORTED_A_TURN) yield;
  const done = new Set<EventId>();
  const ordered: ReceivedEvent[] = [];
  let seen = 0;
  for (const start of byId.values()) {
    if (++seen % SORTED_A_TURN === 0) yield;
    // Walks in depth without recursion: chains may be long.
    const stack: { readonly received: ReceivedEvent; readonly open: EventId[] }[] = [];
    const enter = (received: ReceivedEvent) => {
      if (done.has(received.event.eventId)) return;
      done.add(received.event.eventId);
      stack.push({ received, open: [...before(received)] });
    };
    enter(start);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.open.pop();
      if (next === undefined) {
        ordered.push(top.received);
        stack.pop();
        continue;
      }
      const behind = byId.get(next);
      if (behind !== undefined) enter(behind);
    }
  }
  return ordered;
}
