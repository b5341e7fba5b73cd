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

/** Sends a dummy event if the room has more ends than the threshold. */
export async function mergeExtremities(deps: EngineDeps, roomId: RoomId): Promise<void> {
  const copy = await deps.heads.load(roomId);
  if (copy === null || copy.extremities.length <= deps.options.dummyEventsThreshold) return;
  await deps.queues.run(roomId, async (batch) => {
    if (batch.extremities.length > deps.options.dummyEventsThreshold) await appendDummy(batch);
  });
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
