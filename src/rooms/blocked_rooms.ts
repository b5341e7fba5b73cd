/** Rooms that an administrator has blocked: nobody here comes into them. */
import { forbidden } from "../protocol/errors.ts";
import type { RoomId } from "../protocol/ids.ts";
import { selectRoomBlocker } from "../storage/blocked_rooms.ts";
import type { Db } from "../storage/database.ts";

/** Throws 403 for a room that is blocked. Synapse's error has no code of the specification, this one does. */
export async function assertNotBlocked(db: Db, roomId: RoomId): Promise<void> {
  if (await selectRoomBlocker(db, roomId) !== null) throw forbidden("This room has been blocked on this server");
}
