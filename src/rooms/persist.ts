/**
 * Writing batches: all their events and what follows from them, in one transaction.
 *
 * Order: lock the rooms and compare their positions with the copies the batches were built on; what needs no position;
 * take the positions, which on PostgreSQL makes other writers wait; the rest. All up to the positions goes out together,
 * in one round trip there. The rooms' copies change after the commit only.
 */
import type { LruCache } from "../lib/lru.ts";
import { nextTurn } from "../lib/turn.ts";
import { waitForAll } from "../lib/wait_for_all.ts";
import { type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { ServerName, UserId } from "../protocol/ids.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  insertEdgesOfOutliers,
  insertEventBodies,
  insertEventRelations,
  insertEvents,
  insertRedactions,
  type NewEvent,
  resolveMissingParents,
  updateOutliers,
  updateRedactedBy,
} from "../storage/event_writes.ts";
import { selectMissingParents } from "../storage/event_lookups.ts";
import { insertRoom, lockFreeRooms, lockRoom, updateForwardExtremities, updateRoomHead } from "../storage/rooms.ts";
import { insertStateNodes } from "../storage/state_nodes.ts";
import { advanceBackfill, advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";
import type { RoomBatch } from "./batch.ts";
import type { EventStore } from "./event_store.ts";
import { BatchTx } from "./batch_tx.ts";
import { membershipIn } from "./member_content.ts";
import type { PendingEvent, PersistedBatch, PersistedEvent, PersistHandler } from "./pending.ts";
import { relationOf } from "./relation.ts";
import type { ResolutionFigures } from "./resolve.ts";
import { ABSENT, makeRoomCopy, type RoomHeads } from "./room_heads.ts";
import type { StateDeltas } from "./state_deltas.ts";
import { type Effects, joinedAfter, stateEffects, writeState } from "./state_effects.ts";
import type { StoredEvent } from "./types.ts";

/** Another process has written to the room since its copy was loaded. */
export class RoomChangedError extends Error {
  override readonly name = "RoomChangedError";
}

/** What writing takes. */
export interface PersistDeps {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly events: EventStore;
  readonly heads: RoomHeads;
  readonly notifier: Notifier;
  readonly onPersist: readonly PersistHandler[];
  /** Roots of resolved states by what they were resolved from. */
  readonly resolutions: LruCache<string, number>;
  readonly figures: ResolutionFigures;
}

/** Writes the batch, and once that is durable updates the caches and wakes the readers. Throws `RoomChangedError`. */
export async function persistBatch(deps: PersistDeps, batch: RoomBatch): Promise<void> {
  if (batch.isEmpty) return;
  await deps.db.transaction(async (tx) => {
    const isLocked = lockUnchanged({ tx, batch });
    if (batch.pending.length > 0) {
      for (const placed of await takePlaces(tx, { batches: [batch], isLocked: isLocked.then((joined) => [joined]) })) {
        await writePlaced(deps, { tx, placed });
      }
      return;
    }
    await isLocked;
    for (const write of batch.writes) await write(tx, batch.room);
  });
}

/**
 * Writes batches of several rooms, each with events: all of them or none. Waits for no other writer: throws
 * `RoomChangedError` also where one has locked a room.
 */
export async function persistTogether(deps: PersistDeps, batches: readonly RoomBatch[]): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const all = await takePlaces(tx, { batches, isLocked: lockAllUnchanged(tx, batches) });
    const parts = all.map((placed) => ({ tx: new BatchTx(tx), placed }));
    // Nobody must go on with the transaction when it has ended.
    await waitForAll(parts.map((part) => writePlaced(deps, part)));
    // In the order of the positions, whichever batch was done first.
    for (const part of parts) part.tx.passCallbacks();
  });
}

async function writePlaced(deps: PersistDeps, { tx, placed }: { tx: Tx; placed: PlacedBatch }): Promise<void> {
  const persisted = await writePositioned(deps, { tx, placed });
  const { batch } = placed;
  for (const write of batch.writes) await write(tx, batch.room);
  const isLarge = persisted.events.some(({ deltas }) => deltas.areMany);
  for (const handler of deps.onPersist) {
    if (isLarge) await nextTurn();
    await handler(tx, persisted);
  }
  // The commit of so much takes a while by itself.
  if (isLarge) await nextTurn();
  tx.afterCommit(() => settle(deps, { batch, persisted }));
}

interface Work {
  readonly tx: Tx;
  readonly batch: RoomBatch;
}

/**
 * Keeps other writers out; returns how many are joined to the room. Throws `RoomChangedError` where another writer was
 * there since the room's copy was loaded.
 */
