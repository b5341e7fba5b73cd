/**
 * Deleting and blocking rooms, as in Synapse's admin API. All paths are below `/_synapse/admin`.
 *   DELETE  /v1/rooms/{roomId}, /v2/rooms/{roomId}
 *   GET     /v2/rooms/{roomId}/delete_status, /v2/rooms/delete_status/{deleteId}
 *   GET|PUT /v1/rooms/{roomId}/block
 */
import { z } from "zod";
import { badJson, MatrixError } from "../../protocol/errors.ts";
import { parseRoomId, parseUserId, type RoomId } from "../../protocol/ids.ts";
import type { BlockedRooms } from "../../services/blocked_rooms.ts";
import type { RoomShutdown, ShutdownRequest } from "../../services/room_shutdown.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RoomDeletionRoutesDeps {
  readonly auth: Auth;
  readonly blockedRooms: BlockedRooms;
  readonly roomShutdown: RoomShutdown;
}

const MAX_TEXT = 10_000;
const Text = z.string().max(MAX_TEXT).refine((text) => !text.includes("\u0000"));
const DeleteBody = z.looseObject({
  new_room_user_id: z.string().max(255).nullish(),
  room_name: Text.nullish(),
  message: Text.nullish(),
  block: z.boolean().optional(),
  purge: z.boolean().optional(),
  force_purge: z.boolean().optional(),
});
const BlockBody = z.looseObject({ block: z.boolean() });

/** Registers the endpoints. */
export function roomDeletionRoutes(app: App, { auth, blockedRooms, roomShutdown }: RoomDeletionRoutesDeps): void {
  plain(app, "/_synapse/admin/v1/rooms")
    .delete("/:roomId", auth.admin(), async (c) => {
      const { id, ended } = await roomShutdown.begin(await readRequest(c));
      await ended;
      const { shutdown_room: result = null } = await roomShutdown.status(id);
      return json(result);
    })
    .get("/:roomId/block", auth.admin(), async (c) => {
      const by = await blockedRooms.blocker(legalRoomId(c));
      return json(by === null ? { block: false } : { block: true, user_id: by });
    })
    .put("/:roomId/block", auth.admin(), async (c) => {
      const { block } = await readJson(c, BlockBody);
      await blockedRooms.set({ roomId: legalRoomId(c), by: requester(c).userId, isBlocked: block });
      return json({ block });
    });
  plain(app, "/_synapse/admin/v2/rooms")
    .delete("/:roomId", auth.admin(), async (c) => {
      const { id } = await roomShutdown.begin(await readRequest(c));
      return json({ delete_id: id });
    })
    .get(
      "/delete_status/:deleteId",
      auth.admin(),
      async (c) => json(await roomShutdown.status(pathText(c, "deleteId"))),
    )
    .get("/:roomId/delete_status", auth.admin(), async (c) => {
      return json({ results: await roomShutdown.statusOfRoom(legalRoomId(c)) });
    });
}

async function readRequest(c: Ctx): Promise<ShutdownRequest> {
  const body = await readJson(c, DeleteBody);
  const { new_room_user_id: user } = body;
  const newRoomUser = typeof user === "string" ? parseUserId(user) : null;
  if (typeof user === "string" && newRoomUser === null) throw badJson('"new_room_user_id" is not a user id');
  return {
    ...{ roomId: legalRoomId(c), requester: requester(c).userId, newRoomUser },
    // As Synapse does, what is empty is as what is missing.
    newRoomName: body.room_name || null,
    message: body.message || null,
    block: body.block ?? false,
    purge: body.purge ?? true,
    forcePurge: body.force_purge ?? false,
  };
}

/** Returns the room of the path, which need not be known. Throws as Synapse does, without a code of the specification. */
function legalRoomId(c: Ctx): RoomId {
  const text = pathText(c, "roomId");
  const roomId = parseRoomId(text);
  if (roomId === null) throw new MatrixError(400, "M_UNKNOWN", `${text} is not a legal room ID`);
  return roomId;
}
