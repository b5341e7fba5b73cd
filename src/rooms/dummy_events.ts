/**
 * Keeping the ends of a room's graph few: each one costs whoever resolves the room's state. Where too many have gathered, a
 * local member sends an event that says nothing and has them all as parents. Clients never see it.
 */
import { MatrixError } from "../protocol/errors.ts";
import type { RoomId } from "../protocol/ids.ts";
import type { RoomBatch } from "./batch.ts";
import type { EngineDeps } from "./engine_deps.ts";

/** The type of those events. */
export const DUMMY_EVENT_TYPE = "org.matrix.dummy_event";

/** How many members are tried before it is left for another time. */
const MAX_SENDERS = 20;

/** Sends dummy events while the room has more ends than the threshold: each takes as many as it may have parents. */
export async function mergeExtremities(deps: EngineDeps, roomId: RoomId): Promise<void> {
  const { dummyEventsThreshold: threshold } = deps.options;
  const copy = await deps.heads.load(roomId);
  if (copy === null || copy.extremities.length <= threshold) return;
  await deps.queues.run(roomId, (batch) => appendDummies(batch, threshold)).catch((error) => {
    // The policy server of the room may not sign one; then the room keeps its ends.
    if (!(error instanceof MatrixError)) throw error;
  });
}

/** As `mergeExtremities`, down to one end where somebody here may send; returns by how many there are fewer. */
export async function mergeAllExtremities(deps: EngineDeps, roomId: RoomId): Promise<number> {
  return await deps.queues.run(roomId, async (batch) => {
    const before = batch.extremities.length;
    await appendDummies(batch, 1);
    return before - batch.extremities.length;
  });
}

async function appendDummies(batch: RoomBatch, threshold: number): Promise<void> {
  for (let before = Infinity; batch.extremities.length > threshold && batch.extremities.length < before;) {
    before = batch.extremities.length;
    await appendDummy(batch);
  }
}

async function appendDummy(batch: RoomBatch): Promise<void> {
  let tried = 0;
  for (const sender of batch.copy?.localJoined ?? []) {
    if (++tried > MAX_SENDERS) return;
    const start = batch.checkpoint();
    try {
      await batch.append({ type: DUMMY_EVENT_TYPE, stateKey: null, sender, content: {} });
      return;
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      batch.rollback(start);
    }
  }
}
