/**
 * Who may know of a room without being in it, and what they get to see.
 * Spec: client-server API, `GET /room_summary/{roomIdOrAlias}`; the same rules govern spaces.
 */
import { notFound } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import type { Membership } from "../rooms/types.ts";
import { renderPublicRoom, type RoomSummaries, type RoomSummary } from "./room_summaries.ts";

/** What the service is built from. */
export interface RoomPreviewsDeps {
  readonly summaries: RoomSummaries;
  readonly memberships: LocalMemberships;
  readonly events: EventStore;
}

const OPEN_JOIN_RULES: ReadonlySet<string> = new Set(["public", "knock", "knock_restricted"]);
const RESTRICTED_JOIN_RULES: ReadonlySet<string> = new Set(["restricted", "knock_restricted"]);

/** Shows rooms from outside. */
export class RoomPreviews {
  readonly #deps: RoomPreviewsDeps;

  constructor(deps: RoomPreviewsDeps) {
    this.#deps = deps;
  }

  /** Returns the response body. Throws 404 when there is no such room, or none the user may know of. */
  async summary(userId: UserId | null, roomId: RoomId): Promise<JsonObject> {
    const summary = await this.find(userId, roomId);
    if (summary === null) throw notFound("Room not found");
    const membership = userId === null ? null : await this.#membership(userId, roomId);
    return { ...renderSummary(summary), ...(membership === null ? {} : { membership }) };
  }

  /** Returns a room's summary if the user may know of the room, else null. */
  async find(userId: UserId | null, roomId: RoomId): Promise<RoomSummary | null> {
    const summary = await this.#deps.summaries.get(roomId);
    return summary !== null && await this.#mayKnow(userId, summary) ? summary : null;
  }

  /** Returns a room's summary, whoever may know of the room; null for a room that is not known here. */
  async any(roomId: RoomId): Promise<RoomSummary | null> {
    return await this.#deps.summaries.get(roomId);
  }

  async #mayKnow(userId: UserId | null, room: RoomSummary): Promise<boolean> {
    if (OPEN_JOIN_RULES.has(room.joinRule) || room.isWorldReadable) return true;
    if (userId === null) return false;
    const membership = await this.#membership(userId, room.roomId);
    if (membership === "join" || membership === "invite") return true;
    if (!RESTRICTED_JOIN_RULES.has(room.joinRule)) return false;
    for (const allowed of room.allowedRoomIds) {
      if (await this.#membership(userId, allowed) === "join") return true;
    }
    return false;
  }

  async #membership(userId: UserId, roomId: RoomId): Promise<Membership | null> {
    const { events, memberships } = this.#deps;
    const room = await events.roomById(roomId);
    if (room === null) return null;
    return (await memberships.forUser(userId)).all.get(room.roomNid)?.membership ?? null;
  }
}

/** Renders what summaries and spaces say of a room. Spec: definition `room_summary`. */
export function renderSummary(room: RoomSummary): JsonObject {
  const isRestricted = RESTRICTED_JOIN_RULES.has(room.joinRule);
  return {
    ...renderPublicRoom(room),
    room_version: room.roomVersion,
    ...(room.encryption === null ? {} : { encryption: room.encryption }),
    ...(isRestricted ? { allowed_room_ids: [...room.allowedRoomIds] } : {}),
  };
}
