/**
 * Administration over the client API. Spec: client-server API, "Server Administration".
 *   GET /_matrix/client/v3/admin/whois/{userId}
 *   GET, PUT /_matrix/client/v1/admin/lock/{userId}, /suspend/{userId}
 */
import { z } from "zod";
import { parseUserId } from "../../protocol/ids.ts";
import type { AccountAdmin, Restriction } from "../../services/account_admin.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface AdminRoutesDeps {
  readonly auth: Auth;
  readonly accountAdmin: AccountAdmin;
}

/** Registers the endpoints. */
export function adminRoutes(app: App, { auth, accountAdmin }: AdminRoutesDeps): void {
  client(app).get("/admin/whois/:userId", auth.user(), async (c) => {
    const { userId } = pathIds(c, { userId: parseUserId });
    return json(await accountAdmin.whois(requester(c), userId));
  });
  restrictionRoutes(app, { auth, accountAdmin, path: "lock", restriction: "locked" });
  restrictionRoutes(app, { auth, accountAdmin, path: "suspend", restriction: "suspended" });
}

function restrictionRoutes(
  app: App,
  { auth, accountAdmin, path, restriction }: AdminRoutesDeps & { path: string; restriction: Restriction },
): void {
  const Body = z.looseObject({ [restriction]: z.boolean() });
  client(app, ["v1", "unstable/uk.timedout.msc4323"])
    .get(`/admin/${path}/:userId`, auth.admin(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      return json({ [restriction]: await accountAdmin.get(userId, restriction) });
    })
    .put(`/admin/${path}/:userId`, auth.admin(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const value = (await readJson(c, Body))[restriction] === true;
      await accountAdmin.set(requester(c), { userId, restriction, value });
      return json({ [restriction]: value });
    });
}
