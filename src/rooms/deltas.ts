/** How the current state changes when more than one branch of a room's graph counts. */
import { inTurns } from "../lib/turn.ts";
import { splitStateKey } from "../protocol/event.ts";
import type { RoomBatch } from "./batch.ts";
import type { StateDelta } from "./pending.ts";
import type { StoredEvent } from "./types.ts";

/** Whoever joins a large room changes tens of thousands of keys: this many take a few milliseconds. */
const DELTAS_A_TURN = 2_000;

/** Returns the changes from the batch's current state to another one, in which the new event `stored` may be. */
export async function currentDeltas(
  batch: RoomBatch,
  { root, stored }: { root: number; stored: StoredEvent },
): Promise<StateDelta[]> {
  const { trees, keys } = batch.deps;
  const differences = await trees.diff(batch.root, root);
  if (differences.length === 0) return [];
  const names = await keys.keysOf(differences.map(({ stateKeyNid }) => stateKeyNid));
  const nids = differences.flatMap(({ before, after }) => [before, after]).filter((nid) => nid !== null);
  const events = await batch.byNids(nids.filter((nid) => nid !== stored.nid));
  events.set(stored.nid, stored);
  const deltas: StateDelta[] = [];
  for await (const part of inTurns(differences, DELTAS_A_TURN)) {
    for (const { stateKeyNid, before, after } of part) {
      const name = names.get(stateKeyNid);
      if (name === undefined) throw new Error(`State key ${stateKeyNid} is not in the database`);
      deltas.push({
        stateKeyNid,
        ...splitStateKey(name),
        before: before === null ? null : events.get(before) ?? null,
        after: after === null ? null : events.get(after) ?? null,
      });
    }
  }
  return deltas;
}
