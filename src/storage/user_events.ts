/** What users have said, for administrators. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** Returns the rooms that a user is in or banned from. */
export async function selectRoomsWithUser(
  db: Db,
  { userId, limit }: { userId: UserId; limit: number },
): Promise<RoomId[]> {
  const rows = await db.all<{ room_id: RoomId }>(sql`
    SELECT r.room_id FROM (
      SELECT room_nid FROM current_state WHERE state_key = ${userId} AND membership = 'join'
      UNION
      SELECT room_nid FROM current_state WHERE state_key = ${userId} AND membership = 'ban'
    ) AS c JOIN rooms r ON r.room_nid = c.room_nid ORDER BY r.room_id LIMIT ${limit}`);
  return rows.map((row) => row.room_id);
}

/** Returns the latest events of some types that a user sent to a room within a time, by their numeric ids. */
export async function selectEventsOfUser(
  db: Db,
  { roomNid, userId, types, after, before, limit }: {
    roomNid: number;
    userId: UserId;
    types: readonly string[];
    /** Milliseconds, both exclusive. */
    after: number;
    before: number;
    limit: number;
  },
): Promise<number[]> {
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events
    WHERE room_nid = ${roomNid} AND position IS NOT NULL AND sender = ${userId} AND ${inList(sql`type`, types)}
      AND origin_server_ts > ${after} AND origin_server_ts < ${before} AND NOT is_rejected AND NOT is_soft_failed
    ORDER BY position DESC LIMIT ${limit}`);
  return rows.map((row) => row.event_nid);
}
