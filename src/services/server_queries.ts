/**
 * What other servers ask about our users and rooms. Spec: server-server API, "Querying for information", "Device
 * Management", "End-to-End Encryption" and "Public Room Directory".
 */
import { Tally } from "../lib/tally.ts";
import { forbidden, invalidParam, notFound } from "../protocol/errors.ts";
import type { DeviceId, RoomAlias, ServerName, UserId } from "../protocol/ids.ts";
import { serverNameOf } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { selectDeviceListPosition } from "../storage/federation_devices.ts";
import { selectUser } from "../storage/users.ts";
import type { DeviceKeysService } from "./device_keys.ts";
import type { DirectoryService } from "./directory.ts";
import type { Profiles } from "./profile.ts";
import type { PublicRoomsQuery, PublicRoomsService } from "./public_rooms.ts";

/** The options of the configuration that say what is shown. */
export interface ServerQueryOptions {
  readonly allowProfileLookup: boolean;
  readonly allowDeviceNameLookup: boolean;
  readonly allowPublicRooms: boolean;
}

/** What the service is built from. */
export interface ServerQueriesDeps {
  readonly db: Db;
  readonly serverName: ServerName;
  readonly profiles: Profiles;
  readonly directory: DirectoryService;
  readonly deviceKeys: DeviceKeysService;
  readonly publicRooms: PublicRoomsService;
  readonly options: ServerQueryOptions;
}

/** Nobody: sees no key that is only for its owner. */
const NOBODY = "@:" as UserId;

/** Answers servers. */
export class ServerQueries {
  /** What other servers asked. */
  readonly received = new Tally("type");
  readonly #deps: ServerQueriesDeps;

  constructor(deps: ServerQueriesDeps) {
    this.#deps = deps;
  }

  /** Returns the profile of a local user, or one field of it where `field` is given (empty where it is not set). */
  async profile(userId: UserId, field: string | null): Promise<JsonObject> {
    if (!this.#deps.options.allowProfileLookup) throw forbidden("Profile lookup over federation is disabled");
    this.#assertLocal(userId);
    const profile = await this.#deps.profiles.getForServer(userId);
    if (field === null) return profile;
    const value = Object.hasOwn(profile, field) ? profile[field] : undefined;
    return value === undefined ? {} : { [field]: value };
  }

  /** Returns the room of a local alias, and servers to join it by: ours first. */
  async directory(alias: RoomAlias): Promise<JsonObject> {
    const { directory, serverName } = this.#deps;
    if (serverNameOf(alias) !== serverName) throw invalidParam("The room alias is not hosted on this server");
    const found = await directory.resolveLocal(alias);
    if (found === null) throw notFound(`Room alias ${alias} not found`);
    return { room_id: found.roomId, servers: [...found.servers] };
  }

  /** Returns a page of the public list. Throws 403 where it is not shown to servers. */
  async publicRooms(query: PublicRoomsQuery): Promise<JsonObject> {
    if (!this.#deps.options.allowPublicRooms) throw forbidden("The public room list is not shown to other servers");
    return await this.#deps.publicRooms.list(query);
  }

  /** Returns the devices of a local user that have keys, with the place in the stream of changes that the list is of. */
  async devices(userId: UserId): Promise<JsonObject> {
    const { db, deviceKeys } = this.#deps;
    this.#assertLocal(userId);
    if (await selectUser(db, userId) === null) throw notFound("User not found");
    // Read first: a change that comes in between is then announced after what the list already has.
    const streamId = await selectDeviceListPosition(db, userId);
    const found = await deviceKeys.query(NOBODY, new Map([[userId, []]]));
    const devices = Object.entries(objectAt(found["device_keys"], userId)).map(([deviceId, key]) =>
      this.#renderDevice(deviceId, isJsonObject(key) ? key : {})
    );
    return {
      user_id: userId,
      stream_id: streamId,
      devices,
      ...optional("master_key", objectAt(found["master_keys"], userId)),
      ...optional("self_signing_key", objectAt(found["self_signing_keys"], userId)),
    };
  }

  /** Returns keys of devices of local users; an empty list of devices asks for all. Other users are left out. */
  async keys(wanted: ReadonlyMap<UserId, readonly string[]>): Promise<JsonObject> {
    const found = await this.#deps.deviceKeys.query(NOBODY, wanted);
    const all = isJsonObject(found["device_keys"]) ? found["device_keys"] : {};
    const deviceKeys = Object.fromEntries(
      Object.entries(all).map(([userId, devices]) => [userId, this.#withoutNames(devices)]),
    );
    return {
      device_keys: deviceKeys,
      master_keys: found["master_keys"] ?? {},
      self_signing_keys: found["self_signing_keys"] ?? {},
    };
  }

  /** Hands out one-time keys of local users. */
  async claim(wanted: readonly { userId: UserId; deviceId: DeviceId; algorithm: string }[]): Promise<JsonObject> {
    return { one_time_keys: await this.#deps.deviceKeys.claim(wanted) };
  }

  #renderDevice(deviceId: string, { unsigned, ...keys }: JsonObject): JsonObject {
    const name = isJsonObject(unsigned) ? unsigned["device_display_name"] : undefined;
    const isShown = this.#deps.options.allowDeviceNameLookup && typeof name === "string";
    return { device_id: deviceId, keys, ...(isShown ? { device_display_name: name } : {}) };
  }

  #withoutNames(devices: JsonValue): JsonValue {
    if (this.#deps.options.allowDeviceNameLookup || !isJsonObject(devices)) return devices;
    return Object.fromEntries(
      Object.entries(devices).map(([deviceId, key]) => {
        if (!isJsonObject(key)) return [deviceId, key];
        const { unsigned: _, ...rest } = key;
        return [deviceId, rest];
      }),
    );
  }

  #assertLocal(userId: UserId): void {
    if (serverNameOf(userId) !== this.#deps.serverName) throw invalidParam("The user is not hosted on this server");
  }
}

function objectAt(value: JsonValue | undefined, key: string): JsonObject {
  const found = isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return isJsonObject(found) ? found : {};
}

function optional(name: string, value: JsonObject): JsonObject {
  return Object.keys(value).length === 0 ? {} : { [name]: value };
}
