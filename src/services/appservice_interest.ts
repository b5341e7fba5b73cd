/**
 * Which rooms application services are told of: those in their namespaces by id or alias, and those that a user of
 * theirs is in. Spec: application service API, "Registration".
 */
import { LruCache } from "../lib/lru.ts";
import type { RoomAlias, RoomId, UserId } from "../protocol/ids.ts";
import type { Membership, StoredEvent } from "../rooms/types.ts";
import { selectJoinedRoomsOf } from "../storage/appservices.ts";
import type { Db } from "../storage/database.ts";
import { selectAliasesOfRoom } from "../storage/directory.ts";
import type { Appservice, Appservices } from "./appservices.ts";

/** What the answers are made from. */
export interface AppserviceInterestDeps {
  readonly db: Db;
  readonly appservices: Appservices;
  readonly localJoinedUsers: (roomId: RoomId) => Promise<ReadonlySet<UserId>>;
  /** Returns a user's membership in a state. */
  readonly membershipAt: (root: number, userId: UserId) => Promise<Membership>;
}

const CACHED_ROOMS = 10_000;
const MAX_ROOMS_OF_USERS = 10_000;
const MAX_USERS_LOOKED_AT = 1_000;

/** Why a service is told of a room. */
interface RoomInterest {
  /** Because of the room's id or aliases. */
  readonly byName: boolean;
  /** Its users who are in the room. */
  readonly users: readonly UserId[];
}

/** Tells what services are interested in. What was found of a room is kept until `noteEvent` or `forget` says otherwise. */
export class AppserviceInterest {
  readonly #deps: AppserviceInterestDeps;
  readonly #rooms = new LruCache<RoomId, Promise<ReadonlyMap<string, RoomInterest>>>({
    name: "appservice_interest",
    maxEntries: CACHED_ROOMS,
  });

  constructor(deps: AppserviceInterestDeps) {
    this.#deps = deps;
  }

  /** Forgets what was found of all rooms: the services are others now. */
  forgetAll(): void {
    this.#rooms.clear();
  }

  /** Tells whether a service gets an event. */
  async inEvent(service: Appservice, { event, stateBefore }: StoredEvent): Promise<boolean> {
    const { appservices, membershipAt } = this.#deps;
    if (appservices.ownsUser(service, event.sender)) return true;
    if (event.type === "m.room.member" && appservices.ownsUser(service, event.stateKey as UserId)) return true;
    const interest = (await this.#of(event.roomId)).get(service.id);
    if (interest === undefined || interest.byName || stateBefore === null) return interest !== undefined;
    // Users who came later do not make what was said before theirs.
    for (const userId of interest.users.slice(0, MAX_USERS_LOOKED_AT)) {
      if (await membershipAt(stateBefore, userId) === "join") return true;
    }
    return false;
  }

  /** Tells whether a service gets what happens in a room. */
  async inRoom(service: Appservice, roomId: RoomId): Promise<boolean> {
    return (await this.#of(roomId)).has(service.id);
  }

  /** Returns the users of a service who are in a room. */
  async usersIn(service: Appservice, roomId: RoomId): Promise<readonly UserId[]> {
    return (await this.#of(roomId)).get(service.id)?.users ?? [];
  }

  /** Returns those users of whom a service is told things that happen outside of rooms: its own and whom they meet. */
  async amongUsers(service: Appservice, userIds: readonly UserId[]): Promise<Set<UserId>> {
    const { db, appservices } = this.#deps;
    const found = new Set(userIds.filter((userId) => appservices.ownsUser(service, userId)));
    const others = userIds.filter((userId) => !found.has(userId));
    for (const { userId, roomId } of await selectJoinedRoomsOf(db, { userIds: others, limit: MAX_ROOMS_OF_USERS })) {
      if (!found.has(userId) && await this.inRoom(service, roomId)) found.add(userId);
    }
    return found;
  }

  /** Drops what an event may have changed. */
  noteEvent({ event }: StoredEvent): void {
    if (event.type !== "m.room.member" || event.stateKey === null) return;
    const { appservices } = this.#deps;
    const userId = event.stateKey as UserId;
    if (appservices.all.some((service) => appservices.ownsUser(service, userId))) this.forget(event.roomId);
  }

  /** Drops what is kept of a room, as when its aliases change. */
  forget(roomId: RoomId): void {
    this.#rooms.delete(roomId);
  }

  #of(roomId: RoomId): Promise<ReadonlyMap<string, RoomInterest>> {
    const cached = this.#rooms.get(roomId);
    if (cached !== undefined) return cached;
    const found = this.#find(roomId);
    this.#rooms.set(roomId, found);
    found.catch(() => this.#rooms.delete(roomId));
    return found;
  }

  async #find(roomId: RoomId): Promise<ReadonlyMap<string, RoomInterest>> {
    const { db, appservices, localJoinedUsers } = this.#deps;
    const users = [...await localJoinedUsers(roomId)];
    const aliases: readonly RoomAlias[] = await selectAliasesOfRoom(db, roomId);
    const found = new Map<string, RoomInterest>();
    for (const service of appservices.all) {
      const owned = users.filter((userId) => appservices.ownsUser(service, userId));
      const byName = appservices.wantsRoom(service, roomId) ||
        aliases.some((alias) => appservices.wantsAlias(service, alias));
      if (byName || owned.length > 0) found.set(service.id, { byName, users: owned });
    }
    return found;
  }
}
