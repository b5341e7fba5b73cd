/**
 * Reading rooms that one is not in, as in Synapse's admin API. All paths are below `/_synapse/admin/v1/rooms/{roomId}`.
 *   GET /messages, /context/{eventId}, /timestamp_to_event, /hierarchy
 */
import { z } from "zod";
import { invalidParam, notFound } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId, type RoomId } from "../../protocol/ids.ts";
import type { EventContext } from "../../rooms/context.ts";
import type { Pagination } from "../../rooms/pagination.ts";
import type { Reading, RoomReaders } from "../../rooms/room_access.ts";
import type { TimestampSearch } from "../../rooms/timestamp.ts";
import type { SpaceHierarchy } from "../../services/space_hierarchy.ts";
import { parseRoomToken, type RoomToken } from "../../streams/tokens.ts";
import { readRoomEventFilter } from "../../sync/filters.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, pathText, query } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface AdminRoomReadRoutesDeps {
  readonly auth: Auth;
  readonly readers: RoomReaders;
  readonly pagination: Pagination;
  readonly context: EventContext;
  readonly timestamps: TimestampSearch;
  readonly hierarchy: SpaceHierarchy;
}

const MAX_PAGE = 1_000;
const MAX_CONTEXT = 100;
const MAX_ROOMS = 50;
const DEFAULT_LIMIT = 10;
const Direction = z.enum(["b", "f"]).optional();
const MessagesQuery = z.object({
  dir: Direction,
  from: z.string().optional(),
  to: z.string().optional(),
  limit: intParam().optional(),
  filter: z.string().optional(),
});
const ContextQuery = z.object({ limit: intParam().optional(), filter: z.string().optional() });
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
    .get("/messages", auth.admin(), async (c) => {
      const params = query(c, MessagesQuery);
      return jsonText(
        await pagination.messages(await readingOf(c, { readers, what: "Room not found" }), {
          direction: params.dir ?? "f",
          from: tokenOf("from", params.from),
          to: tokenOf("to", params.to),
          limit: Math.min(params.limit ?? DEFAULT_LIMIT, MAX_PAGE),
          filter: readRoomEventFilter(params.filter ?? null),
        }),
      );
    })
    .get("/context/:eventId", auth.admin(), async (c) => {
      const params = query(c, ContextQuery);
      const eventId = parseEventId(pathText(c, "eventId"));
      if (eventId === null) throw notFound("Event not found.");
      const reading = await readingOf(c, { readers, what: "Event not found." });
      const limit = Math.min(params.limit ?? DEFAULT_LIMIT, MAX_CONTEXT);
      const filter = readRoomEventFilter(params.filter ?? null);
      return jsonText(await context.around(reading, { eventId, limit, filter }));
    })
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

function tokenOf(name: string, text: string | undefined): RoomToken | null {
  if (text === undefined || text === "") return null;
  const token = parseRoomToken(text);
  if (token === null) throw invalidParam(`Invalid value for query parameter "${name}"`);
  return token;
}
