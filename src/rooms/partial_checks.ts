/**
 * Authorizing events in a room whose state lacks members (MSC3902): what the state does not have is taken from what the
 * events themselves name as authorizing them. All of it is judged again once the state is whole.
 */
import { stateKeyOf } from "../protocol/event.ts";
import type { RoomEvent } from "../protocol/event.ts";
import type { TreeChange } from "../storage/state_tree.ts";
import type { RoomBatch } from "./batch.ts";
import { checkAuthEvents, checkRejection, checkState } from "./receive_checks.ts";
import { resolveRoots } from "./resolve.ts";
import type { StoredEvent } from "./types.ts";

/** What an event is judged by. */
export interface Judged {
  readonly event: RoomEvent;
  readonly auth: readonly StoredEvent[];
  readonly before: number;
}

/** Returns why the event is rejected, or null: by its auth events, then by the state before it as far as that is known. */
export async function judge(batch: RoomBatch, judged: Judged): Promise<string | null> {
  if (batch.copy?.isPartial !== true) return await checkRejection(batch, judged);
  const { event, auth } = judged;
  return await checkAuthEvents(batch, { event, auth }) ??
    await checkState(batch, { event, root: await rootWithAuth(batch, judged) });
}

/** The state before the event resolved with its auth events. */
async function rootWithAuth(batch: RoomBatch, { auth, before }: Judged): Promise<number> {
  const changes: TreeChange[] = [];
  let isConflict = false;
  for (const { nid, stateKeyNid, isRejected, event } of auth) {
    if (stateKeyNid === null || isRejected || event.stateKey === null) continue;
    const known = await batch.stateAt(before, stateKeyOf(event.type, event.stateKey));
    if (known?.nid === nid) continue;
    if (known !== null) isConflict = true;
    changes.push({ nid: stateKeyNid, isMember: event.type === "m.room.member", eventNid: nid });
  }
  if (changes.length === 0) return before;
  const root = await batch.setState(before, changes);
  return isConflict ? await resolveRoots(batch.deps, { batch, roots: [before, root] }) : root;
}
