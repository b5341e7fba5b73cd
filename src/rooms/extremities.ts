/** The ends of a room's graph: accepted events that no accepted event has as a parent. */
import type { EventId } from "../protocol/ids.ts";
import type { RoomBatch } from "./batch.ts";
import type { StoredEvent } from "./types.ts";

/** How many rejected or soft-failed ancestors are looked through for ends behind them. */
const MAX_WALK = 1000;

/** Returns the ends with one more accepted event. */
export async function extremitiesAfter(
  batch: RoomBatch,
  { stored, prev, hasChildren }: { stored: StoredEvent; prev: readonly StoredEvent[]; hasChildren: boolean },
): Promise<readonly StoredEvent[]> {
  const covered = await coveredBy(batch, prev);
  const rest = batch.extremities.filter(({ nid }) => !covered.has(nid));
  return hasChildren ? rest : [...rest, stored];
}

/** The parents, and what is behind those that do not count: an end may hide behind a soft-failed event. */
async function coveredBy(batch: RoomBatch, prev: readonly StoredEvent[]): Promise<Set<number>> {
  const covered = new Set<number>();
  let open = prev;
  while (open.length > 0 && covered.size < MAX_WALK) {
    const behind: EventId[] = [];
    for (const { nid, event, isRejected, isSoftFailed } of open) {
      if (covered.has(nid)) continue;
      covered.add(nid);
      if (isRejected || isSoftFailed) behind.push(...event.prevEvents);
    }
    open = behind.length === 0 ? [] : [...(await batch.byId([...new Set(behind)])).values()];
  }
  return covered;
}
