/** Who is in a room with whom: what presence, device lists and profiles ask. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, type Sql, sql, textTable } from "./sql.ts";

/** Bounds how many people one change is announced to at once. */
const MAX_SHARING_USERS = 100_000;

/** Tells that a room is none of `except`; nothing where there are none. */
export function notInRooms(column: Sql, except: readonly RoomId[]): Sql {
  if (except.length === 0) return sql``;
  return sql` AND ${column} NOT IN (SELECT room_nid FROM rooms WHERE ${inList(sql`room_id`, except)})`;
}

/** Returns the local users joined to a room that one of `userIds` is joined to, those users included. */
export async function selectLocalUsersSharingRoom(
  db: Db,
  { userIds, except = [] }: {
    userIds: readonly UserId[];
    /** Rooms that do not count. */
    except?: readonly RoomId[];
  },
): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT DISTINCT user_id FROM local_memberships
    WHERE membership = 'join' AND room_nid IN (
      SELECT room_nid FROM local_memberships WHERE ${inList(sql`user_id`, userIds)} AND membership = 'join'${
    notInRooms(sql`room_nid`, except)
  })
    LIMIT ${MAX_SHARING_USERS}`);
  return rows.map((row) => row.user_id);
}

/** Returns which of `others` are joined to a room that `userId` is joined to; remote users count. */
export async function filterUsersSharingRoom(
  db: Db,
  { userId, others, except = [] }: {
    userId: UserId;
    others: readonly UserId[];
    /** Rooms that do not count. */
    except?: readonly RoomId[];
  },
): Promise<Set<UserId>> {
  if (others.length === 0) return new Set();
  const rows = await db.all<{ state_key: UserId }>(sql`
    SELECT wanted.value AS state_key FROM ${textTable(others)} AS wanted
    WHERE EXISTS (
      SELECT 1 FROM current_state theirs
      JOIN current_state mine ON mine.room_nid = theirs.room_nid
        AND mine.state_key = ${userId} AND mine.membership = 'join'
      WHERE theirs.state_key = wanted.value AND theirs.membership = 'join'${
    notInRooms(sql`theirs.room_nid`, except)
  })`);
  return new Set(rows.map((row) => row.state_key));
}
