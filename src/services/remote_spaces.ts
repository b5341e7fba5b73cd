/** Rooms of spaces that only other servers know. Spec: server-server API, `GET /hierarchy/{roomId}`. */
import { RemoteError } from "../federation/remote_error.ts";
import type { RemoteUsers } from "../federation/remote_users.ts";
import { parseRoomId, parseServerName, type RoomId, type ServerName, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";

/** What the lookup is built from. */
export interface RemoteSpacesDeps {
  readonly serverName: ServerName;
  readonly remote: () => RemoteUsers;
  readonly isJoined: (userId: UserId, roomId: RoomId) => Promise<boolean>;
}

/** A room as another server describes it. */
export interface RemoteSpaceRoom {
  readonly room: JsonObject;
  /** Of spaces: `m.space.child` events in stripped form. */
  readonly children: readonly JsonObject[];
}

/** What one walk has learned: a server tells of the children along with a space. */
export type RemoteSpaceCache = Map<RoomId, JsonObject>;

const MAX_SERVERS = 3;
const MAX_CHILDREN = 1_000;
const OPEN_RULES: ReadonlySet<JsonValue | undefined> = new Set(["public", "knock", "knock_restricted"]);

/** Asks other servers about rooms. */
export class RemoteSpaces {
  readonly #deps: RemoteSpacesDeps;

  constructor(deps: RemoteSpacesDeps) {
    this.#deps = deps;
  }

  /** Returns a room that the user may know of, or null. */
  async find(
    userId: UserId,
    { roomId, via, suggestedOnly, cache }: {
      roomId: RoomId;
      via: readonly ServerName[];
      suggestedOnly: boolean;
      cache: RemoteSpaceCache;
    },
  ): Promise<RemoteSpaceRoom | null> {
    const known = cache.get(roomId);
    // Only a space is asked for again: its own children were not told.
    const room = known !== undefined && known["room_type"] !== "m.space"
      ? known
      : await this.#ask({ roomId, via, suggestedOnly, cache }) ?? known;
    if (room === undefined || !await this.#isOpenTo(userId, room)) return null;
    const { children_state: state, allowed_room_ids: _allowed, ...shown } = room;
    const children = (Array.isArray(state) ? state : []).filter(isChild).slice(0, MAX_CHILDREN);
    return { room: shown, children };
  }

  async #ask(
    { roomId, via, suggestedOnly, cache }: {
      roomId: RoomId;
      via: readonly ServerName[];
      suggestedOnly: boolean;
      cache: RemoteSpaceCache;
    },
  ): Promise<JsonObject | undefined> {
    for (const server of via.filter((name) => name !== this.#deps.serverName).slice(0, MAX_SERVERS)) {
      try {
        const answer = await this.#deps.remote().hierarchy(server, { roomId, suggestedOnly });
        for (const child of Array.isArray(answer["children"]) ? answer["children"] : []) {
          const childId = isJsonObject(child) ? roomIdOf(child) : null;
          if (childId !== null && isJsonObject(child)) cache.set(childId, child);
        }
        const room = answer["room"];
        if (isJsonObject(room) && roomIdOf(room) === roomId) return room;
      } catch (error) {
        if (!(error instanceof RemoteError)) throw error;
      }
    }
    return undefined;
  }

  async #isOpenTo(userId: UserId, room: JsonObject): Promise<boolean> {
    if (room["world_readable"] === true || OPEN_RULES.has(room["join_rule"] ?? "public")) return true;
    const allowed = Array.isArray(room["allowed_room_ids"]) ? room["allowed_room_ids"] : [];
    for (const text of allowed.slice(0, MAX_CHILDREN)) {
      const roomId = typeof text === "string" ? parseRoomId(text) : null;
      if (roomId !== null && await this.#deps.isJoined(userId, roomId)) return true;
    }
    return false;
  }
}

/** Returns the servers that a child event names. */
export function viaOf(content: Readonly<JsonObject>): ServerName[] {
  const { via } = content;
  const names = Array.isArray(via) ? via.map((name) => typeof name === "string" ? parseServerName(name) : null) : [];
  return names.filter((name) => name !== null);
}

function roomIdOf(room: JsonObject): RoomId | null {
  return typeof room["room_id"] === "string" ? parseRoomId(room["room_id"]) : null;
}

function isChild(value: JsonValue): value is JsonObject {
  return isJsonObject(value) && value["type"] === "m.space.child" && typeof value["state_key"] === "string" &&
    isJsonObject(value["content"]) && viaOf(value["content"]).length > 0;
}
