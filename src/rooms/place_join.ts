/** Entering a room through another server: the join with the state before it, as the other server lists it. */
import type { EventId, RoomId } from "../protocol/ids.ts";
import { forbidden, MatrixError } from "../protocol/errors.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";
import type { Tx } from "../storage/database.ts";
import { isBeingPurged } from "../storage/room_purges.ts";
import { insertUnjoinedRoom } from "../storage/rooms.ts";
import { rankAfter, type RoomBatch } from "./batch.ts";
import { currentDeltas } from "./deltas.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { checkRejection } from "./receive_checks.ts";
import type { ReceivedEvent } from "./receive.ts";
import { rootOfState } from "./supplied_state.ts";
import type { StoredEvent } from "./types.ts";

/** Makes sure that there is a row for a room, be this server in it or not. Throws when it has another version. */
export async function ensureRoom(
  deps: Pick<EngineDeps, "heads" | "roomIds" | "db" | "clock">,
  { roomId, rules }: { roomId: RoomId; rules: RoomVersionRules },
): Promise<void> {
  if (await isBeingPurged(deps.db, roomId)) {
    throw new MatrixError(503, "M_UNKNOWN", "What this server kept of the room is being deleted; try again later");
  }
  if (await deps.heads.load(roomId) === null) {
    const roomNid = await deps.roomIds.next();
    const room = { roomNid, roomId, roomVersion: rules.id, createdTs: deps.clock.now() };
    await deps.db.transaction((tx) => insertUnjoinedRoom(tx, room));
  }
  const copy = await deps.heads.load(roomId);
  if (copy === null || copy.identity.rules.id !== rules.id) {
    throw new Error(`The room ${roomId} is not of version ${rules.id}`);
  }
}

/**
 * Makes a join the only end of the room's graph, with the given state before it: ids of stored events. What was known of
 * the room from an earlier stay remains, behind a gap. Throws `M_FORBIDDEN` when that state does not allow the join.
 */
export async function placeJoin(
  deps: Pick<EngineDeps, "queues">,
  { roomId, join, stateIds, onPartial }: {
    roomId: RoomId;
    join: ReceivedEvent;
    stateIds: readonly EventId[];
    /** The state lacks members; called in the transaction with the join's numeric id. */
    onPartial?: (tx: Tx, at: { roomNid: number; joinNid: number }) => Promise<void>;
  },
): Promise<void> {
  await deps.queues.run(roomId, async (batch) => {
    const { event } = join;
    const known = (await batch.byId([event.eventId])).get(event.eventId);
    if (known !== undefined && !known.isOutlier) return;
    const before = await rootOfState(batch, stateIds);
    const auth = [...(await batch.byId(event.authEvents)).values()];
    const refusal = await checkRejection(batch, { event, auth, before });
    if (refusal !== null) throw forbidden(`The join does not follow from the state of the room: ${refusal}`);
    const stored = await makeStored(batch, { join, known, auth, before });
    const parents = await batch.byId(event.prevEvents);
    const prev = [...parents.values()].filter(({ isOutlier }) => !isOutlier);
    const placed = new Set(prev.map((parent) => parent.event.eventId));
    if (onPartial !== undefined) {
      batch.addWrite(async (tx, { roomNid }) => {
        await onPartial(tx, { roomNid, joinNid: stored.nid });
        tx.afterCommit(() => {
          if (batch.copy !== null) batch.copy.isPartial = true;
        });
      });
    }
    batch.stage(stored, auth);
    const root = stored.stateAfter ?? before;
    const deltas = await currentDeltas(batch, { root, stored });
    await batch.addResolved({
      ...{ stored, prev, auth, deltas, transaction: null, redacts: null },
      missingPrev: [...new Set(event.prevEvents)].filter((id) => !placed.has(id)),
      wasOutlier: known !== undefined,
      isSent: true,
    }, { root, extremities: [stored] });
  });
}

async function makeStored(
  batch: RoomBatch,
  { join: { event, json }, known, auth, before }: {
    join: ReceivedEvent;
    known: StoredEvent | undefined;
    auth: readonly StoredEvent[];
    before: number;
  },
): Promise<StoredEvent> {
  const nid = known?.nid ?? await batch.deps.eventIds.next();
  const stateKeyNid = await batch.intern(event.type, event.stateKey ?? "");
  return {
    ...{ nid, event, json, stateKeyNid, stateBefore: before },
    roomNid: batch.room.roomNid,
    position: null,
    receivedTs: batch.deps.clock.now(),
    isOutlier: false,
    isRejected: false,
    isSoftFailed: false,
    stateAfter: await batch.setState(before, [{ nid: stateKeyNid, isMember: true, eventNid: nid }]),
    authRank: rankAfter(auth),
    redactedByNid: null,
  };
}
