/** What administrators see of rooms and do to them, as in Synapse's admin API. */
import { nextTurn } from "../lib/turn.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { RoomId, ServerName, UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { RoomEngine } from "../rooms/engine.ts";
import type { EventStore, RoomIdentity } from "../rooms/event_store.ts";
import type { RoomFacts } from "../rooms/room_facts.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database } from "../storage/database.ts";
import {
  type ListedRoom,
  selectIsForgottenHere,
  selectJoinedMembers,
  selectListedRooms,
  selectRoomCounts,
  selectRoomDeviceCount,
} from "../storage/room_listing.ts";
import { selectUser } from "../storage/users.ts";

/** What the service is built from. */
export interface RoomAdminDeps {
  readonly db: Database;
  readonly events: EventStore;
  readonly facts: RoomFacts;
  readonly engine: RoomEngine;
  readonly isLocal: (userId: UserId) => boolean;
}

/** By what rooms can be ordered, as Synapse names it; those with numbers begin with the greatest. */
export const ROOM_ORDERS = [
  "alphabetical",
  "name",
  "canonical_alias",
  "joined_members",
  "size",
  "joined_local_members",
  "version",
  "creator",
  "encryption",
  "federatable",
  "public",
  "join_rules",
  "guest_access",
  "history_visibility",
  "state_events",
] as const;
/** One of `ROOM_ORDERS`. */
export type RoomOrder = typeof ROOM_ORDERS[number];

/** Which rooms to list. */
export interface RoomListRequest {
  readonly from: number;
  readonly limit: number;
  readonly order: RoomOrder;
  readonly reverse: boolean;
  readonly searchTerm: string | null;
  readonly isPublic: boolean | null;
  readonly isEmpty: boolean | null;
}

const PAGE = 100;
const MAX_MEMBERS = 100_000;
const KEY_OF: Partial<Record<RoomOrder, string>> = { alphabetical: "name", size: "joined_members" };
const GREATEST_FIRST: ReadonlySet<string> = new Set([
  "joined_members",
  "joined_local_members",
  "version",
  "state_events",
]);

/** Administers rooms. */
export class RoomAdmin {
  readonly #deps: RoomAdminDeps;

  constructor(deps: RoomAdminDeps) {
    this.#deps = deps;
  }

