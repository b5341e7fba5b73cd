/** States that other servers list: at gaps in the graph, and when a room is joined. */
import type { EventId } from "../protocol/ids.ts";
import { selectStateEntries } from "../storage/event_lookups.ts";
import type { TreeChange } from "../storage/state_tree.ts";
import type { RoomBatch } from "./batch.ts";

/**
 * Returns the root of the state that holds exactly these stored events; its nodes are written with the batch. It is made
 * from the current state, with which such states share most.
 */
export async function rootOfState(batch: RoomBatch, eventIds: readonly EventId[]): Promise<number> {
  const { db, trees } = batch.deps;
  const wanted = new Map<number, TreeChange>();
  for (
    const { nid, stateKeyNid, isMember } of await selectStateEntries(db, { roomNid: batch.room.roomNid, eventIds })
  ) {
    wanted.set(stateKeyNid, { nid: stateKeyNid, isMember, eventNid: nid });
  }
  const changes: TreeChange[] = [];
  for (const half of ["members", "others"] as const) {
    for (const [keyNid, eventNid] of await trees.entries(batch.root, half)) {
      const next = wanted.get(keyNid);
      if (next === undefined) changes.push({ nid: keyNid, isMember: half === "members", eventNid: null });
      else if (next.eventNid === eventNid) wanted.delete(keyNid);
    }
  }
  return await batch.setState(batch.root, [...changes, ...wanted.values()]);
}
