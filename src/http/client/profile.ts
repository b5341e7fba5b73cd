/**
 * Profiles. Spec: client-server API, "Profiles".
 *   GET              /_matrix/client/v3/profile/{userId}
 *   GET, PUT, DELETE /_matrix/client/v3/profile/{userId}/{keyName}
 */
import { invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";
import { parseUserId } from "../../protocol/ids.ts";
import type { Profiles } from "../../services/profile.ts";
import { type App, client, type Ctx, requester, sessionOf } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ProfileRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly profiles: Profiles;
}

/** Registers the endpoints. */
export function profileRoutes(app: App, { auth, limits, profiles }: ProfileRoutesDeps): void {
  client(app, ["v3", "r0", "unstable/uk.tcpip.msc4133"])
    .get("/profile/:userId", auth.optional(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      return json(await profiles.get(sessionOf(c)?.requester ?? null, userId));
    })
    .get("/profile/:userId/:keyName", auth.optional(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const key = c.req.param("keyName") ?? "";
      return json(await profiles.getField(sessionOf(c)?.requester ?? null, { userId, key }));
    })
    .put("/profile/:userId/:keyName", auth.activeGuestOk(), limits.perUser("rc_profile"), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const key = ownKey(c);
      const body = await readJsonObject(c);
      const value = Object.hasOwn(body, key) ? body[key] : undefined;
      if (value === undefined) throw missingParam(key);
      const others = Object.keys(body).filter((name) => name !== key);
      if (others.length > 0 && key !== "displayname" && key !== "avatar_url") {
        throw invalidParam("The body must hold the named field only");
      }
      await profiles.setField({ requester: requester(c), userId, key, value });
      return json({});
    })
    .delete("/profile/:userId/:keyName", auth.activeGuestOk(), limits.perUser("rc_profile"), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const key = ownKey(c);
      await profiles.setField({ requester: requester(c), userId, key, value: undefined });
      return json({});
    });
}

/** Returns the field to change; guests have a display name and nothing else. */
function ownKey(c: Ctx): string {
  const key = c.req.param("keyName") ?? "";
  if (requester(c).isGuest && key !== "displayname") {
    throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may only change their display name");
  }
  return key;
}
