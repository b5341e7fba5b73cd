/**
 * Keeps the user directory: follows changes of members, of join rules and of history visibility. Users of this server
 * are shown by their profile, others as their latest member event shows them.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { foldText, wordsOf } from "../lib/words.ts";
import { parseUserId, type RoomId, type UserId } from "../protocol/ids.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { MemberProfile } from "../services/profile.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deleteDirectoryUser,
  type DirectoryDelta,
  type DirectoryUser,
  selectDirectoryDeltas,
  selectDirectoryState,
  selectFindableAccounts,
  selectLostUsers,
  setRoomOpen,
  type StatePlace,
  upsertDirectoryUser,
} from "../storage/user_directory.ts";
import type { Measure } from "../storage/work_meters.ts";
import type { Notifier } from "../streams/notifier.ts";
import { EventFollower, type FollowedStep } from "./event_follower.ts";

/** What the indexer is built from. */
export interface UserDirectoryIndexerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly isLocal: (userId: UserId) => boolean;
  readonly memberProfile: (userId: UserId) => Promise<MemberProfile>;
  /** Measures the steps. */
  readonly background?: Measure;
}

/** How far the directory is made anew. */
export type DirectoryPlace =
  | { readonly kind: "rooms" } & StatePlace
  | { readonly kind: "accounts"; readonly userId: string }
  | { readonly kind: "lost" };

const STEP = 200;
const MAX_WORDS = 50;

/** Follows who is where. */
export class UserDirectoryIndexer implements AsyncDisposable {
  readonly #deps: UserDirectoryIndexerDeps;
  readonly #follower: EventFollower;
  #refreshes: Promise<void> = Promise.resolve();

  constructor(deps: UserDirectoryIndexerDeps) {
    this.#deps = deps;
    this.#follower = new EventFollower({ ...deps, consumer: "user_directory", step: (range) => this.#step(range) });
  }

  /** Everything up to here is looked at. */
  get position(): number {
    return this.#follower.position;
  }

  /** Goes on where a former run of the server stopped, and then follows what is written. */
  async start(): Promise<void> {
    await this.#follower.start();
  }

