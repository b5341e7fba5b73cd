/** Rooms that the user shares with another. Spec: client-server API, `GET /mutual_rooms`. */
import { invalidParam } from "../protocol/errors.ts";
import { parseRoomId, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { countMutualRooms, selectMutualRooms } from "../storage/mutual_rooms.ts";

const PAGE = 100;

/** Finds mutual rooms. */
export class MutualRooms {
  readonly #db: Db;

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** Returns the response body; tokens are the last room of the page before. */
  async list(userId: UserId, { otherId, from }: { otherId: UserId; from: string | null }): Promise<JsonObject> {
    if (userId === otherId) throw invalidParam("You cannot request rooms in common with yourself");
    if (from !== null && parseRoomId(from) === null) throw invalidParam("Invalid pagination token");
    const rooms = await selectMutualRooms(this.#db, { userId, otherId, after: from ?? "", limit: PAGE + 1 });
    const joined = rooms.slice(0, PAGE);
    const last = joined.at(-1);
    const count = from === null && rooms.length <= PAGE
      ? rooms.length
      : await countMutualRooms(this.#db, { userId, otherId });
    return { joined, count, ...(rooms.length > PAGE && last !== undefined ? { next_batch: last } : {}) };
  }
}
