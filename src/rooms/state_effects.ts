/** What follows from the events of a batch for the state of their room. */
import { inTurns } from "../lib/turn.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Tx } from "../storage/database.ts";
import {
  applyStateDeltas,
  deleteLocalMemberships,
  insertStateDeltas,
  type LocalMembershipRow,
  type StateDeltaRow,
  upsertLocalMemberships,
} from "../storage/state_writes.ts";
import { membershipIn } from "./member_content.ts";
import { DELTAS_A_TURN, type StateDelta, type StateDeltas } from "./state_deltas.ts";
import type { StoredEvent } from "./types.ts";

/** What events do to the state of their room and to the memberships of users here. */
export interface Effects {
  readonly deltas: readonly StateDeltaRow[];
  /** The last change of each key. */
  readonly current: readonly StateDeltaRow[];
  readonly memberships: readonly LocalMembershipRow[];
  /** Local users whom the state no longer has a membership for. */
  readonly gone: readonly UserId[];
  readonly counts: { readonly joinedDelta: number; readonly invitedDelta: number };
}

/** The changes of one event, with its position. */
interface Placed {
  readonly position: number;
  readonly deltas: StateDeltas;
}

/** Sums up what changes of the current state do. */
export async function stateEffects(
  { roomNid, changes }: { roomNid: number; changes: readonly Placed[] },
): Promise<Effects> {
  const deltas: StateDeltaRow[] = [];
  const current = new Map<number, StateDeltaRow>();
  const memberships = new Map<string, LocalMembershipRow | null>();
  const counts = { joinedDelta: 0, invitedDelta: 0 };
  for (const { position, deltas: { all, areMany, localMembers } } of changes) {
    const addAll = (part: readonly StateDelta[]) => {
      for (const delta of part) {
        const row = rowOf(delta, { roomNid, position });
        deltas.push(row);
        current.set(row.stateKeyNid, row);
        if (row.type !== "m.room.member") continue;
        const was = membershipIn(delta.before);
        counts.joinedDelta += Number(row.membership === "join") - Number(was === "join");
        counts.invitedDelta += Number(row.membership === "invite") - Number(was === "invite");
      }
    };
    if (areMany) { for await (const part of inTurns(all, DELTAS_A_TURN)) addAll(part); }
    else addAll(all);
    for (const delta of localMembers) {
      memberships.set(delta.stateKey, localMembership(rowOf(delta, { roomNid, position }), delta.after));
    }
  }
  return {
    deltas,
    current: [...current.values()],
    memberships: [...memberships.values()].filter((row) => row !== null),
    gone: [...memberships].filter(([, row]) => row === null).map(([userId]) => userId as UserId),
    counts,
  };
}

function rowOf(
  { stateKeyNid, type, stateKey, before, after }: StateDelta,
  place: { roomNid: number; position: number },
): StateDeltaRow {
  const membership = type === "m.room.member" ? membershipIn(after) : null;
  return {
    ...place,
    stateKeyNid,
    type,
    stateKey,
    eventNid: after?.nid ?? null,
    prevEventNid: before?.nid ?? null,
    membership,
  };
}

function localMembership(row: StateDeltaRow, after: StoredEvent | null): LocalMembershipRow | null {
  if (after === null || row.membership === null) return null;
  return {
    userId: row.stateKey as UserId,
    roomNid: row.roomNid,
    membership: row.membership,
    eventNid: after.nid,
    sender: after.event.sender,
    position: row.position,
    strippedState: null,
  };
}

/** Writes the current state and its history. */
export function writeState(tx: Tx, { roomNid, effects }: { roomNid: number; effects: Effects }): Promise<void>[] {
  if (effects.deltas.length === 0) return [];
  const writes = [insertStateDeltas(tx, effects.deltas), applyStateDeltas(tx, effects.current)];
  if (effects.memberships.length > 0) writes.push(upsertLocalMemberships(tx, effects.memberships));
  if (effects.gone.length > 0) writes.push(deleteLocalMemberships(tx, { roomNid, userIds: effects.gone }));
  return writes;
}

/** Returns the local users who are joined after the effects. */
export function joinedAfter(before: ReadonlySet<UserId>, { memberships, gone }: Effects): ReadonlySet<UserId> {
  if (memberships.length === 0 && gone.length === 0) return before;
  const after = new Set(before);
  for (const { userId, membership } of memberships) {
    if (membership === "join") after.add(userId);
    else after.delete(userId);
  }
  for (const userId of gone) after.delete(userId);
  return after;
}
