/**
 * Deleting rooms that nobody here remembers: everything but reports and backups of keys.
 *
 * It goes in steps of bounded size, in the room's queue, so that nothing else happens to the room meanwhile. Once begun it
 * is finished, also after a restart, before the room can come back: half a room would be taken for a whole one.
 */
import type { UserId } from "../protocol/ids.ts";
import {
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

async function purgeRoom(
  deps: EngineDeps,
  { purge, signal }: { purge: RoomPurge; signal: AbortSignal },
): Promise<void> {
  const { db, events, heads } = deps;
  const { roomNid, roomId } = purge;
  const users: UserId[] | false = await db.transaction((tx) => beginPurge(tx, purge));
  if (users === false) return;
  // Cached states refer to nodes that are about to go.
  deps.resolutions.clear();
  for (const step of [purgeEvents, purgeStateNodes]) {
    while (!signal.aborted && await db.transaction((tx) => step(tx, { roomNid, limit: STEP_ROWS })) > 0) {
      await nextTurn();
    }
    if (signal.aborted) return;
  }
  await db.transaction((tx) => finishPurge(tx, purge));
  events.dropRoom(roomNid);
  heads.drop(roomId);
  for (const userId of users) deps.onForgotten?.(userId);
}
