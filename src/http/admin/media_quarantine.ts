/**
 * Hiding media, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   POST /media/quarantine/{serverName}/{mediaId}, /media/unquarantine/{serverName}/{mediaId}
 *   POST /room/{roomId}/media/quarantine, /quarantine_media/{roomId}, /user/{userId}/media/quarantine
 *   GET  /media/quarantine_changes
 *   POST /media/protect/{mediaId}, /media/unprotect/{mediaId}
 */
import { z } from "zod";
import { parseMediaId } from "../../media/blob_paths.ts";
import type { MediaAdmin } from "../../media/media_admin.ts";
import type { MediaQuarantine } from "../../media/quarantine.ts";
import { invalidParam, notFound } from "../../protocol/errors.ts";
import { parseRoomId, parseUserId, type ServerName } from "../../protocol/ids.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, pathIds, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { mediaKeyOf } from "./media.ts";

/** What the routes are built from. */
export interface MediaQuarantineRoutesDeps {
  readonly auth: Auth;
  readonly serverName: ServerName;
  readonly admin: MediaAdmin;
  readonly quarantine: MediaQuarantine;
}

const CHANGES_PAGE = 100;
const ChangesQuery = z.object({ from: intParam().default(0) });

/** Registers the endpoints. */
export function mediaQuarantineRoutes(app: App, deps: MediaQuarantineRoutesDeps): void {
  const { auth, serverName, admin, quarantine } = deps;
  async function hideRoom(c: Ctx): Promise<Response> {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    return json({ num_quarantined: await admin.quarantineRoom(roomId, requester(c).userId) });
  }
  async function setSafe(c: Ctx, isSafe: boolean): Promise<Response> {
    const { mediaId } = pathIds(c, { mediaId: parseMediaId });
    if (!await quarantine.setSafe({ origin: serverName, mediaId }, isSafe)) throw notFound("Unknown media");
    return json({});
  }
  plain(app, "/_synapse/admin/v1")
    // As in Synapse, a file that is not here is no error: moderators quarantine what others have reported to them.
    .post("/media/quarantine/:serverName/:mediaId", auth.admin(), async (c) => {
      await quarantine.hide([mediaKeyOf(c)], requester(c).userId);
      return json({});
    })
    .post("/media/unquarantine/:serverName/:mediaId", auth.admin(), async (c) => {
      await quarantine.show(mediaKeyOf(c));
      return json({});
    })
    .post("/room/:roomId/media/quarantine", auth.admin(), hideRoom)
    // The path of earlier times.
    .post("/quarantine_media/:roomId", auth.admin(), hideRoom)
    .post("/user/:userId/media/quarantine", auth.admin(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      return json({ num_quarantined: await quarantine.hideAllOf(userId, requester(c).userId) });
    })
    .get("/media/quarantine_changes", auth.admin(), async (c) => {
      const { from } = query(c, ChangesQuery);
      const changes = await quarantine.changes(from, CHANGES_PAGE);
      if (changes === null) throw invalidParam('"from" is ahead of all changes: this server has not made it');
      return json({
        next_batch: changes.at(-1)?.position ?? from,
        changes: changes.map(({ origin, mediaId, isQuarantined }) => ({
          ...{ origin, media_id: mediaId, quarantined: isQuarantined },
        })),
      });
    })
    .post("/media/protect/:mediaId", auth.admin(), (c) => setSafe(c, true))
    .post("/media/unprotect/:mediaId", auth.admin(), (c) => setSafe(c, false));
}
