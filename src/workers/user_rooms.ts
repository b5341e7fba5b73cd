/**
 * Work that follows a user through all their rooms: a new name or avatar goes into their member events, and a
 * deactivated user leaves. Both are rows in the database until done, so a restart goes on where it stopped.
 *
 * A room that refuses is skipped, since no later attempt would do better. Anything else that fails is tried again later.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { MemberProfile } from "../services/profile.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteDeparture,
  deleteProfileUpdate,
  selectDepartures,
  selectProfileUpdate,
  selectProfileUpdateUsers,
  selectRoomsOf,
  updateProfileUpdate,
} from "../storage/profiles.ts";

/** What the work does in one room. */
export interface UserRoomActions {
  /** Puts the profile into the user's member event, if it differs. */
  updateMember(roomId: RoomId, member: MemberProfile & { userId: UserId }): Promise<void>;
  /** Leaves, or rejects an invitation, or withdraws a knock. */
  leave(roomId: RoomId, member: { userId: UserId; reason: string }): Promise<void>;
}

/** What the worker is built from. */
export interface UserRoomsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly rooms: UserRoomActions;
  memberProfile(userId: UserId): Promise<MemberProfile>;
}

/** Rooms handled side by side, for one user. */
const ROOMS_AT_ONCE = 10;
/** Users handled side by side. */
const USERS_AT_ONCE = 4;
const RETRY_DELAY_MS = 10_000;

/** Follows users through their rooms. */
export class UserRooms implements AsyncDisposable {
  readonly #deps: UserRoomsDeps;
  readonly #stopping = new AbortController();
  readonly #waiting = new Set<UserId>();
  readonly #running = new Map<UserId, Promise<void>>();
  #departures: Promise<void> | null = null;
  #departuresAgain = false;

  constructor(deps: UserRoomsDeps) {
    this.#deps = deps;
  }

  /** Goes on with what a former run of the server left. */
  async start(): Promise<void> {
    for (const userId of await selectProfileUpdateUsers(this.#deps.db)) this.#waiting.add(userId);
    this.#startNext();
    this.wakeDepartures();
  }

  /** Brings a user's changed profile into their rooms. */
  wakeProfile(userId: UserId): void {
    this.#waiting.add(userId);
    this.#startNext();
  }

  /** Takes deactivated users out of their rooms. */
  wakeDepartures(): void {
    this.#departuresAgain = true;
    this.#departures ??= this.#runDepartures().finally(() => {
      this.#departures = null;
    });
  }

  /** Resolves once nothing is under way. */
  async settle(): Promise<void> {
    while (this.#running.size > 0 || this.#departures !== null) {
      await Promise.all([...this.#running.values(), this.#departures]);
    }
  }

  /** Stops after the rooms under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.settle();
  }

  #startNext(): void {
    for (const userId of this.#waiting) {
      if (this.#running.size >= USERS_AT_ONCE || this.#stopping.signal.aborted) return;
      if (this.#running.has(userId)) continue;
      this.#waiting.delete(userId);
      const work = this.#retrying(() => this.#updateProfile(userId), { userId }).finally(() => {
        this.#running.delete(userId);
        this.#startNext();
      });
      this.#running.set(userId, work);
    }
  }

  async #retrying(work: () => Promise<void>, fields: Record<string, unknown>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        return await work();
      } catch (error) {
        this.#deps.log.warn("Work in a user's rooms failed, trying again later", { ...fields, error: String(error) });
        await this.#deps.clock.sleep(RETRY_DELAY_MS, this.#stopping.signal);
      }
    }
  }

  async #updateProfile(userId: UserId): Promise<void> {
    const { db } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      const update = await selectProfileUpdate(db, userId);
      if (update === null) return;
      const profile = await this.#deps.memberProfile(userId);
      const page = { userId, after: update.doneRoomId, joinedOnly: true, limit: ROOMS_AT_ONCE };
      const roomIds = await selectRoomsOf(db, page);
      await this.#inEach(roomIds, (roomId) => this.#deps.rooms.updateMember(roomId, { userId, ...profile }));
      const last = roomIds.at(-1);
      await db.transaction(async (tx) => {
        if (last === undefined || roomIds.length < ROOMS_AT_ONCE) await deleteProfileUpdate(tx, update);
        else await updateProfileUpdate(tx, { ...update, doneRoomId: last });
      });
    }
  }

  async #runDepartures(): Promise<void> {
    while (this.#departuresAgain && !this.#stopping.signal.aborted) {
      this.#departuresAgain = false;
      await this.#retrying(async () => {
        for (const departure of await selectDepartures(this.#deps.db)) {
          if (this.#stopping.signal.aborted) return;
          await this.#leaveAll(departure.userId, departure.reason);
        }
      }, {});
    }
  }

  async #leaveAll(userId: UserId, reason: string): Promise<void> {
    let after = "";
    while (!this.#stopping.signal.aborted) {
      const page = { userId, after, joinedOnly: false, limit: ROOMS_AT_ONCE };
      const roomIds = await selectRoomsOf(this.#deps.db, page);
      await this.#inEach(roomIds, (roomId) => this.#deps.rooms.leave(roomId, { userId, reason }));
      const last = roomIds.at(-1);
      if (last !== undefined && roomIds.length === ROOMS_AT_ONCE) {
        after = last;
        continue;
      }
      await this.#deps.db.transaction((tx) => deleteDeparture(tx, userId));
      return;
    }
  }

  async #inEach(roomIds: readonly RoomId[], act: (roomId: RoomId) => Promise<void>): Promise<void> {
    await Promise.all(roomIds.map(async (roomId) => {
      try {
        await act(roomId);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        this.#deps.log.warn("A room refused a change of membership", { room: roomId, error: error.message });
      }
    }));
  }
}
