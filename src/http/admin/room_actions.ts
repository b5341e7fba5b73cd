/**
 * What administrators do in rooms, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   POST       /join/{roomIdOrAlias}
 *   POST       /rooms/{roomIdOrAlias}/make_room_admin
 *   GET|DELETE /rooms/{roomIdOrAlias}/forward_extremities
 */
import { z } from "zod";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { parseRoomAlias, parseRoomId, parseServerName, parseUserId } from "../../protocol/ids.ts";
import type { RoomId, ServerName, UserId } from "../../protocol/ids.ts";
import type { DirectoryService } from "../../services/directory.ts";
import type { RoomAdmin } from "../../services/room_admin.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathText, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RoomActionRoutesDeps {
  readonly auth: Auth;
  readonly directory: DirectoryService;
  readonly roomAdmin: RoomAdmin;
}

interface Place {
  readonly roomId: RoomId;
  readonly servers: readonly ServerName[];
}

const MAX_VIA = 50;
const JoinBody = z.looseObject({ user_id: z.string() });
const AdminBody = z.looseObject({ user_id: z.string().optional() });

/** Registers the endpoints. */
export function roomActionRoutes(app: App, { auth, directory, roomAdmin }: RoomActionRoutesDeps): void {
  plain(app, "/_synapse/admin/v1")
    .post("/join/:room", auth.admin(), async (c) => {
      const userId = userIdOf((await readJson(c, JoinBody)).user_id);
      const { roomId, servers } = await placeOf(c, directory);
      const named = searchParams(c).getAll("server_name").slice(0, MAX_VIA).map(parseServerName);
      const via = [...named.filter((name) => name !== null), ...servers];
      await roomAdmin.join(requester(c), { roomId, userId, via });
      return json({ room_id: roomId });
    })
    .post("/rooms/:room/make_room_admin", auth.admin(), async (c) => {
      const { user_id: given } = await readJson(c, AdminBody, { allowEmpty: true });
      const userId = given === undefined ? requester(c).userId : userIdOf(given);
      await roomAdmin.makeAdmin({ roomId: (await placeOf(c, directory)).roomId, userId });
      return json({});
    })
    .get("/rooms/:room/forward_extremities", auth.admin(), async (c) => {
      const results = await roomAdmin.extremities((await placeOf(c, directory)).roomId);
      return json({ count: results.length, results });
    })
    .delete("/rooms/:room/forward_extremities", auth.admin(), async (c) => {
      const { roomId } = await placeOf(c, directory);
      return json({ deleted: await roomAdmin.mergeExtremities(roomId) });
    });
}

function userIdOf(text: string): UserId {
  const userId = parseUserId(text);
  if (userId === null) throw invalidParam('"user_id" is not a user id');
  return userId;
}

/** Returns the room that the path names. Throws as Synapse does, without a code of the specification. */
async function placeOf(c: Ctx, directory: DirectoryService): Promise<Place> {
  const text = pathText(c, "room");
  const roomId = parseRoomId(text);
  if (roomId !== null) return { roomId, servers: [] };
  const alias = parseRoomAlias(text);
  if (alias === null) throw new MatrixError(400, "M_UNKNOWN", `${text} was not legal room ID or room alias`);
  return await directory.resolve(alias);
}
