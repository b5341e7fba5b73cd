/** Small questions about rooms that services ask: who is in, and what they may do. */
import { stateKeyOf } from "../protocol/event.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { getRequiredLevel, getUserLevel, type PowerLevelSource } from "../protocol/power_levels.ts";
import type { Db } from "../storage/database.ts";
import type { EventStore } from "./event_store.ts";
import type { LocalMemberships } from "./local_memberships.ts";
import { relationOf } from "./relation.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";
import type { Visibility } from "./visibility.ts";

/** What the answers are made from. */
export interface RoomFactsDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly memberships: LocalMemberships;
  readonly visibility: Visibility;
}

/** The thread id of what is in no thread. */
const MAIN_TIMELINE = "main";
const MAX_RELATION_HOPS = 3;
const CREATE = stateKeyOf("m.room.create", "");
const POWER_LEVELS = stateKeyOf("m.room.power_levels", "");

/** Answers questions about rooms. */
export class RoomFacts {
  readonly #deps: RoomFactsDeps;

  constructor(deps: RoomFactsDeps) {
    this.#deps = deps;
  }

  /** Returns a room's number when a local user is joined to it, else null. */
  async joinedRoomNid(userId: UserId, roomId: RoomId): Promise<number | null> {
    const room = await this.#deps.events.roomById(roomId);
    if (room === null) return null;
    const { joined } = await this.#deps.memberships.forUser(userId);
    return joined.has(room.roomNid) ? room.roomNid : null;
  }

  /** Tells whether a local user is joined to a room. */
  async isJoined(userId: UserId, roomId: RoomId): Promise<boolean> {
    return await this.joinedRoomNid(userId, roomId) !== null;
  }

  /** Returns the position of an event in a room, or null when the room has no such event. */
  async eventPosition(roomNid: number, eventId: EventId): Promise<number | null> {
    const stored = await this.#deps.events.getById(eventId);
    return stored?.roomNid === roomNid ? stored.position : null;
  }

  /**
   * Tells whether an event has to do with a thread: it is in it, it is its root, or it relates to either. `main` is what
   * is in no thread. Spec: client-server API, "Threaded read receipts".
   */
  async isInThread(eventId: EventId, threadId: string): Promise<boolean> {
    let stored = await this.#deps.events.getById(eventId);
    const roomNid = stored?.roomNid;
    for (let hop = 0; stored !== null && stored.roomNid === roomNid && hop <= MAX_RELATION_HOPS; hop++) {
      if (stored.event.eventId === threadId) return true;
      const relation = relationOf(stored.event);
      if (relation === null) break;
      if (relation.relType === "m.thread") return relation.relatesToId === threadId;
      stored = await this.#deps.events.getById(relation.relatesToId as EventId);
    }
    return threadId === MAIN_TIMELINE || stored?.event.eventId === threadId;
  }

  /** Tells whether anybody may read a room. */
  async isWorldReadable(roomId: RoomId): Promise<boolean> {
    const root = await this.#deps.state.currentRoot(roomId);
    return root !== null && await this.#deps.visibility.settingAt(root) === "world_readable";
  }

  /** Returns the content of a piece of the current state, or null. */
  async content(roomId: RoomId, type: string, stateKey = ""): Promise<Readonly<JsonObject> | null> {
    const stored = await this.#current(roomId, type, stateKey);
    return stored?.event.content ?? null;
  }

  /** Returns who made a room, or null. */
  async creator(roomId: RoomId): Promise<UserId | null> {
    return (await this.#current(roomId, "m.room.create", ""))?.event.sender ?? null;
  }

  /** Returns the name a member goes by in a room, or null. */
  async displayName(roomId: RoomId, userId: UserId): Promise<string | null> {
    const name = (await this.content(roomId, "m.room.member", userId))?.displayname;
    return typeof name === "string" ? name : null;
  }

  /** Returns the content of the power levels (empty without any) and the level of a user. */
  async powerLevels(
    roomId: RoomId,
    sender: UserId,
  ): Promise<{ content: Readonly<JsonObject>; senderLevel: number }> {
    const source = await this.#power(roomId);
    return source === null ? { content: {}, senderLevel: 0 } : {
      content: source.powerLevels?.content ?? {},
      senderLevel: getUserLevel(source, sender),
    };
  }

  /** Tells whether a joined user has the power to send state of a type. */
  async maySendState(userId: UserId, roomId: RoomId, type: string): Promise<boolean> {
    if (!await this.isJoined(userId, roomId)) return false;
    const source = await this.#power(roomId);
    return source !== null && getUserLevel(source, userId) >= getRequiredLevel(source, { type, isState: true });
  }

  async #current(roomId: RoomId, type: string, stateKey: string): Promise<StoredEvent | null> {
    const root = await this.#deps.state.currentRoot(roomId);
    return root === null ? null : await this.#deps.state.get(root, type, stateKey);
  }

  async #power(roomId: RoomId): Promise<PowerLevelSource | null> {
    const root = await this.#deps.state.currentRoot(roomId);
    if (root === null) return null;
    const found = await this.#deps.state.getMany(root, [CREATE, POWER_LEVELS]);
    const create = found.get(CREATE);
    return create === undefined ? null : { create: create.event, powerLevels: found.get(POWER_LEVELS)?.event };
  }
}
