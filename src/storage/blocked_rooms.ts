/** Rooms that administrators have blocked. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns who blocked a room, or null. */
export async function selectRoomBlocker(db: Db, roomId: RoomId): Promise<UserId | null> {
  const row = await db.get<{ blocked_by: UserId }>(sql`
    SELECT blocked_by FROM blocked_rooms WHERE room_id = ${roomId}`);
  return row?.blocked_by ?? null;
}

/** Blocks a room; whoever did so first stays on record. */
export async function insertBlockedRoom(tx: Tx, { roomId, by }: { roomId: RoomId; by: UserId }): Promise<void> {
  await tx.run(sql`
    INSERT INTO blocked_rooms (room_id, blocked_by) VALUES (${roomId}, ${by}) ON CONFLICT (room_id) DO NOTHING`);
}

/** Takes a block back. */
export async function deleteBlockedRoom(tx: Tx, roomId: RoomId): Promise<void> {
  await tx.run(sql`DELETE FROM blocked_rooms WHERE room_id = ${roomId}`);
}
