/** Writing what follows from events: the current state, its history, and the memberships of local users. */
import { inTurns } from "../lib/turn.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Tx } from "./database.ts";
import { sql } from "./sql.ts";
import { bigints, type RowWriter, texts } from "./together.ts";

/** How the current state changed at one key. */
export interface StateDeltaRow {
  readonly roomNid: number;
  readonly position: number;
  readonly stateKeyNid: number;
  readonly type: string;
  readonly stateKey: string;
  /** Null when the key is gone. */
  readonly eventNid: number | null;
  readonly prevEventNid: number | null;
  /** The new event's `membership`; of `m.room.member` only. */
  readonly membership: string | null;
}

/** A local user's membership in a room. */
export interface LocalMembershipRow {
  readonly userId: UserId;
  readonly roomNid: number;
  readonly membership: string;
  readonly eventNid: number;
  readonly sender: UserId;
  readonly position: number;
  /** A JSON array, or null where the room's own state serves. */
  readonly strippedState: string | null;
}

const REPLACE_CURRENT = sql`
  ON CONFLICT (room_nid, state_key_nid) DO UPDATE SET event_nid = excluded.event_nid, membership = excluded.membership`;
/** A room that is joined changes by tens of thousands: writing this many takes some milliseconds. */
const DELTAS_A_TURN = 500;

/** Records how the current state changed. One key occurs once for each position. */
export async function insertStateDeltas(tx: Tx, deltas: readonly StateDeltaRow[]): Promise<void> {
  await inParts(deltas, (part) => tx.writeTogether(DELTAS, part));
}

const DELTAS: RowWriter<StateDeltaRow> = {
  each: (delta) =>
    sql`
    INSERT INTO state_deltas (room_nid, position, state_key_nid, type, state_key, event_nid, prev_event_nid)
    VALUES (${delta.roomNid}, ${delta.position}, ${delta.stateKeyNid}, ${delta.type}, ${delta.stateKey},
      ${delta.eventNid}, ${delta.prevEventNid})`,
  many: (rows) =>
    sql`
    INSERT INTO state_deltas (room_nid, position, state_key_nid, type, state_key, event_nid, prev_event_nid)
    SELECT * FROM unnest(${bigints(rows.map(({ roomNid }) => roomNid))},
      ${bigints(rows.map(({ position }) => position))}, ${bigints(rows.map(({ stateKeyNid }) => stateKeyNid))},
      ${texts(rows.map(({ type }) => type))}, ${texts(rows.map(({ stateKey }) => stateKey))},
      ${bigints(rows.map(({ eventNid }) => eventNid))}, ${bigints(rows.map(({ prevEventNid }) => prevEventNid))})`,
};

/** Makes the current state what the deltas lead to. One key occurs once. */
export async function applyStateDeltas(tx: Tx, deltas: readonly StateDeltaRow[]): Promise<void> {
  await inParts(deltas, async (part) => {
    await Promise.all([
      tx.writeTogether(GONE_STATE, part.filter(({ eventNid }) => eventNid === null)),
      tx.writeTogether(CURRENT_STATE, part.filter(({ eventNid }) => eventNid !== null)),
    ]);
  });
}

const GONE_STATE: RowWriter<StateDeltaRow> = {
  each: ({ roomNid, stateKeyNid }) =>
    sql`DELETE FROM current_state WHERE room_nid = ${roomNid} AND state_key_nid = ${stateKeyNid}`,
  many: (rows) =>
    sql`
    DELETE FROM current_state
    USING unnest(${bigints(rows.map(({ roomNid }) => roomNid))},
      ${bigints(rows.map(({ stateKeyNid }) => stateKeyNid))}) AS gone (room, key)
    WHERE room_nid = gone.room AND state_key_nid = gone.key`,
};