  /** Returns a page of rooms and how many there are. All are looked at, for their names are in their states. */
  async list(request: RoomListRequest): Promise<{ rooms: JsonObject[]; total: number }> {
    const { db } = this.#deps;
    const found: JsonObject[] = [];
    for (let after = 0;;) {
      const rooms = await selectListedRooms(db, { after, limit: PAGE });
      for (const room of await this.#describe(rooms)) if (isWanted(room, request)) found.push(room);
      if (rooms.length < PAGE) break;
      after = rooms.at(-1)?.roomNid ?? 0;
      await nextTurn();
    }
    found.sort(comparing(request));
    return { rooms: found.slice(request.from, request.from + request.limit), total: found.length };
  }

  /** Returns a room. Throws 404. */
  async get(roomId: RoomId): Promise<JsonObject> {
    const { db, facts } = this.#deps;
    const { roomNid } = await this.#require(roomId);
    const [listed] = await selectListedRooms(db, { after: roomNid - 1, limit: 1 });
    if (listed?.roomNid !== roomNid) throw notFound("Room not found");
    const [room = {}] = await this.#describe([listed]);
    const tombstone = await facts.content(roomId, "m.room.tombstone");
    return {
      ...room,
      avatar: text((await facts.content(roomId, "m.room.avatar"))?.["url"]),
      topic: text((await facts.content(roomId, "m.room.topic"))?.["topic"]),
      joined_local_devices: await selectRoomDeviceCount(db, roomNid),
      forgotten: await selectIsForgottenHere(db, roomNid),
      tombstoned: tombstone !== null,
      replacement_room: text(tombstone?.["replacement_room"]),
    };
  }

  /** Returns the members of a room. Throws 404. */
  async members(roomId: RoomId): Promise<string[]> {
    const { roomNid } = await this.#require(roomId);
    return await selectJoinedMembers(this.#deps.db, { roomNid, limit: MAX_MEMBERS });
  }

  /** Throws 404 for a room that is not known. */
  async assertKnown(roomId: RoomId): Promise<void> {
    await this.#require(roomId);
  }

  /** Gives a user the power of the most powerful local member, and invites them where they could not come in. */
  async makeAdmin({ roomId, userId }: { roomId: RoomId; userId: UserId }): Promise<void> {
    const { facts, engine } = this.#deps;
    if (await facts.creator(roomId) === null) throw badRequest("Server not in room");
    const levels = await facts.content(roomId, "m.room.power_levels");
    const users = levels !== null && isJsonObject(levels["users"]) ? levels["users"] : {};
    const giver = await this.#mostPowerful(roomId, users);
    const content = { ...levels, users: { ...users, [userId]: users[giver] ?? 100 } };
    await asLocalAdmin(() =>
      engine.sendEvent(acting(giver), { roomId, type: "m.room.power_levels", stateKey: "", content, txnId: null })
    );
    const membership = (await facts.content(roomId, "m.room.member", userId))?.["membership"];
    if (membership === "join" || membership === "invite") return;
    if ((await facts.content(roomId, "m.room.join_rules"))?.["join_rule"] === "public") return;
    await engine.invite(acting(giver), { roomId, userId });
  }

  /** Returns the joined local user with the most power. Throws 400 when no local member has any. */
  async #mostPowerful(roomId: RoomId, users: JsonObject): Promise<UserId> {
    const { facts, engine } = this.#deps;
    const local = await engine.localJoinedUsers(roomId);
    const create = await facts.content(roomId, "m.room.create");
    const head = await engine.head(roomId);
    const named = Object.keys(users).filter((userId) => local.has(userId as UserId)) as UserId[];
    const creators = await this.#creators(roomId, create ?? {});
    const isCreator = (userId: UserId) => head?.rules.privilegedCreators === true && creators.includes(userId);
    const power = (userId: UserId) => isCreator(userId) ? Infinity : Number(users[userId] ?? 0);
    const candidates = [...new Set([...named, ...creators.filter((userId) => local.has(userId))])];
    const [best] = candidates.sort((a, b) => power(b) === power(a) ? 0 : power(b) > power(a) ? 1 : -1);
    if (best === undefined) throw badRequest("No local admin user in room");
    return best;
  }

  async #creators(roomId: RoomId, create: Readonly<JsonObject>): Promise<UserId[]> {
    const others = create["additional_creators"];
    const creator = await this.#deps.facts.creator(roomId);
    const all = [creator, ...(Array.isArray(others) ? others : [])];
    return all.filter((userId): userId is UserId => typeof userId === "string");
  }

  /** Takes a local user into a room, by an invitation of the administrator where the room does not let everybody in. */
  async join(
    admin: Requester,
    { roomId, userId, via }: { roomId: RoomId; userId: UserId; via: readonly ServerName[] },
  ): Promise<void> {
    const { db, facts, engine, isLocal } = this.#deps;
    if (!isLocal(userId)) throw badRequest("This endpoint can only be used with local users");
    if (await selectUser(db, userId) === null) throw notFound("User not found");
    const rule = (await facts.content(roomId, "m.room.join_rules"))?.["join_rule"];
    const member = await facts.content(roomId, "m.room.member", userId);
    const isAsked = member?.["membership"] === "invite" || member?.["membership"] === "join";
    if (rule !== undefined && rule !== "public" && !isAsked) await engine.invite(admin, { roomId, userId });
    await engine.join(acting(userId), { roomId, via });
  }

