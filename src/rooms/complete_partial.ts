/**
 * The end of a faster join (MSC3902): with the whole state before the join, the states of all events since are computed
 * anew, each is judged again by its own, and the room's current state becomes what they add up to. One transaction.
 */
import { inTurns, nextTurn } from "../lib/turn.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import { updateEventStates } from "../storage/partial_rooms.ts";
import { completePartialRoom, type PartialRoom, selectEventsSinceJoin } from "../storage/partial_rooms.ts";
import { selectMissingParentsOf } from "../storage/event_lookups.ts";
import { updateForwardExtremities } from "../storage/rooms.ts";
import { insertStateNodes } from "../storage/state_nodes.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Tx } from "../storage/database.ts";
import type { RoomBatch } from "./batch.ts";
import { currentDeltas } from "./deltas.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { parentsFirst } from "./outliers.ts";
import { extremityChanges, writeStateChange } from "./persist.ts";
import { checkRejection } from "./receive_checks.ts";
import { resolveRoots } from "./resolve.ts";
import { StateDeltas } from "./state_deltas.ts";
import { rootOfState } from "./supplied_state.ts";
import type { StoredEvent } from "./types.ts";

const EVENTS_A_TURN = 250;

/** A change of a room's current state that no event made. */
export interface StateReplaced {
  readonly roomNid: number;
  readonly position: number;
  readonly deltas: StateDeltas;
  /** The servers that were taken to be in the room. */
  readonly servers: PartialRoom["servers"];
  /** The servers that were in the room at the join or after it, some of them perhaps no more. */
  readonly present: ReadonlySet<string>;
  readonly localJoined: ReadonlySet<UserId>;
}

/** Called in the transaction that completes a state. */
export type ReplacedHandler = (tx: Tx, replaced: StateReplaced) => Promise<void>;

/** The states after events that are not here, by their ids. */
export type ParentStates = ReadonlyMap<EventId, readonly EventId[]>;

interface Completion {
  readonly roomId: RoomId;
  readonly partial: PartialRoom;
  readonly parentStates: ParentStates;
  readonly onReplaced: ReplacedHandler;
}

/** Completes the state; returns the parents whose states are still to be fetched, which is none when it is done. */
export async function completePartial(deps: EngineDeps, completion: Completion): Promise<readonly EventId[]> {
  const { roomId, partial, parentStates } = completion;
  return await deps.queues.runAlone(roomId, async (batch) => {
    const { roomNid } = batch.room;
    const nids = await selectEventsSinceJoin(deps.db, { roomNid, joinNid: partial.joinNid });
    const missing = await selectMissingParentsOf(deps.db, nids);
    const wanted = [...new Set([...missing.values()].flat())].filter((id) => !parentStates.has(id));
    if (wanted.length > 0) return wanted;
    const events = parentsFirst([...(await batch.byNids(nids)).values()]) as StoredEvent[];
    const known = await batch.byNids([partial.joinNid]);
    const rootBefore = known.get(partial.joinNid)?.stateBefore ?? 0;
    const updated: StoredEvent[] = [];
    for (const stored of events) {
      const next = await recompute(deps, { batch, stored, missing: missing.get(stored.nid) ?? [], parentStates });
      batch.replace(next);
      updated.push(next);
    }
    const ends = endsOf(batch, updated);
    const root = await resolveRoots(deps, { batch, roots: ends.map(({ stateAfter }) => stateAfter ?? 0) });
    const [end] = ends;
    const deltas = end === undefined ? StateDeltas.NONE : await currentDeltas(batch, { root, stored: end });
    const joined = updated.find(({ nid }) => nid === partial.joinNid)?.stateBefore ?? 0;
    const present = await serversPresent(batch, { updated, from: rootBefore, to: joined });
    batch.addWrite((tx) => write(deps, { tx, batch, completion, updated, ends, root, deltas, present }));
    return [];
  });
}

