/** Who is in a room with whom: what presence, device lists and profiles ask. */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** Bounds how many people one change is announced to at once. */
const MAX_SHARING_USERS = 100_000;

/** Returns the local users joined to a room that one of `userIds` is joined to, those users included. */
export async function selectLocalUsersSharingRoom(db: Db, userIds: readonly UserId[]): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT DISTINCT user_id FROM local_memberships
    WHERE membership = 'join' AND room_nid IN (
      SELECT room_nid FROM local_memberships WHERE ${inList(sql`user_id`, userIds)} AND membership = 'join')
    LIMIT ${MAX_SHARING_USERS}`);
  return rows.map((row) => row.user_id);
}

/** Returns which of `others` are joined to a room that `userId` is joined to; remote users count. */
export async function filterUsersSharingRoom(
  db: Db,
  { userId, others }: { userId: UserId; others: readonly UserId[] },
): Promise<Set<UserId>> {
  if (others.length === 0) return new Set();
  const rows = await db.all<{ state_key: UserId }>(sql`
    SELECT DISTINCT theirs.state_key FROM current_state theirs
    JOIN current_state mine ON mine.room_nid = theirs.room_nid
      AND mine.state_key = ${userId} AND mine.membership = 'join'
    WHERE theirs.membership = 'join' AND ${inList(sql`theirs.state_key`, others)}`);
  return new Set(rows.map((row) => row.state_key));
}