  /** Brings a local user's entry up to date, after registration or a change of the profile. */
  refresh(userId: UserId): void {
    const { db, log } = this.#deps;
    this.#refreshes = this.#refreshes.then(async () => {
      try {
        const user = await this.#localUser(userId);
        await db.transaction((tx) => upsert(tx, user));
      } catch (error) {
        log.error("A user could not be put into the directory", { userId, error });
      }
    });
  }

  /** Takes a user out, as when the account is deactivated. */
  async remove(tx: Tx, userId: UserId): Promise<void> {
    await deleteDirectoryUser(tx, userId);
  }

  /** Makes the next part of the directory anew, from the rooms, then the accounts, and last takes out who is in neither. */
  async regenerate(after: DirectoryPlace | null): Promise<{ next: DirectoryPlace | null; count: number }> {
    const place = after ?? { kind: "rooms", roomNid: 0, stateKeyNid: 0 };
    if (place.kind === "rooms") return await this.#regenerateRooms(place);
    const { db } = this.#deps;
    if (place.kind === "lost") {
      const lost = await selectLostUsers(db, STEP);
      for (const userId of lost) await db.transaction((tx) => deleteDirectoryUser(tx, userId));
      return { next: lost.length < STEP ? null : place, count: lost.length };
    }
    const found = await selectFindableAccounts(db, { after: place.userId, limit: STEP });
    const users = await Promise.all(found.map((userId) => this.#localUser(userId)));
    await db.transaction(async (tx) => {
      for (const user of users) await upsert(tx, user);
    });
    const last = found.length < STEP ? undefined : found.at(-1);
    return { next: last === undefined ? { kind: "lost" } : { kind: "accounts", userId: last }, count: found.length };
  }

  async #regenerateRooms(place: StatePlace): Promise<{ next: DirectoryPlace; count: number }> {
    const { db } = this.#deps;
    const rows = await selectDirectoryState(db, { after: place, limit: STEP });
    const users = await this.#users(rows);
    const rooms = await this.#rooms(rows);
    await db.transaction(async (tx) => {
      for (const user of users) await upsert(tx, user);
      for (const room of rooms) await setRoomOpen(tx, room);
    });
    const last = rows.length < STEP ? undefined : rows.at(-1);
    const next: DirectoryPlace = last === undefined
      ? { kind: "accounts", userId: "" }
      : { kind: "rooms", roomNid: last.roomNid, stateKeyNid: last.stateKeyNid };
    return { next, count: rows.length };
  }

  /** Resolves once all that is written now is in the directory, or after a second. */
  async catchUp(): Promise<void> {
    await Promise.all([this.#refreshes, this.#follower.catchUp()]);
  }

  /** Stops after the step under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#follower[Symbol.asyncDispose]();
    await this.#refreshes;
  }

  async #step({ after, upTo }: { after: number; upTo: number }): Promise<FollowedStep> {
    const rows = await selectDirectoryDeltas(this.#deps.db, { after, upTo, limit: STEP });
    // A position may have several changes: the last one is looked at again, in case not all of them came.
    const position = rows.length < STEP ? upTo : Math.max((rows.at(-1)?.position ?? upTo) - 1, after);
    if (rows.length === 0) return { position, save: null };
    const users = await this.#users(rows);
    const rooms = await this.#rooms(rows);
    return {
      position: position === after ? rows.at(-1)?.position ?? upTo : position,
      save: async (tx) => {
        for (const user of users) await upsert(tx, user);
        for (const room of rooms) await setRoomOpen(tx, room);
      },
    };
  }

  async #users(rows: readonly DirectoryDelta[]): Promise<DirectoryUser[]> {
    const { events, isLocal } = this.#deps;
    const members = rows.filter(({ type }) => type === "m.room.member");
    const stored = await events.byNid(members.flatMap(({ eventNid }) => eventNid ?? []));
    const users = new Map<UserId, DirectoryUser>();
    for (const { stateKey, eventNid } of members) {
      const content = eventNid === null ? undefined : stored.get(eventNid)?.event.content;
      const userId = parseUserId(stateKey);
      if (content?.membership !== "join" || userId === null) continue;
      const { displayname, avatar_url: avatarUrl } = content;
      users.set(
        userId,
        isLocal(userId) ? users.get(userId) ?? await this.#localUser(userId) : {
          userId,
          displayName: typeof displayname === "string" ? displayname : null,
          avatarUrl: typeof avatarUrl === "string" ? avatarUrl : null,
        },
      );
    }
    return [...users.values()];
  }

  async #rooms(rows: readonly DirectoryDelta[]): Promise<{ roomNid: number; isOpen: boolean }[]> {
    const rooms = new Map<number, RoomId>();
    for (const { type, roomNid, roomId } of rows) if (type !== "m.room.member") rooms.set(roomNid, roomId);
    const found: { roomNid: number; isOpen: boolean }[] = [];
    for (const [roomNid, roomId] of rooms) found.push({ roomNid, isOpen: await this.#isOpen(roomId) });
    return found;
  }

  async #isOpen(roomId: RoomId): Promise<boolean> {
    const { state } = this.#deps;
    const root = await state.currentRoot(roomId);
    if (root === null) return false;
    const joinRules = await state.get(root, "m.room.join_rules", "");
    if (joinRules?.event.content.join_rule === "public") return true;
    const visibility = await state.get(root, "m.room.history_visibility", "");
    return visibility?.event.content.history_visibility === "world_readable";
  }

  async #localUser(userId: UserId): Promise<DirectoryUser> {
    const { displayname, avatarUrl } = await this.#deps.memberProfile(userId);
    return { userId, displayName: displayname, avatarUrl };
  }
}

async function upsert(tx: Tx, user: DirectoryUser): Promise<void> {
  const id = user.userId.slice(1);
  const words = wordsOf(`${user.displayName ?? ""} ${id}`, { max: MAX_WORDS });
  const localpart = foldText(id.slice(0, id.indexOf(":")));
  await upsertDirectoryUser(tx, { ...user, words: [...new Set([...words, localpart])] });
}
