/**
 * What a room looks like from outside: the entry of the public list, of a space and of a summary.
 * Spec: client-server API, "Listing rooms" (`PublicRoomsChunk`).
 */
import { LruCache } from "../lib/lru.ts";
import { type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { RoomId } from "../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import { getRoomVersion } from "../protocol/room_versions.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Database } from "../storage/database.ts";
import { selectRoomById } from "../storage/rooms.ts";

/** A room as seen from outside. */
export interface RoomSummary {
  readonly roomId: RoomId;
  readonly roomVersion: string;
  readonly joinedMembers: number;
  readonly name: string | null;
  readonly topic: string | null;
  readonly canonicalAlias: string | null;
  readonly avatarUrl: string | null;
  /** As it counts in the room's version. */
  readonly joinRule: string;
  /** The rooms whose members may join, for restricted join rules. */
  readonly allowedRoomIds: readonly RoomId[];
  readonly isWorldReadable: boolean;
  readonly guestsCanJoin: boolean;
  readonly roomType: string | null;
  readonly encryption: string | null;
}

type StatePart = Omit<RoomSummary, "roomId" | "joinedMembers" | "roomVersion">;

const TYPES = {
  name: stateKeyOf("m.room.name", ""),
  topic: stateKeyOf("m.room.topic", ""),
  alias: stateKeyOf("m.room.canonical_alias", ""),
  avatar: stateKeyOf("m.room.avatar", ""),
  joinRules: stateKeyOf("m.room.join_rules", ""),
  visibility: stateKeyOf("m.room.history_visibility", ""),
  guests: stateKeyOf("m.room.guest_access", ""),
  create: stateKeyOf("m.room.create", ""),
  encryption: stateKeyOf("m.room.encryption", ""),
} as const satisfies Record<string, StateKey>;
const MAX_CACHED = 10_000;

/** Makes summaries from the current state, remembered by the state they were made from. */
export class RoomSummaries {
  readonly #db: Database;
  readonly #states: StateReader;
  readonly #cache = new LruCache<number, StatePart>({ name: "room_summaries", maxEntries: MAX_CACHED });

  constructor({ db, states }: { db: Database; states: StateReader }) {
    this.#db = db;
    this.#states = states;
  }

  /** Returns the summary of a room, or null when this server has no state of it. */
  async get(roomId: RoomId): Promise<RoomSummary | null> {
    const room = await selectRoomById(this.#db, roomId);
    if (room === null || room.stateRoot === 0) return null;
    let part = this.#cache.get(room.stateRoot);
    if (part === undefined) {
      part = await this.#read(room.stateRoot);
      this.#cache.set(room.stateRoot, part);
    }
    const { roomVersion, joinedMembers } = room;
    return { ...part, roomId, roomVersion, joinedMembers, joinRule: joinRuleIn(roomVersion, part.joinRule) };
  }

  async #read(root: number): Promise<StatePart> {
    const state = await this.#states.getMany(root, Object.values(TYPES));
    const content = (key: StateKey): JsonObject => {
      const stored = state.get(key);
      return stored && stored.redactedByNid === null ? { ...stored.event.content } : {};
    };
    const joinRules = content(TYPES.joinRules);
    return {
      name: text(content(TYPES.name).name),
      topic: text(content(TYPES.topic).topic),
      canonicalAlias: text(content(TYPES.alias).alias),
      avatarUrl: text(content(TYPES.avatar).url),
      joinRule: text(joinRules.join_rule) ?? "invite",
      allowedRoomIds: allowedRooms(joinRules.allow),
      isWorldReadable: content(TYPES.visibility).history_visibility === "world_readable",
      guestsCanJoin: content(TYPES.guests).guest_access === "can_join",
      roomType: text(content(TYPES.create).type),
      encryption: text(content(TYPES.encryption).algorithm),
    };
  }
}

/** A rule that the room's version does not have lets nobody in, and so tells nobody of the room. */
function joinRuleIn(roomVersion: string, joinRule: string): string {
  const rules = getRoomVersion(roomVersion);
  const isUnknown = rules !== null && (
    (joinRule === "knock" && !rules.knocking) ||
    (joinRule === "restricted" && !rules.restrictedJoinRule) ||
    (joinRule === "knock_restricted" && !rules.knockRestrictedJoinRule)
  );
  return isUnknown ? "invite" : joinRule;
}

/** Renders a summary as `PublicRoomsChunk`. */
export function renderPublicRoom(room: RoomSummary): JsonObject {
  return {
    room_id: room.roomId,
    num_joined_members: room.joinedMembers,
    world_readable: room.isWorldReadable,
    guest_can_join: room.guestsCanJoin,
    join_rule: room.joinRule,
    ...(room.name === null ? {} : { name: room.name }),
    ...(room.topic === null ? {} : { topic: room.topic }),
    ...(room.canonicalAlias === null ? {} : { canonical_alias: room.canonicalAlias }),
    ...(room.avatarUrl === null ? {} : { avatar_url: room.avatarUrl }),
    ...(room.roomType === null ? {} : { room_type: room.roomType }),
  };
}

function text(value: JsonValue | undefined): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function allowedRooms(allow: JsonValue | undefined): RoomId[] {
  if (!Array.isArray(allow)) return [];
  return allow.flatMap((rule) => {
    if (typeof rule !== "object" || rule === null || Array.isArray(rule)) return [];
    return rule.type === "m.room_membership" && typeof rule.room_id === "string" ? [rule.room_id as RoomId] : [];
  });
}
