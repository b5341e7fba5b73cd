/** A space as other servers see it. Spec: server-server API, "Spaces". */
import { stateKeyOf } from "../protocol/event.ts";
import { notFound } from "../protocol/errors.ts";
import { parseRoomId, type RoomId, type ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomHosts } from "../rooms/room_hosts.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Db } from "../storage/database.ts";
import { selectUsersOfHost } from "../storage/federation_rooms.ts";
import { renderSummary } from "./room_previews.ts";
import type { RoomSummaries, RoomSummary } from "./room_summaries.ts";
import { childrenOf, renderChild } from "./space_hierarchy.ts";

/** What the service is built from. */
export interface ServerHierarchyDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly hosts: RoomHosts;
  readonly summaries: RoomSummaries;
}

const OPEN_JOIN_RULES: ReadonlySet<string> = new Set(["public", "knock", "knock_restricted"]);
const MAX_CHILDREN = 100;

/** Shows spaces to servers. */
export class ServerHierarchy {
  readonly #deps: ServerHierarchyDeps;

  constructor(deps: ServerHierarchyDeps) {
    this.#deps = deps;
  }

  /** Returns the response body. Throws 404 when none of the server's users could know of the space. */
  async get(
    origin: ServerName,
    { roomId, suggestedOnly }: { roomId: RoomId; suggestedOnly: boolean },
  ): Promise<JsonObject> {
    const { state, summaries } = this.#deps;
    const room = await summaries.get(roomId);
    if (room === null || !await this.#mayKnow(origin, room)) throw notFound("Unknown room");
    const children: JsonObject[] = [];
    const inaccessible: string[] = [];
    const listed = room.roomType === "m.space" ? await childrenOf(state, { roomId, suggestedOnly }) : [];
    for (const { event } of listed.slice(0, MAX_CHILDREN)) {
      const childId = parseRoomId(event.stateKey ?? "");
      const child = childId === null ? null : await summaries.get(childId);
      // Of rooms that this server does not know, others may know more.
      if (child === null) continue;
      if (await this.#mayKnow(origin, child)) children.push(await this.#render(child));
      else inaccessible.push(child.roomId);
    }
    return {
      room: { ...renderSummary(room), children_state: listed.map(renderChild) },
      children,
      inaccessible_children: inaccessible,
    };
  }

  async #render(room: RoomSummary): Promise<JsonObject> {
    const { state } = this.#deps;
    const listed = room.roomType === "m.space"
      ? await childrenOf(state, { roomId: room.roomId, suggestedOnly: false })
      : [];
    return { ...renderSummary(room), children_state: listed.map(renderChild) };
  }

  async #mayKnow(origin: ServerName, room: RoomSummary): Promise<boolean> {
    const { hosts } = this.#deps;
    if (OPEN_JOIN_RULES.has(room.joinRule) || room.isWorldReadable) return true;
    if (await hosts.isInRoom(room.roomId, origin) || await this.#isInvited(origin, room.roomId)) return true;
    if (room.joinRule !== "restricted") return false;
    for (const allowed of room.allowedRoomIds) if (await hosts.isInRoom(allowed, origin)) return true;
    return false;
  }

  async #isInvited(host: ServerName, roomId: RoomId): Promise<boolean> {
    const { db, events, state } = this.#deps;
    const room = await events.roomById(roomId);
    const root = await state.currentRoot(roomId);
    if (room === null || root === null) return false;
    const users = await selectUsersOfHost(db, { roomNid: room.roomNid, host });
    const found = await state.getMany(root, users.map((userId) => stateKeyOf("m.room.member", userId)));
    return [...found.values()].some(({ event }) => event.content["membership"] === "invite");
  }
}
