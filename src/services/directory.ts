/**
 * Room aliases. Spec: client-server API, "Room aliases".
 */
import type { Clock } from "../lib/clock.ts";
import { forbidden, invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import { type RoomAlias, type RoomId, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database, Tx } from "../storage/database.ts";
import { deleteAlias, insertAlias, moveAliases, selectAlias, selectAliasesOfRoom } from "../storage/directory.ts";
import { selectRoomServers } from "../storage/federation_outbox.ts";
import { selectRoomById, updateRoomIsPublic } from "../storage/rooms.ts";

/** The rooms as far as the directory needs them. */
export interface DirectoryRooms {
  isJoined(userId: UserId, roomId: RoomId): Promise<boolean>;
  /** Tells whether the user may read the room without being in it. */
  isWorldReadable(roomId: RoomId): Promise<boolean>;
  /** Tells whether the user's power suffices to send a state event of this type. */
  maySendState(userId: UserId, roomId: RoomId, type: string): Promise<boolean>;
  /** Returns the content of the room's canonical alias event, or null. */
  canonicalAlias(roomId: RoomId): Promise<JsonObject | null>;
  setCanonicalAlias(requester: Requester, roomId: RoomId, content: JsonObject): Promise<void>;
}

/** An alias or room that a rule of the configuration is asked about. */
export interface DirectoryRuleQuery {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly aliases: readonly string[];
}

/** What the service is built from. */
export interface DirectoryDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly rooms: DirectoryRooms;
  readonly settings: {
    readonly requireMembershipForAliases: boolean;
    readonly mayCreateAlias: (query: DirectoryRuleQuery) => boolean;
    readonly mayPublishRoom: (query: DirectoryRuleQuery) => boolean;
  };
  readonly services: DirectoryServices;
  /** Asks the server of an alias; null when it does not know the alias, or cannot be asked. */
  readonly resolveRemote?: (alias: RoomAlias) => Promise<{ roomId: RoomId; servers: readonly ServerName[] } | null>;
}

/** What application services have to do with aliases. */
export interface DirectoryServices {
  /** Throws `M_EXCLUSIVE` when the requester may not make or remove an alias. */
  assertMayUseAlias(requester: Requester, alias: RoomAlias): void;
  /** Asks the service in whose namespace an unknown alias is to make it; returns whether one has. */
  make(alias: RoomAlias): Promise<boolean>;
  /** Called when the aliases of a room have changed. */
  noteChange(roomId: RoomId): void;
}

const CANONICAL_ALIAS = "m.room.canonical_alias";
const MAX_SERVERS = 50;

/** Keeps the aliases of this server and what is listed in its public room list. */
export class DirectoryService {
  readonly #deps: DirectoryDeps;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /** Makes an alias. Throws 409 when it is taken, 403 when the user may not. */
  async create(requester: Requester, { alias, roomId }: { alias: RoomAlias; roomId: RoomId }): Promise<void> {
    const { rooms, settings, db } = this.#deps;
    this.#assertLocal(alias);
    this.#deps.services.assertMayUseAlias(requester, alias);
    const { userId } = requester;
    if (!settings.mayCreateAlias({ userId, roomId, aliases: [alias] })) {
      throw forbidden("Not allowed to create this alias");
    }
    if (await selectRoomById(db, roomId) === null) throw notFound("Unknown room");
    const needsMembership = settings.requireMembershipForAliases && !requester.isAdmin;
    if (needsMembership && !await rooms.isJoined(userId, roomId)) {
      throw forbidden("You must be in the room to create an alias for it");
    }
    await db.transaction((tx) => this.reserve(tx, { alias, roomId, creator: userId }));
    this.#deps.services.noteChange(roomId);
  }

