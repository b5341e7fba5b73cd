/**
 * How big rooms are, for servers that do not join every one. Not in the spec, as of Synapse:
 *   GET /_matrix/federation/unstable/rooms/{roomId}/complexity
 */
import { forbidden, notFound } from "../../protocol/errors.ts";
import { parseRoomId, type RoomId } from "../../protocol/ids.ts";
import type { EventStore } from "../../rooms/event_store.ts";
import { complexityOf } from "../../rooms/room_limits.ts";
import type { ServerAcls } from "../../rooms/server_acls.ts";
import type { Db } from "../../storage/database.ts";
import type { App } from "../app.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the route is built from. */
export interface RoomComplexityDeps {
  readonly auth: FederationAuth;
  readonly db: Db;
  readonly acls: ServerAcls;
  readonly events: EventStore;
  readonly summaries: { get(roomId: RoomId): Promise<{ joinRule: string; isWorldReadable: boolean } | null> };
}

/** Registers the endpoint. */
export function roomComplexityRoutes(app: App, { auth, db, acls, events, summaries }: RoomComplexityDeps): void {
  signed(app, auth).get("/unstable/rooms/:roomId/complexity", async (c, { origin }) => {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    const [room, summary] = [await events.roomById(roomId), await summaries.get(roomId)];
    // That others exist is not for everybody to know.
    const isOpen = summary !== null && (summary.joinRule === "public" || summary.isWorldReadable);
    if (room === null || !isOpen) throw notFound("Room not found");
    if (!await acls.isAllowed(roomId, origin)) throw forbidden("Server is banned from room");
    return json({ v1: await complexityOf(db, room.roomNid) });
  });
}
