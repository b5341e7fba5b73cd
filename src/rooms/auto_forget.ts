/** `forget_rooms_on_leave`: who leaves a room, is put out or turns an invitation down has forgotten it at once. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Clock } from "../lib/clock.ts";
import type { Tx } from "../storage/database.ts";
import { updateForgotten } from "../storage/local_memberships.ts";
import { insertRoomPurge } from "../storage/room_purges.ts";
import { membershipIn } from "./member_content.ts";
import type { PersistHandler } from "./pending.ts";

/** What forgetting takes. */
export interface ForgetDeps {
  readonly clock: Clock;
  readonly options: { readonly forgottenRetentionMs?: number | null };
  /** Told after the commit. */
  readonly onForgotten?: (userId: UserId) => void;
}

/** Marks a room as forgotten by a user who is not in it, and plans the room's end when nobody else here remembers it. */
export async function markForgotten(
  { clock, options: { forgottenRetentionMs = null }, onForgotten }: ForgetDeps,
  { tx, userId, roomNid, roomId }: { tx: Tx; userId: UserId; roomNid: number; roomId: RoomId },
): Promise<void> {
  await updateForgotten(tx, { userId, roomNid });
  if (forgottenRetentionMs !== null) {
    await insertRoomPurge(tx, { roomNid, roomId, dueTs: clock.now() + forgottenRetentionMs });
  }
  tx.afterCommit(() => onForgotten?.(userId));
}

/** Returns the engine's handler that forgets rooms for the local users whom a batch takes out of them. */
export function autoForget(deps: ForgetDeps): PersistHandler {
  return async (tx, { room: { roomNid, roomId }, events }) => {
    const isOut = new Map<UserId, boolean>();
    for (const { stateKey, after } of events.flatMap(({ deltas }) => deltas.localMembers)) {
      isOut.set(stateKey as UserId, after !== null && hasLeft(membershipIn(after)));
    }
    for (const [userId, out] of isOut) if (out) await markForgotten(deps, { tx, userId, roomNid, roomId });
  };
}

/** Tells whether a membership is one of somebody who is not in the room and not asked to be. */
export function hasLeft(membership: string | null): boolean {
  return membership === "leave" || membership === "ban";
}
