/**
 * The rooms of `auto_join_rooms`, which every new user joins and the first one finds created.
 *
 * A room that is not public is created by the user of `auto_join_mxid_localpart`, who then invites everybody. What goes
 * wrong is logged and does not keep anybody from registering.
 */
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import {
  localpartOf,
  makeUserId,
  parseRoomAlias,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from "../protocol/ids.ts";
import type { CreateRoomOptions } from "../rooms/create_options.ts";
import type { Requester } from "../rooms/types.ts";

/** Options of the configuration, by Synapse's names. */
export interface AutoJoinOptions {
  readonly autoJoinRooms: readonly string[];
  readonly autocreateAutoJoinRooms: boolean;
  readonly autocreateAutoJoinRoomsFederated: boolean;
  readonly autocreateAutoJoinRoomPreset: "public_chat" | "private_chat" | "trusted_private_chat";
  readonly autoJoinMxidLocalpart: string | null;
  readonly autoJoinRoomsForGuests: boolean;
}

/** What the service does in rooms. */
export interface AutoJoinRooms {
  createRoom(requester: Requester, options: CreateRoomOptions): Promise<RoomId>;
  invite(requester: Requester, invited: { readonly roomId: RoomId; readonly userId: UserId }): Promise<unknown>;
  join(requester: Requester, own: { readonly roomId: RoomId }): Promise<unknown>;
}

/** What the service is built from. */
export interface AutoJoinDeps {
  readonly serverName: ServerName;
  readonly options: AutoJoinOptions;
  readonly rooms: AutoJoinRooms;
  /** Returns the room of an alias; throws `M_NOT_FOUND`. */
  readonly resolve: (alias: RoomAlias) => Promise<{ readonly roomId: RoomId }>;
  readonly log: Logger;
}

/** Brings new users into the rooms that everybody is in. */
export class AutoJoin {
  readonly #deps: AutoJoinDeps;
  /** Rooms are created one after another, so that two first users do not create two. */
  #creating: Promise<unknown> = Promise.resolve();

  constructor(deps: AutoJoinDeps) {
    this.#deps = deps;
  }

  /** Joins a new user to the rooms. */
  async joinAll({ userId, isGuest }: { userId: UserId; isGuest: boolean }): Promise<void> {
    const { options, log } = this.#deps;
    if (isGuest && !options.autoJoinRoomsForGuests) return;
    for (const name of options.autoJoinRooms) {
      try {
        const alias = parseRoomAlias(name);
        if (alias === null) throw new Error("Not a room alias");
        await this.#join(userId, { alias, isGuest });
      } catch (error) {
        log.warn("A new user could not join a room of auto_join_rooms", {
          user: userId,
          alias: name,
          error: describeError(error),
        });
      }
    }
  }

  async #join(userId: UserId, { alias, isGuest }: { alias: RoomAlias; isGuest: boolean }): Promise<void> {
    const { options, rooms } = this.#deps;
    const mayCreate = options.autocreateAutoJoinRooms && !isGuest && serverNameOf(alias) === this.#deps.serverName;
    const roomId = await this.#find(alias) ?? (mayCreate ? await this.#create(userId, alias) : null);
    if (roomId === null) return;
    const owner = this.#owner();
    if (owner !== null && owner !== userId && options.autocreateAutoJoinRoomPreset !== "public_chat") {
      await rooms.invite(actAs(owner), { roomId, userId });
    }
    await rooms.join(actAs(userId), { roomId });
  }

  async #find(alias: RoomAlias): Promise<RoomId | null> {
    try {
      return (await this.#deps.resolve(alias)).roomId;
    } catch (error) {
      if (error instanceof MatrixError && error.errcode === "M_NOT_FOUND") return null;
      throw error;
    }
  }

  async #create(userId: UserId, alias: RoomAlias): Promise<RoomId> {
    const creation = this.#creating.then(async () => await this.#find(alias) ?? await this.#createNow(userId, alias));
    this.#creating = creation.catch(() => {});
    return await creation;
  }

  async #createNow(userId: UserId, alias: RoomAlias): Promise<RoomId> {
    const { options, rooms } = this.#deps;
    return await rooms.createRoom(actAs(this.#owner() ?? userId), {
      preset: options.autocreateAutoJoinRoomPreset,
      roomAliasName: localpartOf(alias),
      creationContent: { "m.federate": options.autocreateAutoJoinRoomsFederated },
    });
  }

  #owner(): UserId | null {
    const { autoJoinMxidLocalpart } = this.#deps.options;
    return autoJoinMxidLocalpart === null ? null : makeUserId(autoJoinMxidLocalpart, this.#deps.serverName);
  }
}

function actAs(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: false, isShadowBanned: false, appserviceId: null };
}