async function lockUnchanged({ tx, batch: { room, copy } }: Work): Promise<number> {
  if (copy === null) return 0;
  const before = await lockRoom(tx, room.roomNid);
  if (before?.lastPosition !== copy.lastPosition) throw new RoomChangedError();
  return before.joinedMembers;
}

async function lockAllUnchanged(tx: Tx, batches: readonly RoomBatch[]): Promise<number[]> {
  const rooms = await lockFreeRooms(tx, batches.map(({ room }) => room.roomNid));
  return batches.map(({ room, copy }) => {
    const before = rooms.get(room.roomNid);
    if (before === undefined || before.lastPosition !== copy?.lastPosition) throw new RoomChangedError();
    return before.joinedMembers;
  });
}

/** A batch and its first positions. */
interface PlacedBatch {
  readonly batch: RoomBatch;
  readonly first: number;
  /** Of its history; 0 where it has none. */
  readonly firstPast: number;
  /** How many were joined to the room before. */
  readonly joinedBefore: number;
}

/**
 * Writes what needs no position while the lock is waited for, and takes the positions after it: consecutive ones for the
 * batches, in their order.
 */
async function takePlaces(
  tx: Tx,
  { batches, isLocked }: { batches: readonly RoomBatch[]; isLocked: Promise<readonly number[]> },
): Promise<PlacedBatch[]> {
  const counts = batches.map((batch) => ({
    batch,
    past: batch.pending.filter(({ isBackfill }) => isBackfill).length,
    placed: Math.max(1, batch.pending.filter(({ stored, isBackfill }) => !stored.isOutlier && !isBackfill).length),
  }));
  const past = counts.reduce((sum, count) => sum + count.past, 0);
  const steps = [
    isLocked,
    Promise.all(batches.map((batch) => writeBodies({ tx, batch }))),
    advanceStream(tx, "events", counts.reduce((sum, { placed }) => sum + placed, 0)),
    past === 0 ? 0 : advanceBackfill(tx, past),
  ] as const;
  // The first that failed is why: on PostgreSQL it takes those after it along.
  await waitForAll(steps);
  let [first, firstPast] = [await steps[2], await steps[3]];
  const joined = await isLocked;
  return counts.map(({ batch, placed, past }, index) => {
    const place = { batch, first, firstPast, joinedBefore: joined[index] ?? 0 };
    first += placed;
    firstPast += past;
    return place;
  });
}

/** Writes what needs no position. */
async function writeBodies({ tx, batch }: Work): Promise<void> {
  const { room, pending } = batch;
  const news = pending.filter(({ wasOutlier }) => !wasOutlier);
  const bodyOf = ({ stored, prev, missingPrev, auth }: PendingEvent) => ({
    nid: stored.nid,
    roomNid: room.roomNid,
    json: stored.json,
    prevNids: prev.map(({ nid }) => nid),
    missingPrev,
    authNids: auth.map(({ nid }) => nid),
  });
  const writes: Promise<void>[] = [insertEventBodies(tx, news.map(bodyOf))];
  if (news.length < pending.length) {
    writes.push(insertEdgesOfOutliers(tx, pending.filter(({ wasOutlier }) => wasOutlier).map(bodyOf)));
  }
  if (batch.nodes.length > 0) writes.push(insertStateNodes(tx, { roomNid: room.roomNid, nodes: batch.nodes }));
  const redactions = news.flatMap(({ stored }) =>
    stored.event.redacts === null ? [] : [{ redactionNid: stored.nid, redactsEventId: stored.event.redacts }]
  );
  if (redactions.length > 0) writes.push(insertRedactions(tx, redactions));
  writes.push(...writeRelations(tx, batch));
  writes.push(updateForwardExtremities(tx, { roomNid: room.roomNid, ...extremityChanges(batch) }));
  await Promise.all(writes);
}

function writeRelations(tx: Tx, { room, pending }: RoomBatch): Promise<void>[] {
  const rows = pending.flatMap(({ stored }) => {
    const relation = stored.isRejected || stored.isOutlier || stored.redactedByNid !== null
      ? null
      : relationOf(stored.event);
    return relation === null ? [] : [{ eventNid: stored.nid, roomNid: room.roomNid, ...relation }];
  });
  return rows.length === 0 ? [] : [insertEventRelations(tx, rows)];
}

/** Returns how the ends of the graph differ from those of the room's copy. */
export function extremityChanges(
  { copy, extremities }: Pick<RoomBatch, "copy" | "extremities">,
): { removed: number[]; added: number[] } {
  const before = new Set(copy === null ? [] : copy.extremities.map(({ nid }) => nid));
  const after = new Set(extremities.map(({ nid }) => nid));
  return {
    removed: [...before].filter((nid) => !after.has(nid)),
    added: [...after].filter((nid) => !before.has(nid)),
  };
}

