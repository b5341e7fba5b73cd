/** Replaced rooms whose members' rules and tags are on their way to the new room. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** What is to be carried over: of one user, or of all local members of the old room. */
export interface RoomSuccession {
  readonly oldRoomId: RoomId;
  readonly newRoomId: RoomId;
  /** Null for all. */
  readonly userId: UserId | null;
}

/** Adds a succession; one that is there already stays. */
export async function insertSuccession(tx: Tx, { oldRoomId, newRoomId, userId }: RoomSuccession): Promise<void> {
  await tx.run(sql`
    INSERT INTO room_successions (old_room_id, new_room_id, user_id)
    VALUES (${oldRoomId}, ${newRoomId}, ${userId ?? ""})
    ON CONFLICT (old_room_id, new_room_id, user_id) DO NOTHING`);
}

/** Returns some successions. */
export async function selectSuccessions(db: Db, limit: number): Promise<RoomSuccession[]> {
  const rows = await db.all<{ old_room_id: RoomId; new_room_id: RoomId; user_id: UserId | "" }>(sql`
    SELECT old_room_id, new_room_id, user_id FROM room_successions LIMIT ${limit}`);
  return rows.map((row) => ({
    oldRoomId: row.old_room_id,
    newRoomId: row.new_room_id,
    userId: row.user_id === "" ? null : row.user_id,
  }));
}

/** Removes a succession that is done. */
export async function deleteSuccession(tx: Tx, { oldRoomId, newRoomId, userId }: RoomSuccession): Promise<void> {
  await tx.run(sql`
    DELETE FROM room_successions
    WHERE old_room_id = ${oldRoomId} AND new_room_id = ${newRoomId} AND user_id = ${userId ?? ""}`);
}
