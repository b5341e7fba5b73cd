/** Rooms that two users are both in. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns rooms that both users are joined to, by id, after `after`. */
export async function selectMutualRooms(
  db: Db,
  { userId, otherId, after, limit }: { userId: UserId; otherId: UserId; after: string; limit: number },
): Promise<RoomId[]> {
  const rows = await db.all<{ room_id: RoomId }>(sql`
    SELECT r.room_id FROM current_state mine
    JOIN current_state theirs ON theirs.room_nid = mine.room_nid
    JOIN rooms r ON r.room_nid = mine.room_nid
    WHERE mine.state_key = ${userId} AND mine.membership = 'join'
      AND theirs.state_key = ${otherId} AND theirs.membership = 'join' AND r.room_id > ${after}
    ORDER BY r.room_id
    LIMIT ${limit}`);
  return rows.map((row) => row.room_id);
}

/** Returns in how many rooms both users are joined. */
export async function countMutualRooms(
  db: Db,
  { userId, otherId }: { userId: UserId; otherId: UserId },
): Promise<number> {
  const row = await db.get<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM current_state mine
    JOIN current_state theirs ON theirs.room_nid = mine.room_nid
    WHERE mine.state_key = ${userId} AND mine.membership = 'join'
      AND theirs.state_key = ${otherId} AND theirs.membership = 'join'`);
  return Number(row?.n ?? 0);
}
