/**
 * Deleting old events of a room that goes on, in steps of bounded size in the room's queue.
 *
 * State stays, and so do the ends of the graph, redactions of what stays, and uploaded files. An event whose parent goes
 * has a parent that is not here, as at the beginning of what was backfilled. A purge that is interrupted leaves a room that
 * is whole; the next one goes on with what is left.
 */
import { nextTurn } from "../lib/turn.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import type { RoomId, ServerName } from "../protocol/ids.ts";
import {
  deleteOldEvents,
  lockOldEvents,
  type OldEvent,
  type OldEventPlace,
  type OldEvents,
  selectOldEvents,
  selectRedactionsInForce,
} from "../storage/history_purge.ts";
import type { EngineDeps } from "./engine_deps.ts";
import type { RoomTimelines } from "./room_timelines.ts";
import type { RedactedHandler } from "./user_redactions.ts";

/** What to delete. */
export interface HistoryPurge {
  readonly roomId: RoomId;
  readonly which: OldEvents;
  /** Events of users of this server stay. */
  readonly keepsServer?: ServerName;
}

/** What deleting takes beside the engine. */
export interface HistoryPurgeParts {
  readonly timelines: RoomTimelines;
  /** Takes events back out of counts, indexes and aggregations. */
  readonly onRemoved: RedactedHandler;
}

const STEP_EVENTS = 200;

/** Deletes old events of a room until none is left or the signal aborts; returns how many. */
export async function purgeHistory(
  deps: EngineDeps & HistoryPurgeParts,
  { purge, signal }: { purge: HistoryPurge; signal: AbortSignal },
): Promise<number> {
  const room = await deps.events.roomById(purge.roomId);
  if (room === null) return 0;
  const { roomNid } = room;
  let after: OldEventPlace | null = null;
  let count = 0;
  while (!signal.aborted) {
    const old: OldEvent[] = await selectOldEvents(deps.db, { roomNid, which: purge.which, after, limit: STEP_EVENTS });
    const last = old.at(-1);
    if (last === undefined) break;
    after = last;
    count += await deleteStep(deps, { purge, roomNid, old });
    await nextTurn();
  }
  return count;
}

async function deleteStep(
  { db, queues, events: store, timelines, onRemoved, heads }: EngineDeps & HistoryPurgeParts,
  { purge, roomNid, old }: { purge: HistoryPurge; roomNid: number; old: readonly OldEvent[] },
): Promise<number> {
  const { roomId, keepsServer } = purge;
  const candidates = old.filter(({ sender }) => keepsServer === undefined || domainOf(sender) !== keepsServer);
  if (candidates.length === 0) return 0;
  return await queues.run(roomId, async (batch) => {
    // What was an old event when it was looked for may have become the end of the graph since.
    const ends = new Set(batch.extremities.map(({ nid }) => nid));
    for (const { nid } of (await heads.load(roomId))?.extremities ?? []) ends.add(nid);
    const inForce = await selectRedactionsInForce(db, candidates.map(({ nid }) => nid));
    const going = candidates.filter(({ nid }) => !ends.has(nid) && !inForce.has(nid));
    if (going.length === 0) return 0;
    batch.addWrite(async (tx) => {
      await lockOldEvents(tx, going);
      const stored = [...(await store.byNid(going.map(({ nid }) => nid))).values()];
      await onRemoved(tx, { roomNid, events: stored });
      await deleteOldEvents(tx, { roomNid, events: going });
      tx.afterCommit(() => {
        for (const { nid } of going) store.drop(nid);
        timelines.forgetRecent(roomNid);
      });
    });
    return going.length;
  });
}
