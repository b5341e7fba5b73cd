/** Asking other servers about their users, aliases and rooms. Spec: server-server API, "Querying for information" and on. */
import type { RoomAlias, ServerName, UserId } from "../protocol/ids.ts";
import { parseRoomId, parseServerName, type RoomId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { FederationClient } from "./client.ts";
import { badAnswer } from "./remote_error.ts";

const MAX_DEVICES_BYTES = 8 * 1024 * 1024;
const MAX_SERVERS = 100;

/** Typed requests about users. All throw `RemoteError`. */
export class RemoteUsers {
  readonly #client: FederationClient;

  constructor(client: FederationClient) {
    this.#client = client;
  }

  /** Returns a profile, or one field of it as `{ field: value }`. */
  async profile(server: ServerName, { userId, field }: { userId: UserId; field: string | null }): Promise<JsonObject> {
    const query = new URLSearchParams({ user_id: userId, ...(field === null ? {} : { field }) });
    return await this.#get(server, `/_matrix/federation/v1/query/profile?${query}`);
  }

  /** Returns the room of an alias and servers to join it by. */
  async directory(server: ServerName, alias: RoomAlias): Promise<{ roomId: RoomId; servers: ServerName[] }> {
    const query = new URLSearchParams({ room_alias: alias });
    const answer = await this.#get(server, `/_matrix/federation/v1/query/directory?${query}`);
    const roomId = typeof answer["room_id"] === "string" ? parseRoomId(answer["room_id"]) : null;
    if (roomId === null) throw badAnswer(server, "The answer has no room id");
    const names = Array.isArray(answer["servers"]) ? answer["servers"].slice(0, MAX_SERVERS) : [];
    const servers = names.map((name) => typeof name === "string" ? parseServerName(name) : null);
    return { roomId, servers: servers.filter((name) => name !== null) };
  }

  /** Returns a user's devices as the server lists them. */
  async devices(server: ServerName, userId: UserId): Promise<JsonObject> {
    const path = `/_matrix/federation/v1/user/devices/${encodeURIComponent(userId)}`;
    return await this.#client.request({ server, method: "GET", path, maxBytes: MAX_DEVICES_BYTES });
  }

  /** Returns keys of users of one server, in the form of `POST /keys/query`. */
  async keys(
    server: ServerName,
    { wanted, timeoutMs }: { wanted: ReadonlyMap<UserId, readonly string[]>; timeoutMs: number },
  ): Promise<JsonObject> {
    const devices: JsonObject = {};
    for (const [userId, ids] of wanted) devices[userId] = [...ids];
    return await this.#client.request({
      ...{ server, method: "POST", path: "/_matrix/federation/v1/user/keys/query" },
      ...{ body: { device_keys: devices }, maxBytes: MAX_DEVICES_BYTES, timeoutMs },
    });
  }

  /** Claims one-time keys; returns them by user and device. */
  async claim(
    server: ServerName,
    { oneTimeKeys, timeoutMs }: { oneTimeKeys: JsonObject; timeoutMs: number },
  ): Promise<JsonObject> {
    const answer = await this.#client.request({
      ...{ server, method: "POST", path: "/_matrix/federation/v1/user/keys/claim" },
      ...{ body: { one_time_keys: oneTimeKeys }, maxBytes: MAX_DEVICES_BYTES, timeoutMs },
    });
    return isJsonObject(answer["one_time_keys"]) ? answer["one_time_keys"] : {};
  }

  /** Returns a page of the server's public rooms; `body` is that of the client API. */
  async publicRooms(server: ServerName, body: JsonObject): Promise<JsonObject> {
    return await this.#client.request({ server, method: "POST", path: "/_matrix/federation/v1/publicRooms", body });
  }

  /** Returns a room of a space with its children. */
  async hierarchy(
    server: ServerName,
    { roomId, suggestedOnly }: { roomId: RoomId; suggestedOnly: boolean },
  ): Promise<JsonObject> {
    const path = `/_matrix/federation/v1/hierarchy/${encodeURIComponent(roomId)}?suggested_only=${suggestedOnly}`;
    return await this.#get(server, path);
  }

  async #get(server: ServerName, path: string): Promise<JsonObject> {
    return await this.#client.request({ server, method: "GET", path, retries: "short" });
  }
}
