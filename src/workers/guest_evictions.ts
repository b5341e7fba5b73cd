/**
 * Puts guests out of rooms that no longer let guests in. Spec: client-server API, "Guest Access".
 *
 * The room is noted in the transaction that writes the change, so that a restart goes on where it stopped. Guests leave
 * by themselves, which needs nobody's power.
 */
import { describeError } from "../lib/describe_error.ts";
import { ChoreRunner } from "../lib/chore_runner.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteGuestEviction,
  insertGuestEviction,
  selectGuestEvictions,
  selectGuestsInRoom,
} from "../storage/guests.ts";

/** What the worker is built from. */
export interface GuestEvictionsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Lets a guest leave a room. */
  readonly leave: (userId: UserId, roomId: RoomId) => Promise<unknown>;
  /** Tells whether guests may be in a room now. */
  readonly allowsGuests: (roomId: RoomId) => Promise<boolean>;
}

const GUESTS_AT_ONCE = 10;
const RETRY_DELAY_MS = 10_000;

/** Puts guests out. */
export class GuestEvictions implements AsyncDisposable {
  readonly #deps: GuestEvictionsDeps;
  readonly #runner: ChoreRunner;

  constructor(deps: GuestEvictionsDeps) {
    this.#deps = deps;
    const { db, clock, log } = deps;
    this.#runner = new ChoreRunner({
      clock,
      work: async (signal) => {
        for (const roomId of await selectGuestEvictions(db)) await this.#evict(roomId, signal);
      },
      onFailure: (error) => log.error("Guests could not be put out of a room, trying again later", { error }),
      retryDelayMs: RETRY_DELAY_MS,
    });
  }

  /** Notes rooms whose guests have to leave: runs in the transaction that writes events. */
  readonly onPersist: PersistHandler = async (tx, { room, events }) => {
    const closes = events.some(({ deltas }) =>
      deltas.ofType("m.room.guest_access").some(({ stateKey, before, after }) =>
        stateKey === "" && before?.event.content["guest_access"] === "can_join" &&
        after?.event.content["guest_access"] !== "can_join"
      )
    );
    if (!closes) return;
    await insertGuestEviction(tx, room.roomId);
    tx.afterCommit(() => this.wake());
  };

  /** Goes on with what is noted. */
  wake(): void {
    this.#runner.wake();
  }

  /** Stops after the guests under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runner[Symbol.asyncDispose]();
  }

  async #evict(roomId: RoomId, signal: AbortSignal): Promise<void> {
    const { db, allowsGuests } = this.#deps;
    let after = "";
    while (!signal.aborted) {
      const guests = await allowsGuests(roomId)
        ? []
        : await selectGuestsInRoom(db, { roomId, after, limit: GUESTS_AT_ONCE });
      const last = guests.at(-1);
      if (last === undefined) return await db.transaction((tx) => deleteGuestEviction(tx, roomId));
      await Promise.all(guests.map((userId) => this.#leave(userId, roomId)));
      after = last;
    }
  }

  async #leave(userId: UserId, roomId: RoomId): Promise<void> {
    try {
      await this.#deps.leave(userId, roomId);
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      this.#deps.log.warn("A guest could not leave a room", {
        user: userId,
        room: roomId,
        error: describeError(error),
      });
    }
  }
}
