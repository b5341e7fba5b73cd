/**
 * Rooms, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   GET  /rooms, /rooms/{roomId}, /rooms/{roomId}/members, /rooms/{roomId}/state
 *   POST /purge_history/{roomId}, /purge_history/{roomId}/{eventId}
 *   GET  /purge_history_status/{purgeId}
 */
import { z } from "zod";
import { notFound } from "../../protocol/errors.ts";
import { type EventId, parseRoomId, type RoomId } from "../../protocol/ids.ts";
import type { HistoryPurges } from "../../services/history_purges.ts";
import { ROOM_ORDERS, type RoomAdmin } from "../../services/room_admin.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { boolParam, intParam, pathText, query } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RoomAdminRoutesDeps {
  readonly auth: Auth;
  readonly historyPurges: HistoryPurges;
  readonly roomAdmin: RoomAdmin;
  /** Returns the current state of a room as client events, as text. */
  readonly stateText: (roomId: RoomId, type: string | null) => Promise<readonly string[]>;
}

const MAX_PAGE = 1_000;
const ListQuery = z.object({
  from: intParam().optional(),
  limit: intParam().optional(),
  order_by: z.enum(ROOM_ORDERS).optional(),
  dir: z.enum(["f", "b"]).optional(),
  search_term: z.string().min(1).max(255).optional(),
  public_rooms: boolParam().optional(),
  empty_rooms: boolParam().optional(),
});
const StateQuery = z.object({ type: z.string().max(255).optional() });
const PurgeBody = z.looseObject({
  delete_local_events: z.boolean().optional(),
  purge_up_to_event_id: z.string().max(255).optional(),
  purge_up_to_ts: z.int().optional(),
});

/** Registers the endpoints. */
export function roomAdminRoutes(app: App, deps: RoomAdminRoutesDeps): void {
  const { auth, historyPurges, roomAdmin, stateText } = deps;
  plain(app, "/_synapse/admin/v1")
    .get("/rooms", auth.admin(), (c) => list(c, roomAdmin))
    .get("/rooms/:roomId", auth.admin(), async (c) => json(await roomAdmin.get(roomOf(c))))
    .get("/rooms/:roomId/members", auth.admin(), async (c) => {
      const members = await roomAdmin.members(roomOf(c));
      return json({ members, total: members.length });
    })
    .get("/rooms/:roomId/state", auth.admin(), async (c) => {
      const roomId = roomOf(c);
      await roomAdmin.assertKnown(roomId);
      return jsonText(`{"state":[${(await stateText(roomId, query(c, StateQuery).type ?? null)).join(",")}]}`);
    })
    .post("/purge_history/:roomId", auth.admin(), (c) => purge(c, historyPurges))
    .post("/purge_history/:roomId/:eventId", auth.admin(), (c) => purge(c, historyPurges))
    .get("/purge_history_status/:purgeId", auth.admin(), async (c) => {
      return json(await historyPurges.status(pathText(c, "purgeId")));
    });
}

async function list(c: Ctx, roomAdmin: RoomAdmin): Promise<Response> {
  const params = query(c, ListQuery);
  const [from, limit] = [params.from ?? 0, Math.min(params.limit ?? 100, MAX_PAGE)];
  const { rooms, total } = await roomAdmin.list({
    ...{ from, limit, order: params.order_by ?? "name", reverse: params.dir === "b" },
    searchTerm: params.search_term ?? null,
    isPublic: params.public_rooms ?? null,
    isEmpty: params.empty_rooms ?? null,
  });
  return json({
    offset: from,
    rooms,
    total_rooms: total,
    ...(from + limit < total ? { next_batch: from + limit } : {}),
    ...(from > 0 ? { prev_batch: Math.max(0, from - limit) } : {}),
  });
}

async function purge(c: Ctx, historyPurges: HistoryPurges): Promise<Response> {
  const body = await readJson(c, PurgeBody, { allowEmpty: true });
  const inPath = c.req.param("eventId") === undefined ? undefined : pathText(c, "eventId");
  const purgeId = await historyPurges.begin({
    roomId: roomOf(c),
    eventId: (inPath ?? body.purge_up_to_event_id ?? null) as EventId | null,
    beforeTs: body.purge_up_to_ts ?? null,
    deletesLocal: body.delete_local_events === true,
  });
  return json({ purge_id: purgeId });
}

/** Returns the room of the path. What is no room's id is no room that is known, as in Synapse. */
function roomOf(c: Ctx): RoomId {
  const roomId = parseRoomId(pathText(c, "roomId"));
  if (roomId === null) throw notFound("Room not found");
  return roomId;
}
