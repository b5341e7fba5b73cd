/** Blocking rooms for administrators. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import { deleteBlockedRoom, insertBlockedRoom, selectRoomBlocker } from "../storage/blocked_rooms.ts";
import type { Database } from "../storage/database.ts";

/** Blocks rooms, which need not be known. */
export class BlockedRooms {
  readonly #db: Database;

  constructor({ db }: { db: Database }) {
    this.#db = db;
  }

  /** Returns who blocked a room, or null. */
  async blocker(roomId: RoomId): Promise<UserId | null> {
    return await selectRoomBlocker(this.#db, roomId);
  }

  /** Blocks a room, or takes that back. */
  async set({ roomId, by, isBlocked }: { roomId: RoomId; by: UserId; isBlocked: boolean }): Promise<void> {
    await this.#db.transaction((tx) =>
      isBlocked ? insertBlockedRoom(tx, { roomId, by }) : deleteBlockedRoom(tx, roomId)
    );
  }
}
