/**
 * Rooms from outside. Spec: client-server API, "Spaces", "Room summaries" and "Mutual rooms".
 *   GET /_matrix/client/v1/rooms/{roomId}/hierarchy
 *   GET /_matrix/client/v1/room_summary/{roomIdOrAlias}
 *   GET /_matrix/client/v1/mutual_rooms
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { parseRoomAlias, parseRoomId, parseUserId, type RoomAlias, type RoomId } from "../../protocol/ids.ts";
import type { DirectoryService } from "../../services/directory.ts";
import type { MutualRooms } from "../../services/mutual_rooms.ts";
import type { RoomPreviews } from "../../services/room_previews.ts";
import type { SpaceHierarchy } from "../../services/space_hierarchy.ts";
import { type App, client, type Ctx, requester, sessionOf } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { boolParam, intParam, pathIds, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface SpaceRoutesDeps {
  readonly auth: Auth;
  readonly hierarchy: SpaceHierarchy;
  readonly previews: RoomPreviews;
  readonly mutualRooms: MutualRooms;
  readonly directory: DirectoryService;
}

const MAX_PAGE = 50;
const HierarchyQuery = z.object({
  suggested_only: boolParam().optional(),
  limit: intParam({ min: 1 }).optional(),
  max_depth: intParam().optional(),
  from: z.string().optional(),
});
const MutualQuery = z.object({
  user_id: z.string(),
  from: z.string().optional(),
  batch_token: z.string().optional(),
});

/** Registers the endpoints. */
export function spaceRoutes(app: App, deps: SpaceRoutesDeps): void {
  const { auth, hierarchy, mutualRooms } = deps;
  const summary = (c: Ctx) => roomSummary(c, deps);
  client(app, ["v1", "unstable/org.matrix.msc2946"]).get("/rooms/:roomId/hierarchy", auth.guestOk(), async (c) => {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    const params = query(c, HierarchyQuery);
    return json(
      await hierarchy.page(requester(c).userId, {
        roomId,
        suggestedOnly: params.suggested_only ?? false,
        maxDepth: params.max_depth ?? null,
        limit: Math.min(params.limit ?? MAX_PAGE, MAX_PAGE),
        from: params.from ?? null,
      }),
    );
  });
  client(app, ["v1"]).get("/room_summary/:roomIdOrAlias", auth.optional(), summary);
  client(app, ["unstable/im.nheko.summary"])
    .get("/summary/:roomIdOrAlias", auth.optional(), summary)
    .get("/rooms/:roomIdOrAlias/summary", auth.optional(), summary);
  const mutual = async (c: Ctx): Promise<Response> => {
    const { user_id: other, from, batch_token: batchToken } = query(c, MutualQuery);
    const otherId = parseUserId(other);
    if (otherId === null) throw invalidParam("The user id is invalid");
    return json(await mutualRooms.list(requester(c).userId, { otherId, from: from ?? batchToken ?? null }));
  };
  client(app, ["v1"]).get("/mutual_rooms", auth.user(), mutual);
  client(app, ["unstable/uk.half-shot.msc2666"]).get("/user/mutual_rooms", auth.user(), mutual);
}

async function roomSummary(c: Ctx, { previews, directory }: SpaceRoutesDeps): Promise<Response> {
  const { roomIdOrAlias } = pathIds(c, { roomIdOrAlias: parseIdOrAlias });
  const isAlias = roomIdOrAlias.startsWith("#");
  const roomId = isAlias ? (await directory.resolve(roomIdOrAlias as RoomAlias)).roomId : roomIdOrAlias as RoomId;
  return json(await previews.summary(sessionOf(c)?.requester.userId ?? null, roomId));
}

function parseIdOrAlias(text: string): RoomId | RoomAlias | null {
  return text.startsWith("#") ? parseRoomAlias(text) : parseRoomId(text);
}