  /** Returns the ends of a room's graph; none for an unknown room. */
  async extremities(roomId: RoomId): Promise<JsonObject[]> {
    return (await this.#deps.engine.extremities(roomId)).map(({ event, stateAfter, receivedTs }) => ({
      event_id: event.eventId,
      state_group: stateAfter,
      depth: event.depth,
      received_ts: receivedTs,
    }));
  }

  /**
   * Makes the ends of a room's graph one; returns by how many there are fewer. Synapse drops all but the newest, and with
   * them what they did to the state of the room; here an event that says nothing joins them. Throws 404.
   */
  async mergeExtremities(roomId: RoomId): Promise<number> {
    await this.#require(roomId);
    return await this.#deps.engine.mergeExtremities(roomId);
  }

  async #require(roomId: RoomId): Promise<RoomIdentity> {
    const room = await this.#deps.events.roomById(roomId);
    if (room === null) throw notFound("Room not found");
    return room;
  }

  async #describe(rooms: readonly ListedRoom[]): Promise<JsonObject[]> {
    const { db, facts } = this.#deps;
    const counts = await selectRoomCounts(db, rooms.map(({ roomNid }) => roomNid));
    const described: JsonObject[] = [];
    for (const { roomNid, roomId, version, joinedMembers, isPublic } of rooms) {
      const read = async (type: string, key: string) => text((await facts.content(roomId, type))?.[key]);
      const create = await facts.content(roomId, "m.room.create");
      described.push({
        room_id: roomId,
        name: await read("m.room.name", "name"),
        canonical_alias: await read("m.room.canonical_alias", "alias"),
        joined_members: joinedMembers,
        joined_local_members: counts.get(roomNid)?.localMembers ?? 0,
        version,
        creator: await facts.creator(roomId),
        encryption: await read("m.room.encryption", "algorithm"),
        federatable: create?.["m.federate"] !== false,
        public: isPublic,
        join_rules: await read("m.room.join_rules", "join_rule"),
        guest_access: await read("m.room.guest_access", "guest_access"),
        history_visibility: await read("m.room.history_visibility", "history_visibility"),
        state_events: counts.get(roomNid)?.stateEvents ?? 0,
        room_type: text(create?.["type"]),
      });
    }
    return described;
  }
}

async function asLocalAdmin(send: () => Promise<unknown>): Promise<void> {
  try {
    await send();
  } catch (error) {
    if (!(error instanceof MatrixError) || error.status !== 403) throw error;
    throw badRequest("No local admin user in room with power to update power levels.");
  }
}

function isWanted(room: JsonObject, { searchTerm, isPublic, isEmpty }: RoomListRequest): boolean {
  if (isPublic !== null && room["public"] !== isPublic) return false;
  if (isEmpty !== null && (room["joined_members"] === 0) !== isEmpty) return false;
  if (searchTerm === null) return true;
  const term = searchTerm.toLowerCase();
  const holds = (value: unknown) => typeof value === "string" && value.toLowerCase().includes(term);
  // Of an alias, the name of the server does not count.
  const [localpart] = String(room["canonical_alias"] ?? "").split(":", 1);
  return holds(room["name"]) || holds(localpart) || room["room_id"] === searchTerm;
}

function comparing({ order, reverse }: RoomListRequest): (a: JsonObject, b: JsonObject) => number {
  const key = KEY_OF[order] ?? order;
  const sign = reverse !== GREATEST_FIRST.has(key) ? -1 : 1;
  const byId = (a: JsonObject, b: JsonObject) => String(a["room_id"]) < String(b["room_id"]) ? -1 : 1;
  return (a, b) => {
    const [one, other] = [a[key] ?? null, b[key] ?? null];
    if (one === other) return byId(a, b);
    if (one === null) return 1;
    if (other === null) return -1;
    return one < other ? -sign : sign;
  };
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function badRequest(message: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message);
}

/** The user as the server acts for them. */
function acting(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: true, isShadowBanned: false, appserviceId: null };
}
