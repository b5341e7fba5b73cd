/**
 * Reading rooms that one is not in, as in Synapse's admin API. All paths are below `/_synapse/admin/v1/rooms/{roomId}`.
 *   GET /messages, /context/{eventId}, /timestamp_to_event, /hierarchy
 */
import { z } from "zod";
import { notFound } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId, type RoomId } from "../../protocol/ids.ts";
import type { EventContext } from "../../rooms/context.ts";
import type { Pagination } from "../../rooms/pagination.ts";
import type { Reading, RoomReaders } from "../../rooms/room_access.ts";
import type { TimestampSearch } from "../../rooms/timestamp.ts";
import type { SpaceHierarchy } from "../../services/space_hierarchy.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, pathText, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { contextPage, messagesPage } from "../room_history.ts";

/** What the routes are built from. */
export interface AdminRoomReadRoutesDeps {
  readonly auth: Auth;
  readonly readers: RoomReaders;
  readonly pagination: Pagination;
  readonly context: EventContext;
  readonly timestamps: TimestampSearch;
  readonly hierarchy: SpaceHierarchy;
}

const MAX_ROOMS = 50;
const Direction = z.enum(["b", "f"]).optional();
const TimestampQuery = z.object({ ts: intParam(), dir: Direction });
const HierarchyQuery = z.object({
  limit: intParam({ min: 1 }).optional(),
  max_depth: intParam().optional(),
  from: z.string().optional(),
});

/** Registers the endpoints. */
export function adminRoomReadRoutes(app: App, deps: AdminRoomReadRoutesDeps): void {
  const { auth, readers, pagination, context, timestamps, hierarchy } = deps;
  plain(app, "/_synapse/admin/v1/rooms/:roomId")
    .get(
      "/messages",
      auth.admin(),
      (c) => messagesPage(c, { pagination, read: () => readingOf(c, { readers, what: "Room not found" }) }),
    )
    .get("/context/:eventId", auth.admin(), (c) =>
      contextPage(c, {
        context,
        read: async () => {
          const eventId = parseEventId(pathText(c, "eventId"));
          if (eventId === null) throw notFound("Event not found.");
          return { reading: await readingOf(c, { readers, what: "Event not found." }), eventId };
        },
      }))
    .get("/timestamp_to_event", auth.admin(), async (c) => {
      const { ts, dir = "f" } = query(c, TimestampQuery);
      const what = `Unable to find event from ${ts} in direction ${dir}`;
      const reading = await readingOf(c, { readers, what });
      const viewer = readers.viewer(reading);
      const search = { viewer, ts, backwards: dir === "b", asksOthers: true };
      const { eventId, originServerTs } = await timestamps.nearest(reading.access, search);
      return json({ event_id: eventId, origin_server_ts: originServerTs });
    })
    .get("/hierarchy", auth.admin(), async (c) => {
      const params = query(c, HierarchyQuery);
      const request = {
        ...{ roomId: roomIdOf(c, "Room not found"), suggestedOnly: false, maxDepth: params.max_depth ?? null },
        ...{ limit: Math.min(params.limit ?? MAX_ROOMS, MAX_ROOMS), from: params.from ?? null, showsAll: true },
      };
      return json(await hierarchy.page(requester(c).userId, request));
    });
}

async function readingOf(c: Ctx, { readers, what }: { readers: RoomReaders; what: string }): Promise<Reading> {
  const { userId, deviceId } = requester(c);
  const reading = await readers.readingOfAll({ userId, deviceId }, roomIdOf(c, what));
  if (reading === null) throw notFound(what);
  return reading;
}

/** Throws 404 with `what` for what is no room's id. */
function roomIdOf(c: Ctx, what: string): RoomId {
  const roomId = parseRoomId(pathText(c, "roomId"));
  if (roomId === null) throw notFound(what);
  return roomId;
}
