/**
 * Memberships of local users in rooms that this server is not in: invitations, knocks, and how they end. Their events are
 * kept as outliers; what the user sees of the room is what came with them.
 */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { selectLocalMembership } from "../storage/local_memberships.ts";
import { upsertLocalMemberships } from "../storage/state_writes.ts";
import { advanceStream } from "../storage/streams.ts";
import { hasLeft, markForgotten } from "./auto_forget.ts";
import { membershipIn } from "./member_content.ts";
import type { RoomBatch } from "./batch.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { addOutlier } from "./outliers.ts";
import type { ReceivedEvent } from "./receive.ts";
import type { StoredEvent } from "./types.ts";

/** Records a membership event of a local user and wakes them. False when this server is in the room and learns of it as of any event. */
export async function recordOutOfBand(
  deps: EngineDeps,
  { roomId, received, strippedState }: {
    roomId: RoomId;
    received: ReceivedEvent;
    /** Null keeps what came with the membership before. */
    strippedState: readonly JsonObject[] | null;
  },
): Promise<boolean> {
  return await deps.queues.run(roomId, async (batch) => {
    if (isInRoom(batch)) return false;
    const stored = await addOutlier(batch, received, { mayLackAuth: true });
    if (stored === null) throw new Error("The event could not be kept");
    await setMembership(deps, { batch, stored, strippedState });
    return true;
  });
}

/** Makes a leave event of a local user that no other server hears of: nobody who is in the room can be reached. */
export async function leaveOutOfBand(
  deps: EngineDeps,
  { roomId, userId, content }: { roomId: RoomId; userId: UserId; content: JsonObject },
): Promise<StoredEvent | null> {
  const own = await selectLocalMembership(deps.db, { userId, roomId });
  const before = own === null ? null : await deps.events.getByNid(own.eventNid);
  if (before === null) return null;
  return await deps.queues.run(roomId, async (batch) => {
    if (isInRoom(batch)) return null;
    const built = batch.buildBehind({ type: "m.room.member", stateKey: userId, sender: userId, content }, before);
    const stored = await addOutlier(batch, built, { mayLackAuth: true });
    if (stored !== null) await setMembership(deps, { batch, stored, strippedState: null });
    return stored;
  });
}

function isInRoom({ copy }: RoomBatch): boolean {
  return copy !== null && copy.localJoined.size > 0;
}

async function setMembership(
  deps: EngineDeps,
  { batch, stored, strippedState }: {
    batch: RoomBatch;
    stored: StoredEvent;
    strippedState: readonly JsonObject[] | null;
  },
): Promise<void> {
  const userId = stored.event.stateKey as UserId;
  const membership = membershipIn(stored) ?? "leave";
  const { roomNid, roomId } = batch.room;
  const before = strippedState === null ? await selectLocalMembership(deps.db, { userId, roomId }) : null;
  batch.addWrite(async (tx) => {
    const position = await advanceStream(tx, "events", 1);
    await upsertLocalMemberships(tx, [{
      ...{ userId, roomNid, membership, position },
      eventNid: stored.nid,
      sender: stored.event.sender,
      strippedState: strippedState === null ? before?.strippedState ?? "[]" : JSON.stringify(strippedState),
    }]);
    if (deps.options.forgetsOnLeave === true && hasLeft(membership)) {
      await markForgotten(deps, { tx, userId, roomNid, roomId });
    }
    tx.afterCommit(() => {
      deps.onForgotten?.(userId);
      deps.notifier.publish("events", position, [userId]);
      deps.onOutOfBand?.(stored);
    });
  });
}
