/** How the current state changes when more than one branch of a room's graph counts. */
import { inTurns } from "../lib/turn.ts";
import { splitStateKey } from "../protocol/event.ts";
import type { RoomBatch } from "./batch.ts";
import { DELTAS_A_TURN, type StateDelta, StateDeltas } from "./state_deltas.ts";
import type { StoredEvent } from "./types.ts";

/** Returns the changes from the batch's current state to another one, in which the new event `stored` may be. */
export async function currentDeltas(
  batch: RoomBatch,
  { root, stored }: { root: number; stored: StoredEvent },
): Promise<StateDeltas> {
  const { trees, keys } = batch.deps;
  const differences = await trees.diff(batch.root, root);
  if (differences.length === 0) return StateDeltas.NONE;
  const deltas: StateDelta[] = [];
  for await (const part of inTurns(differences, DELTAS_A_TURN)) {
    const names = await keys.keysOf(part.map(({ stateKeyNid }) => stateKeyNid));
    const nids = part.flatMap(({ before, after }) => [before, after]).filter((nid) => nid !== null);
    const events = await batch.byNids(nids.filter((nid) => nid !== stored.nid));
    events.set(stored.nid, stored);
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
  return await StateDeltas.ofMany(deltas, batch.deps.signer.serverName);
}