/** Gives positions to all events and writes what holds them. */
async function writePositioned(
  deps: PersistDeps,
  { tx, placed: { batch, first, firstPast, joinedBefore } }: { tx: Tx; placed: PlacedBatch },
): Promise<PersistedBatch> {
  const { room, pending, copy } = batch;
  let next = first;
  // The last of the history is nearest to zero.
  let nextPast = firstPast;
  const positionOf = ({ stored, isBackfill }: PendingEvent) => {
    if (stored.isOutlier) return null;
    return isBackfill ? nextPast++ : next++;
  };
  const persisted = pending.map((event): PersistedEvent => ({
    stored: { ...event.stored, position: positionOf(event) },
    isSent: event.isSent ?? false,
    deltas: event.deltas,
    transaction: event.transaction,
    redacts: event.redacts,
  }));
  const position = Math.max(first, next - 1);
  const effects = await stateEffects({
    roomNid: room.roomNid,
    changes: persisted.map(({ stored, deltas }) => ({ position: stored.position ?? 0, deltas })),
  });
  const isWasOutlier = new Set(pending.filter(({ wasOutlier }) => wasOutlier).map(({ stored }) => stored.nid));
  const rows = persisted.map(toNewEvent);
  // From here to the end nothing is waited for: all goes out together.
  const waitedFor = await waitedParents(deps, { tx, pending });
  const writes = [insertEvents(tx, rows.filter(({ nid }) => !isWasOutlier.has(nid)))];
  if (isWasOutlier.size > 0) writes.push(updateOutliers(tx, rows.filter(({ nid }) => isWasOutlier.has(nid))));
  if (waitedFor.length > 0) writes.push(resolveMissingParents(tx, waitedFor));
  const redacted = persisted.flatMap(({ stored, redacts }) =>
    redacts === null ? [] : [{ targetNid: redacts.nid, redactionNid: stored.nid }]
  );
  if (redacted.length > 0) writes.push(updateRedactedBy(tx, redacted));
  writes.push(...writeState(tx, { roomNid: room.roomNid, effects }));
  const head = { roomNid: room.roomNid, stateRoot: batch.root, lastPosition: position };
  if (copy === null) writes.push(writeRoom(tx, { batch, head, effects }));
  else writes.push(updateRoomHead(tx, { ...head, ...effects.counts }));
  const isWritten = Promise.all(writes);
  // What follows from state is written in parts, and read again by what comes after.
  if (effects.deltas.length > 0) await isWritten;
  else await tx.inOrder(isWritten);
  const localJoined = joinedAfter(copy?.localJoined ?? new Set(), effects);
  const ends = { before: copy?.extremities ?? [], after: batch.extremities };
  return { room, events: persisted, joinedBefore, localJoined, ends, position };
}

/** Writes a change of the current state that no event makes. */
export async function writeStateChange(
  { tx, roomNid, root, position, deltas }: {
    tx: Tx;
    roomNid: number;
    root: number;
    position: number;
    deltas: StateDeltas;
  },
): Promise<void> {
  const effects = await stateEffects({ roomNid, changes: [{ position, deltas }] });
  const head = { roomNid, stateRoot: root, lastPosition: position };
  await Promise.all([...writeState(tx, { roomNid, effects }), updateRoomHead(tx, { ...head, ...effects.counts })]);
}

async function writeRoom(
  tx: Tx,
  { batch, head, effects }: {
    batch: RoomBatch;
    head: { roomNid: number; stateRoot: number; lastPosition: number };
    effects: Effects;
  },
): Promise<void> {
  await insertRoom(tx, {
    ...head,
    roomId: batch.room.roomId,
    roomVersion: batch.rules.id,
    joinedMembers: effects.counts.joinedDelta,
    invitedMembers: effects.counts.invitedDelta,
    isPublic: false,
    createdTs: batch.deps.clock.now(),
  });
}

/** Own events have no children yet; those of others may have been referred to before they came. Outliers stay missing. */
async function waitedParents(
  { serverName }: PersistDeps,
  { tx, pending }: { tx: Tx; pending: readonly PendingEvent[] },
): Promise<{ nid: number; eventId: StoredEvent["event"]["eventId"] }[]> {
  const foreign = pending.filter(({ stored }) => !stored.isOutlier && domainOf(stored.event.sender) !== serverName);
  if (foreign.length === 0) return [];
  const waited = new Set(await selectMissingParents(tx, foreign.map(({ stored }) => stored.event.eventId)));
  return foreign.filter(({ stored }) => waited.has(stored.event.eventId))
    .map(({ stored }) => ({ nid: stored.nid, eventId: stored.event.eventId }));
}