async function recompute(
  deps: EngineDeps,
  { batch, stored, missing, parentStates }: {
    batch: RoomBatch;
    stored: StoredEvent;
    missing: readonly EventId[];
    parentStates: ParentStates;
  },
): Promise<StoredEvent> {
  const { event, stateKeyNid, nid } = stored;
  const prev = [...(await batch.byId(event.prevEvents)).values()].filter(({ isOutlier }) => !isOutlier);
  const roots = prev.map(({ stateAfter }) => stateAfter ?? 0);
  for (const id of missing) roots.push(await rootOfState(batch, parentStates.get(id) ?? []));
  const before = await resolveRoots(deps, { batch, roots });
  const auth = [...(await batch.byId(event.authEvents)).values()];
  const isRejected = await checkRejection(batch, { event, auth, before }) !== null;
  const isMember = event.type === "m.room.member";
  const after = stateKeyNid === null || isRejected
    ? before
    : await batch.setState(before, [{ nid: stateKeyNid, isMember, eventNid: nid }]);
  return { ...stored, isRejected, stateBefore: before, stateAfter: after };
}

/** The servers that the state before the join turned out to have, and those that have joined since. */
async function serversPresent(
  batch: RoomBatch,
  { updated, from, to }: { updated: readonly StoredEvent[]; from: number; to: number },
): Promise<Set<string>> {
  const present = new Set<string>();
  const note = ({ event: { type, content, stateKey } }: StoredEvent) => {
    if (type !== "m.room.member" || content["membership"] !== "join") return;
    const server = domainOf(stateKey ?? "");
    if (server !== null) present.add(server);
  };
  const found = (await batch.deps.trees.diff(from, to)).map(({ after }) => after).filter((nid) => nid !== null);
  // Part by part: there may be tens of thousands, which need not be in memory at once.
  for await (const part of inTurns(found, EVENTS_A_TURN)) {
    for (const stored of (await batch.byNids(part)).values()) note(stored);
  }
  for (const stored of updated) if (!stored.isRejected) note(stored);
  return present;
}

/** The ends of the graph now that some events may have been rejected, or no longer are. */
function endsOf(batch: RoomBatch, updated: readonly StoredEvent[]): StoredEvent[] {
  const counts = ({ isRejected, isSoftFailed }: StoredEvent) => !isRejected && !isSoftFailed;
  const byId = new Map(updated.map((stored) => [stored.event.eventId, stored]));
  const covered = new Set<EventId>();
  const open = updated.filter(counts).flatMap(({ event }) => event.prevEvents);
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (covered.has(id)) continue;
    covered.add(id);
    const behind = byId.get(id);
    if (behind !== undefined && !counts(behind)) open.push(...behind.event.prevEvents);
  }
  const older = batch.extremities.filter(({ event }) => !byId.has(event.eventId));
  return [...older, ...updated.filter(counts)].filter(({ event }) => !covered.has(event.eventId));
}

async function write(
  deps: EngineDeps,
  { tx, batch, completion: { roomId, partial: { servers }, onReplaced }, updated, ends, root, deltas, present }: {
    tx: Tx;
    batch: RoomBatch;
    completion: Completion;
    updated: readonly StoredEvent[];
    ends: readonly StoredEvent[];
    root: number;
    deltas: StateDeltas;
    present: ReadonlySet<string>;
  },
): Promise<void> {
  const { roomNid } = batch.room;
  await insertStateNodes(tx, { roomNid, nodes: batch.nodes });
  await updateEventStates(tx, updated);
  await updateForwardExtremities(tx, { roomNid, ...extremityChanges({ copy: batch.copy, extremities: ends }) });
  const position = await advanceStream(tx, "events", 1);
  await writeStateChange({ tx, roomNid, root, position, deltas });
  await completePartialRoom(tx, { roomNid, position });
  const joined = new Set<UserId>(batch.copy?.localJoined ?? []);
  await nextTurn();
  await onReplaced(tx, { roomNid, position, deltas, servers, present, localJoined: joined });
  // The commit of so much takes a while by itself.
  await nextTurn();
  tx.afterCommit(() => {
    for (const stored of updated) deps.events.put(stored);
    for (const [key, resolved] of batch.resolutions) deps.resolutions.set(key, resolved);
    deps.heads.drop(roomId);
    deps.notifier.publish("events", position, joined);
  });
}
