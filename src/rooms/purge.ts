/**
 * Deleting rooms that nobody here remembers, or that an administrator wants gone: everything but reports and backups of
 * keys.
 *
 * It goes in steps of bounded size, in the room's queue, so that nothing else happens to the room meanwhile. Once begun it
 * is finished, also after a restart, before the room can come back: half a room would be taken for a whole one.
 */
import { MatrixError } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Tx } from "../storage/database.ts";
import {
  beginOrderedPurge,
  beginPurge,
  finishPurge,
  purgeEvents,
  purgeStateNodes,
  type RoomPurge,
  selectDuePurges,
} from "../storage/room_purges.ts";
import { nextTurn } from "../lib/turn.ts";
import type { EngineDeps } from "./engine_deps.ts";

const MAX_ROOMS_AT_ONCE = 20;
const STEP_ROWS = 500;

/** Deletes the rooms that it is time to delete, until the signal aborts. */
export async function purgeForgotten(deps: EngineDeps, signal: AbortSignal): Promise<void> {
  const due = await selectDuePurges(deps.db, { now: deps.clock.now(), limit: MAX_ROOMS_AT_ONCE });
  for (const purge of due) {
    if (signal.aborted) return;
    await deps.queues.run(purge.roomId, () => purgeRoom(deps, { purge, signal }));
    deps.heads.drop(purge.roomId);
  }
}

/** How a room is deleted for an administrator. */
export interface OrderedPurge {
  readonly roomId: RoomId;
  /** Users may still be joined. */
  readonly isForced: boolean;
  /** Interrupts it; it is gone on with by being asked for again. */
  readonly signal: AbortSignal;
  /** Runs in the transaction of the last step. */
  readonly onDone: (tx: Tx) => Promise<void>;
}

/** Deletes a room now. Throws 400 while users are joined, unless it is forced; a room that is not known is as deleted. */
export async function purgeNow(deps: EngineDeps, { roomId, isForced, signal, onDone }: OrderedPurge): Promise<void> {
  const room = await deps.events.roomById(roomId);
  if (room === null) return await deps.db.transaction(onDone);
  const purge = { roomNid: room.roomNid, roomId };
  const begin = async (tx: Tx) => {
    const users = await beginOrderedPurge(tx, { ...purge, isForced });
    if (users === false) throw new MatrixError(400, "M_UNKNOWN", "Users are still joined to this room");
    return users;
  };
  try {
    await deps.queues.runAlone(roomId, () => deleteRoom(deps, { purge, signal, begin, onDone }));
  } catch (error) {
    // What was begun before a restart may have been ended by `purgeForgotten` meanwhile.
    if (await deps.heads.load(roomId) !== null) throw error;
    await deps.db.transaction(onDone);
  }
  deps.heads.drop(roomId);
}

async function purgeRoom(
  deps: EngineDeps,
  { purge, signal }: { purge: RoomPurge; signal: AbortSignal },
): Promise<void> {
  await deleteRoom(deps, { purge, signal, begin: (tx) => beginPurge(tx, purge) });
}

async function deleteRoom(
  deps: EngineDeps,
  { purge, signal, begin, onDone }: {
    purge: RoomPurge;
    signal: AbortSignal;
    /** Returns who was in the room; false when it stays. */
    begin: (tx: Tx) => Promise<UserId[] | false>;
    onDone?: (tx: Tx) => Promise<void>;
  },
): Promise<void> {
  const { db, events, heads } = deps;
  const { roomNid, roomId } = purge;
  const users = await db.transaction(begin);
  if (users === false) return;
  for (const userId of users) deps.onForgotten?.(userId);
  // Cached states refer to nodes that are about to go.
  deps.resolutions.clear();
  for (const step of [purgeEvents, purgeStateNodes]) {
    while (!signal.aborted && await db.transaction((tx) => step(tx, { roomNid, limit: STEP_ROWS })) > 0) {
      await nextTurn();
    }
    if (signal.aborted) return;
  }
  await db.transaction(async (tx) => {
    await finishPurge(tx, purge);
    await onDone?.(tx);
  });
  events.dropRoom(roomNid);
  heads.drop(roomId);
  for (const userId of users) deps.onForgotten?.(userId);
}