function toNewEvent({ stored, transaction }: PersistedEvent): NewEvent {
  const { event } = stored;
  return {
    nid: stored.nid,
    eventId: event.eventId,
    roomNid: stored.roomNid,
    type: event.type,
    stateKeyNid: stored.stateKeyNid,
    sender: event.sender,
    depth: event.depth,
    position: stored.position,
    originServerTs: event.originServerTs,
    receivedTs: stored.receivedTs,
    isOutlier: stored.isOutlier,
    isRejected: stored.isRejected,
    isSoftFailed: stored.isSoftFailed,
    stateBefore: stored.stateBefore,
    stateAfter: stored.stateAfter,
    authRank: stored.authRank,
    redactedByNid: stored.redactedByNid,
    transaction,
  };
}

/** After the commit: brings the caches up to date and wakes who is concerned. */
function settle(deps: PersistDeps, { batch, persisted }: { batch: RoomBatch; persisted: PersistedBatch }): void {
  const final = new Map<number, StoredEvent>();
  for (const { stored } of persisted.events) final.set(stored.nid, stored);
  for (const { stored, redacts } of persisted.events) {
    if (redacts === null) continue;
    const target = final.get(redacts.nid) ?? deps.events.peekByNid(redacts.nid) ?? redacts;
    if (target.redactedByNid === null) final.set(target.nid, { ...target, redactedByNid: stored.nid });
  }
  for (const stored of final.values()) deps.events.put(stored);
  for (const [key, root] of batch.resolutions) deps.resolutions.set(key, root);
  const affected = updateCopy(deps, { batch, persisted, final });
  deps.notifier.publish("events", persisted.position, affected);
}

/** Returns the local users to wake: those joined before or after, and those whose membership changed. */
function updateCopy(
  { heads }: PersistDeps,
  { batch, persisted, final }: {
    batch: RoomBatch;
    persisted: PersistedBatch;
    final: ReadonlyMap<number, StoredEvent>;
  },
): ReadonlySet<UserId> {
  const latest = (stored: StoredEvent) => final.get(stored.nid) ?? stored;
  const extremities = batch.extremities.map(latest);
  const head = { extremities, stateRoot: batch.root, lastPosition: persisted.position };
  const copy = batch.copy ?? makeRoomCopy(batch.room, { ...head, localJoined: [] });
  copy.extremities = extremities;
  copy.stateRoot = head.stateRoot;
  copy.lastPosition = head.lastPosition;
  const heldOf = (stored: StoredEvent | null) => stored === null ? ABSENT : latest(stored);
  if (persisted.events.some(({ deltas }) => deltas.areMany)) {
    // Of so many only what is held already: all the others would but push each other out.
    for (const key of [...copy.state.keys()]) {
      const stored = batch.changes.get(key);
      if (stored !== undefined) copy.state.set(key, heldOf(stored));
    }
  } else for (const [key, stored] of batch.changes) copy.state.set(key, heldOf(stored));
  refreshRedacted(copy.state, final);
  heads.put(copy);
  return wakeAndJoin({ copy, persisted });
}

/** Puts redacted state events in the place of what a room's copy has of them. */
export function refreshRedacted(
  state: { peek(key: StateKey): StoredEvent | typeof ABSENT | undefined; set(key: StateKey, value: StoredEvent): void },
  final: ReadonlyMap<number, StoredEvent>,
): void {
  for (const stored of final.values()) {
    if (stored.redactedByNid === null || stored.event.stateKey === null) continue;
    const key = stateKeyOf(stored.event.type, stored.event.stateKey);
    const cached = state.peek(key);
    if (cached !== undefined && cached !== ABSENT && cached.nid === stored.nid) state.set(key, stored);
  }
}

function wakeAndJoin(
  { copy, persisted }: {
    copy: { localJoined: Set<UserId> };
    persisted: PersistedBatch;
  },
): ReadonlySet<UserId> {
  const changed = new Set<UserId>();
  for (const { deltas } of persisted.events) {
    for (const { stateKey, after } of deltas.localMembers) {
      const userId = stateKey as UserId;
      changed.add(userId);
      if (membershipIn(after) === "join") copy.localJoined.add(userId);
      else copy.localJoined.delete(userId);
    }
  }
  if (changed.size === 0) return copy.localJoined;
  return new Set([...copy.localJoined, ...changed]);
}