  /** Takes an alias within a transaction. Throws 409 when it is taken. */
  async reserve(
    tx: Tx,
    { alias, roomId, creator }: { alias: RoomAlias; roomId: RoomId; creator: UserId },
  ): Promise<void> {
    const inserted = await insertAlias(tx, { alias, roomId, creator, createdTs: this.#deps.clock.now() });
    if (!inserted) throw new MatrixError(409, "M_UNKNOWN", `Room alias ${alias} already exists`);
  }

  /** Deletes an alias, and takes it out of the room's canonical alias event where the user may change that. */
  async delete(requester: Requester, alias: RoomAlias): Promise<void> {
    const { db, rooms } = this.#deps;
    this.#assertLocal(alias);
    this.#deps.services.assertMayUseAlias(requester, alias);
    const found = await selectAlias(db, alias);
    if (!found) throw notFound(`Room alias ${alias} does not exist`);
    const mayChangeRoom = await rooms.maySendState(requester.userId, found.roomId, CANONICAL_ALIAS);
    const isService = requester.appserviceId !== null;
    if (found.creator !== requester.userId && !mayChangeRoom && !requester.isAdmin && !isService) {
      throw forbidden("You do not have permission to delete the alias");
    }
    await db.transaction((tx) => deleteAlias(tx, alias));
    this.#deps.services.noteChange(found.roomId);
    if (mayChangeRoom) await this.#removeFromCanonicalAlias(requester, found);
  }

  /** Returns the room of a local alias and servers to join through, ours first; or null. */
  async resolveLocal(alias: RoomAlias): Promise<{ roomId: RoomId; servers: readonly ServerName[] } | null> {
    const { db, services } = this.#deps;
    let found = await selectAlias(db, alias);
    if (found === null && await services.make(alias)) found = await selectAlias(db, alias);
    if (found === null) return null;
    const room = await selectRoomById(db, found.roomId);
    const others = room === null ? [] : await selectRoomServers(db, room.roomNid);
    return { roomId: found.roomId, servers: [this.#deps.serverName, ...others.slice(0, MAX_SERVERS)] };
  }

  /** Returns the room of an alias and servers to join through. Throws 404 when it leads nowhere. */
  async resolve(alias: RoomAlias): Promise<{ roomId: RoomId; servers: readonly ServerName[] }> {
    const found = serverNameOf(alias) === this.#deps.serverName
      ? await this.resolveLocal(alias)
      : await this.#deps.resolveRemote?.(alias);
    if (!found) throw notFound(`Room alias ${alias} not found`);
    return found;
  }

  /** Returns the local aliases of a room. Throws 403 unless the user is in it or it is world-readable. */
  async aliasesOf(requester: Requester, roomId: RoomId): Promise<RoomAlias[]> {
    const { db, rooms } = this.#deps;
    if (!await rooms.isJoined(requester.userId, roomId) && !await rooms.isWorldReadable(roomId)) {
      throw forbidden("You are not allowed to see the aliases of this room");
    }
    return await selectAliasesOfRoom(db, roomId);
  }

  /** Points the aliases of an upgraded room to its successor. */
  async move(tx: Tx, rooms: { from: RoomId; to: RoomId }): Promise<void> {
    await moveAliases(tx, rooms);
  }

  /** Tells whether a room is in the public list. Throws 404 for an unknown room. */
  async isListed(roomId: RoomId): Promise<boolean> {
    const room = await selectRoomById(this.#deps.db, roomId);
    if (!room) throw notFound("Room not found");
    return room.isPublic;
  }

  /** Puts a room into the public list or takes it out. Throws 403 without the power for it. */
  async setListed(requester: Requester, { roomId, isListed }: { roomId: RoomId; isListed: boolean }): Promise<void> {
    const { db, rooms, settings } = this.#deps;
    const room = await selectRoomById(db, roomId);
    if (!room) throw notFound("Room not found");
    const { userId } = requester;
    if (!requester.isAdmin && !await rooms.maySendState(userId, roomId, CANONICAL_ALIAS)) {
      throw forbidden("You do not have the power to change whether this room is listed");
    }
    const aliases = await selectAliasesOfRoom(db, roomId);
    if (isListed && !settings.mayPublishRoom({ userId, roomId, aliases })) {
      throw forbidden("Not allowed to publish this room");
    }
    await db.transaction((tx) => updateRoomIsPublic(tx, { roomNid: room.roomNid, isPublic: isListed }));
  }

  #assertLocal(alias: RoomAlias): void {
    if (serverNameOf(alias) !== this.#deps.serverName) throw invalidParam("Room alias must be on this server");
  }

  async #removeFromCanonicalAlias(
    requester: Requester,
    { alias, roomId }: { alias: RoomAlias; roomId: RoomId },
  ): Promise<void> {
    const content = await this.#deps.rooms.canonicalAlias(roomId);
    if (!content) return;
    const others = Array.isArray(content.alt_aliases) ? content.alt_aliases : [];
    const kept = others.filter((other) => other !== alias);
    if (content.alias !== alias && kept.length === others.length) return;
    const { alias: main, alt_aliases: _others, ...rest } = content;
    const changed: JsonObject = { ...rest };
    if (main !== undefined && main !== alias) changed.alias = main;
    if (kept.length > 0) changed.alt_aliases = kept;
    await this.#deps.rooms.setCanonicalAlias(requester, roomId, changed);
  }
}
