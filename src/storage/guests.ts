/** Rooms that guests have to leave. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Notes that guests have to leave a room. */
export async function insertGuestEviction(tx: Tx, roomId: RoomId): Promise<void> {
  await tx.run(sql`INSERT INTO guest_evictions (room_id) VALUES (${roomId}) ON CONFLICT (room_id) DO NOTHING`);
}

/** Returns rooms that guests have to leave, at most 1,000. */
export async function selectGuestEvictions(db: Db): Promise<RoomId[]> {
  const rows = await db.all<{ room_id: RoomId }>(sql`SELECT room_id FROM guest_evictions ORDER BY room_id LIMIT 1000`);
  return rows.map((row) => row.room_id);
}

/** Notes that all guests have left a room. */
export async function deleteGuestEviction(tx: Tx, roomId: RoomId): Promise<void> {
  await tx.run(sql`DELETE FROM guest_evictions WHERE room_id = ${roomId}`);
}

/** Returns guests of this server who are in a room or invited to it, after `after` by user id, at most `limit`. */
export async function selectGuestsInRoom(
  db: Db,
  { roomId, after, limit }: { roomId: RoomId; after: string; limit: number },
): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT m.user_id
    FROM rooms r
    JOIN local_memberships m ON m.room_nid = r.room_nid
    JOIN users u ON u.user_id = m.user_id
    WHERE r.room_id = ${roomId} AND m.membership IN ('join', 'invite') AND u.is_guest AND m.user_id > ${after}
    ORDER BY m.user_id
    LIMIT ${limit}`);
  return rows.map((row) => row.user_id);
}
