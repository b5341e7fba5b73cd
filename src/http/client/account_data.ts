/**
 * Account data and room tags. Spec: client-server API, "Client Config" and "Room Tagging".
 *   PUT, GET /user/{userId}/account_data/{type}
 *   PUT, GET /user/{userId}/rooms/{roomId}/account_data/{type}
 *   GET /user/{userId}/rooms/{roomId}/tags
 *   PUT, DELETE /user/{userId}/rooms/{roomId}/tags/{tag}
 */
import { badJson, forbidden, MatrixError } from "../../protocol/errors.ts";
import { parseRoomId, parseUserId, type RoomId, type UserId } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { AccountDataService } from "../../services/account_data.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { pathIds, pathText } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface AccountDataRoutesDeps {
  readonly auth: Auth;
  readonly accountData: AccountDataService;
  /** Push rules are account data too, kept by their own service. */
  readonly pushRulesContent: (userId: UserId) => Promise<JsonObject>;
}

const MAX_ACCOUNT_DATA_BYTES = 1_048_576;

/** Registers the account data and tag endpoints. */
export function accountDataRoutes(app: App, deps: AccountDataRoutesDeps): void {
  const { auth, accountData, pushRulesContent } = deps;
  deletionRoutes(app, deps);
  client(app)
    .put("/user/:userId/account_data/:type", auth.user(), async (c) => {
      const content = await readJsonObject(c, { maxBytes: MAX_ACCOUNT_DATA_BYTES });
      await accountData.set({ userId: ownUser(c), roomId: null, type: typeOf(c), content });
      return json({});
    })
    .get("/user/:userId/account_data/:type", auth.user(), async (c) => {
      const userId = ownUser(c);
      const type = typeOf(c);
      if (type === "m.push_rules") return json(await pushRulesContent(userId));
      return jsonText(await accountData.get({ userId, roomId: null, type }));
    })
    .put("/user/:userId/rooms/:roomId/account_data/:type", auth.user(), async (c) => {
      const content = await readJsonObject(c, { maxBytes: MAX_ACCOUNT_DATA_BYTES });
      await accountData.set({ userId: ownUser(c), roomId: roomOf(c), type: typeOf(c), content });
      return json({});
    })
    .get("/user/:userId/rooms/:roomId/account_data/:type", auth.user(), async (c) => {
      return jsonText(await accountData.get({ userId: ownUser(c), roomId: roomOf(c), type: typeOf(c) }));
    })
    .get("/user/:userId/rooms/:roomId/tags", auth.user(), async (c) => {
      return json({ tags: await accountData.tags({ userId: ownUser(c), roomId: roomOf(c) }) });
    })
    .put("/user/:userId/rooms/:roomId/tags/:tag", auth.user(), async (c) => {
      const content = await readJsonObject(c);
      if (content.order !== undefined && typeof content.order !== "number") throw badJson('"order" must be a number');
      await accountData.setTag({ userId: ownUser(c), roomId: roomOf(c), tag: tagOf(c), content });
      return json({});
    })
    .delete("/user/:userId/rooms/:roomId/tags/:tag", auth.user(), async (c) => {
      await accountData.deleteTag({ userId: ownUser(c), roomId: roomOf(c), tag: tagOf(c) });
      return json({});
    });
}

function ownUser(c: Ctx): UserId {
  const { userId } = pathIds(c, { userId: parseUserId });
  if (userId !== requester(c).userId) throw forbidden("Cannot use the account data of another user");
  return userId;
}

function roomOf(c: Ctx): RoomId {
  return pathIds(c, { roomId: parseRoomId }).roomId;
}

function typeOf(c: Ctx): string {
  return pathText(c, "type");
}

function tagOf(c: Ctx): string {
  const tag = pathText(c, "tag");
  if (new TextEncoder().encode(tag).length > 255) {
    throw new MatrixError(400, "M_INVALID_PARAM", "A tag may not exceed 255 bytes");
  }
  return tag;
}

/** Deletes as MSC3391 has it: the specification has no endpoint for that yet. */
function deletionRoutes(app: App, { auth, accountData }: AccountDataRoutesDeps): void {
  client(app, ["unstable/org.matrix.msc3391"])
    .delete("/user/:userId/account_data/:type", auth.user(), async (c) => {
      await accountData.delete({ userId: ownUser(c), roomId: null, type: typeOf(c) });
      return json({});
    })
    .delete("/user/:userId/rooms/:roomId/account_data/:type", auth.user(), async (c) => {
      await accountData.delete({ userId: ownUser(c), roomId: roomOf(c), type: typeOf(c) });
      return json({});
    });
}
