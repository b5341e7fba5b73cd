/**
 * Media, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   GET, DELETE /media/{serverName}/{mediaId}
 *   POST /media/delete, /media/{serverName}/delete, /purge_media_cache
 *   GET, DELETE /users/{userId}/media
 *   GET /room/{roomId}/media
 */
import { z } from "zod";
import { parseMediaId } from "../../media/blob_paths.ts";
import type { MediaAdmin } from "../../media/media_admin.ts";
import type { MediaRemoval } from "../../media/removal.ts";
import { invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import { parseRoomId, parseServerName, parseUserId, type ServerName } from "../../protocol/ids.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import type { MediaKey } from "../../storage/media.ts";
import { MEDIA_ORDERS, type UserMediaPage } from "../../storage/media_admin.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { boolParam, intParam, pathIds, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface MediaAdminRoutesDeps {
  readonly auth: Auth;
  readonly serverName: ServerName;
  readonly admin: MediaAdmin;
  readonly removal: MediaRemoval;
  readonly userAdmin: UserAdmin;
}

const MAX_PAGE = 1_000;
/** Times before are most likely in seconds: December of 1970. */
const LEAST_TS = 30_000_000_000;
const OldQuery = z.object({
  before_ts: intParam(),
  size_gt: intParam().default(0),
  keep_profiles: boolParam().default(true),
});
const PageQuery = z.object({
  from: intParam().default(0),
  limit: intParam().default(100),
  order_by: z.enum(MEDIA_ORDERS).optional(),
  dir: z.enum(["f", "b"]).optional(),
});

/** Returns the file that the path names. */
export function mediaKeyOf(c: Ctx): MediaKey {
  const { serverName, mediaId } = pathIds(c, { serverName: parseServerName, mediaId: parseMediaId });
  return { origin: serverName, mediaId };
}

/** Registers the endpoints. */
export function mediaAdminRoutes(app: App, deps: MediaAdminRoutesDeps): void {
  const { auth, serverName, admin, removal } = deps;
  plain(app, "/_synapse/admin/v1")
    .get(
      "/media/:serverName/:mediaId",
      auth.admin(),
      async (c) => json({ media_info: await admin.info(mediaKeyOf(c)) }),
    )
    .delete("/media/:serverName/:mediaId", auth.admin(), async (c) => {
      const key = mediaKeyOf(c);
      assertLocal(key.origin, serverName);
      if (!await removal.delete(key)) throw notFound("Unknown media");
      return deleted([key.mediaId]);
    })
    .post("/media/delete", auth.admin(), (c) => deleteOld(c, admin))
    // The path of earlier times.
    .post("/media/:serverName/delete", auth.admin(), (c) => {
      assertLocal(pathIds(c, { serverName: parseServerName }).serverName, serverName);
      return deleteOld(c, admin);
    })
    .post("/purge_media_cache", auth.admin(), async (c) => {
      const { before_ts: before } = query(c, OldQuery.pick({ before_ts: true }));
      assertMilliseconds(before);
      return json({ deleted: await admin.purgeRemote(before) });
    });
  userMediaRoutes(app, deps);
}

/** Registers what is there without media of our own too. */
export function roomMediaRoutes(app: App, { auth, admin }: Pick<MediaAdminRoutesDeps, "auth" | "admin">): void {
  plain(app).get("/_synapse/admin/v1/room/:roomId/media", auth.admin(), async (c) => {
    return json(await admin.listOfRoom(pathIds(c, { roomId: parseRoomId }).roomId));
  });
}

function userMediaRoutes(app: App, { auth, admin, userAdmin }: MediaAdminRoutesDeps): void {
  async function pageOf(c: Ctx): Promise<UserMediaPage> {
    const { userId } = pathIds(c, { userId: parseUserId });
    const { from, limit, order_by: order, dir } = query(c, PageQuery);
    await userAdmin.require(userId, "Can only look up local users");
    // The newest come first where nothing else is asked for.
    const isDefault = order === undefined && dir === undefined;
    const backward = isDefault || dir === "b";
    return { userId, from, limit: Math.min(limit, MAX_PAGE), order: order ?? "created_ts", backward };
  }
  plain(app, "/_synapse/admin/v1")
    .get("/users/:userId/media", auth.admin(), async (c) => {
      const page = await pageOf(c);
      const { media, total } = await admin.listOfUser(page);
      const hasMore = page.from + page.limit < total;
      return json({ media, total, ...(hasMore ? { next_token: page.from + media.length } : {}) });
    })
    .delete("/users/:userId/media", auth.admin(), async (c) => deleted(await admin.deleteOfUser(await pageOf(c))));
}

async function deleteOld(c: Ctx, admin: MediaAdmin): Promise<Response> {
  const { before_ts: before, size_gt: size, keep_profiles: keepsAvatars } = query(c, OldQuery);
  assertMilliseconds(before);
  return deleted(await admin.deleteOld({ before, size, keepsAvatars }));
}

function deleted(ids: readonly string[]): Response {
  return json({ deleted_media: [...ids], total: ids.length });
}

function assertLocal(origin: ServerName, serverName: ServerName): void {
  if (origin !== serverName) throw new MatrixError(400, "M_UNKNOWN", "Can only delete local media");
}

function assertMilliseconds(beforeTs: number): void {
  if (beforeTs >= LEAST_TS) return;
  throw invalidParam('"before_ts" is in the year 1970: it must be in milliseconds');
}
