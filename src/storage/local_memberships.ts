/** The memberships of local users, in rooms of this server and in rooms they are only invited to. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { type Sql, sql } from "./sql.ts";

/** A local user's membership. */
export interface LocalMembership {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly membership: string;
  readonly eventNid: number;
  readonly sender: UserId;
  readonly position: number;
  readonly forgotten: boolean;
  /** A JSON array of stripped state events, or null where the room's own state serves. */
  readonly strippedState: string | null;
}

/** A row with the columns of `LOCAL_MEMBERSHIP_COLUMNS`. */
export interface LocalMembershipColumns {
  room_nid: number;
  room_id: RoomId;
  membership: string;
  event_nid: number;
  sender: UserId;
  position: number;
  forgotten: boolean;
  stripped_state: string | null;
}

/** The columns, of `local_memberships m` joined with `rooms r`. */
export const LOCAL_MEMBERSHIP_COLUMNS: Sql =
  sql`m.room_nid, r.room_id, m.membership, m.event_nid, m.sender, m.position, m.forgotten, m.stripped_state`;

/** Returns a user's membership in a room, or null when there never was one. */
export async function selectLocalMembership(
  db: Db,
  { userId, roomId }: { userId: UserId; roomId: RoomId },
): Promise<LocalMembership | null> {
  const row = await db.get<LocalMembershipColumns>(sql`
    SELECT ${LOCAL_MEMBERSHIP_COLUMNS} FROM rooms r JOIN local_memberships m ON m.room_nid = r.room_nid
    WHERE r.room_id = ${roomId} AND m.user_id = ${userId}`);
  return row === null ? null : toLocalMembership(row);
}

/** Marks a room as forgotten by a user who is not in it. */
export async function updateForgotten(
  tx: Tx,
  { userId, roomNid }: { userId: UserId; roomNid: number },
): Promise<void> {
  await tx.run(
    sql`UPDATE local_memberships SET forgotten = ${true} WHERE user_id = ${userId} AND room_nid = ${roomNid}`,
  );
}

/** Turns a row into a membership. */
export function toLocalMembership(row: LocalMembershipColumns): LocalMembership {
  return {
    roomNid: row.room_nid,
    roomId: row.room_id,
    membership: row.membership,
    eventNid: row.event_nid,
    sender: row.sender,
    position: row.position,
    forgotten: row.forgotten,
    strippedState: row.stripped_state,
  };
}

/** Returns the local users who are in a room, invited to it or knocking on it, with what they are. */
export async function selectPresentUsers(
  db: Db,
  { roomNid, limit }: { roomNid: number; limit: number },
): Promise<{ userId: UserId; membership: string }[]> {
  const rows = await db.all<{ user_id: UserId; membership: string }>(sql`
    SELECT user_id, membership FROM local_memberships
    WHERE room_nid = ${roomNid} AND membership IN ('join', 'invite', 'knock') ORDER BY user_id LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.user_id, membership: row.membership }));
}
