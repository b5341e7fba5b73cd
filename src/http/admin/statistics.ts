/**
 * Statistics, as in Synapse's admin API. All paths are below `/_synapse/admin/v1/statistics`.
 *   GET /users/media
 *   GET /database/rooms: on SQLite too, where Synapse refuses it
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { MEDIA_STATISTIC_ORDERS, type Statistics } from "../../services/statistics.ts";
import { type App, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface StatisticRoutesDeps {
  readonly auth: Auth;
  readonly statistics: Statistics;
}

const MAX_PAGE = 1_000;
const MediaQuery = z.object({
  order_by: z.enum(MEDIA_STATISTIC_ORDERS).default("user_id"),
  dir: z.enum(["f", "b"]).default("f"),
  from: intParam().default(0),
  limit: intParam().default(100),
  from_ts: intParam().default(0),
  until_ts: intParam().optional(),
  search_term: z.string().min(1).max(255).optional(),
});

/** Registers the endpoints. */
export function statisticRoutes(app: App, { auth, statistics }: StatisticRoutesDeps): void {
  plain(app, "/_synapse/admin/v1/statistics")
    .get("/users/media", auth.admin(), async (c) => {
      const { order_by: order, dir, from, limit: asked, from_ts: fromTs, until_ts: until, search_term: term } = query(
        c,
        MediaQuery,
      );
      if (until !== undefined && until <= fromTs) throw invalidParam('"until_ts" must be after "from_ts"');
      const limit = Math.min(asked, MAX_PAGE);
      const { users, total } = await statistics.userMedia({
        ...{ order, backward: dir === "b", from, limit, fromTs },
        untilTs: until ?? Number.MAX_SAFE_INTEGER,
        searchTerm: term ?? null,
      });
      return json({
        users: users.map(({ userId, displayname, count, length }) => ({
          ...{ user_id: userId, displayname, media_count: count, media_length: length },
        })),
        total,
        ...(from + limit < total ? { next_token: from + users.length } : {}),
      });
    })
    .get("/database/rooms", auth.admin(), async () => {
      const rooms = await statistics.largestRooms();
      return json({ rooms: rooms.map(({ roomId, bytes }) => ({ room_id: roomId, estimated_size: bytes })) });
    });
}
