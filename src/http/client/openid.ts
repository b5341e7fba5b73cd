/**
 * OpenID tokens. Spec: client-server API, "OpenID".
 *   POST /_matrix/client/v3/user/{userId}/openid/request_token
 */
import { forbidden } from "../../protocol/errors.ts";
import { parseUserId } from "../../protocol/ids.ts";
import type { OpenId } from "../../services/openid.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface OpenIdRoutesDeps {
  readonly auth: Auth;
  readonly openId: OpenId;
}

/** Registers the endpoint. */
export function openIdRoutes(app: App, { auth, openId }: OpenIdRoutesDeps): void {
  client(app).post("/user/:userId/openid/request_token", auth.user(), async (c) => {
    const { userId } = pathIds(c, { userId: parseUserId });
    if (userId !== requester(c).userId) throw forbidden("Cannot request tokens for other users");
    await readJsonObject(c, { allowEmpty: true });
    return json(await openId.issue(userId));
  });
}