const CURRENT_STATE: RowWriter<StateDeltaRow> = {
  each: (delta) =>
    sql`
    INSERT INTO current_state (room_nid, state_key_nid, type, state_key, event_nid, membership)
    VALUES (${delta.roomNid}, ${delta.stateKeyNid}, ${delta.type}, ${delta.stateKey}, ${delta.eventNid},
      ${delta.membership}) ${REPLACE_CURRENT}`,
  many: (rows) =>
    sql`
    INSERT INTO current_state (room_nid, state_key_nid, type, state_key, event_nid, membership)
    SELECT * FROM unnest(${bigints(rows.map(({ roomNid }) => roomNid))},
      ${bigints(rows.map(({ stateKeyNid }) => stateKeyNid))}, ${texts(rows.map(({ type }) => type))},
      ${texts(rows.map(({ stateKey }) => stateKey))}, ${bigints(rows.map(({ eventNid }) => eventNid))},
      ${texts(rows.map(({ membership }) => membership))}) ${REPLACE_CURRENT}`,
};

/** Few changes are written at once, so that they go along with what else is. */
async function inParts<T>(rows: readonly T[], write: (part: readonly T[]) => Promise<void>): Promise<void> {
  if (rows.length <= DELTAS_A_TURN) return await write(rows);
  for await (const part of inTurns(rows, DELTAS_A_TURN)) await write(part);
}

/** Sets the memberships of local users; a membership that is set again is no longer forgotten. Each occurs once. */
export async function upsertLocalMemberships(tx: Tx, rows: readonly LocalMembershipRow[]): Promise<void> {
  await tx.writeTogether(MEMBERSHIPS, rows);
}

const REPLACE_MEMBERSHIP = sql`
  ON CONFLICT (user_id, room_nid)
  DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid, sender = excluded.sender,
    position = excluded.position, forgotten = excluded.forgotten, stripped_state = excluded.stripped_state`;

const MEMBERSHIPS: RowWriter<LocalMembershipRow> = {
  each: (row) =>
    sql`
    INSERT INTO local_memberships (user_id, room_nid, membership, event_nid, sender, position, forgotten, stripped_state)
    VALUES (${row.userId}, ${row.roomNid}, ${row.membership}, ${row.eventNid}, ${row.sender}, ${row.position},
      ${false}, ${row.strippedState}) ${REPLACE_MEMBERSHIP}`,
  many: (rows) =>
    sql`
    INSERT INTO local_memberships (user_id, room_nid, membership, event_nid, sender, position, stripped_state, forgotten)
    SELECT *, ${false}::BOOLEAN
    FROM unnest(${texts(rows.map(({ userId }) => userId))}, ${bigints(rows.map(({ roomNid }) => roomNid))},
      ${texts(rows.map(({ membership }) => membership))}, ${bigints(rows.map(({ eventNid }) => eventNid))},
      ${texts(rows.map(({ sender }) => sender))}, ${bigints(rows.map(({ position }) => position))},
      ${texts(rows.map(({ strippedState }) => strippedState))}) ${REPLACE_MEMBERSHIP}`,
};

/** Removes memberships that the room's state no longer has. */
export async function deleteLocalMemberships(
  tx: Tx,
  { roomNid, userIds }: { roomNid: number; userIds: readonly UserId[] },
): Promise<void> {
  await tx.writeTogether(GONE_MEMBERSHIPS, userIds.map((userId) => ({ userId, roomNid })));
}

const GONE_MEMBERSHIPS: RowWriter<Pick<LocalMembershipRow, "userId" | "roomNid">> = {
  each: ({ userId, roomNid }) => sql`DELETE FROM local_memberships WHERE user_id = ${userId} AND room_nid = ${roomNid}`,
  many: (rows) =>
    sql`
    DELETE FROM local_memberships
    USING unnest(${texts(rows.map(({ userId }) => userId))},
      ${bigints(rows.map(({ roomNid }) => roomNid))}) AS gone (member, room)
    WHERE user_id = gone.member AND room_nid = gone.room`,
};
