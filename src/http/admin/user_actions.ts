/**
 * Single things done to accounts, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   GET  /server_version, /whois/{userId}, /username_available
 *   POST /deactivate/{userId}, /reset_password/{userId}, /users/{userId}/login
 *   PUT  /suspend/{userId}
 *   GET, PUT /users/{userId}/admin
 *   POST, DELETE /users/{userId}/shadow_ban
 *   POST /users/{userId}/_allow_cross_signing_replacement_without_uia
 */
import { z } from "zod";
import { VERSION } from "../../lib/version.ts";
import { parseUserId, type UserId } from "../../protocol/ids.ts";
import type { AccountAdmin } from "../../services/account_admin.ts";
import type { Registration } from "../../services/registration.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface UserActionRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
  readonly accountAdmin: AccountAdmin;
  readonly registration: Registration;
  /** Whether the authentication service has the accounts: passwords, tokens and roles are then its. */
  readonly isDelegated: boolean;
}

const PREFIX = "/_synapse/admin/v1";
const DeactivateBody = z.looseObject({ erase: z.boolean().optional() });
const PasswordBody = z.looseObject({ new_password: z.string().max(512), logout_devices: z.boolean().optional() });
const LoginBody = z.looseObject({ valid_until_ms: z.int().nullish() });

/** Registers the endpoints. */
export function userActionRoutes(app: App, deps: UserActionRoutesDeps): void {
  const { auth, userAdmin, accountAdmin } = deps;
  plain(app, PREFIX)
    .get("/server_version", () => json({ server_version: VERSION }))
    .get("/whois/:userId", auth.user(), async (c) => json(await accountAdmin.whois(requester(c), userOf(c))))
    .post("/deactivate/:userId", auth.admin(), async (c) => {
      const { erase = false } = await readJson(c, DeactivateBody, { allowEmpty: true });
      await userAdmin.deactivate(userOf(c), erase);
      return json({ id_server_unbind_result: "success" });
    })
    .post("/users/:userId/_allow_cross_signing_replacement_without_uia", auth.admin(), async (c) => {
      return json({ updatable_without_uia_before_ms: await userAdmin.allowKeyReplacement(userOf(c)) });
    });
  flagRoutes(app, deps);
  if (!deps.isDelegated) ownAccountRoutes(app, deps);
}

/** What is not there where the authentication service has the accounts. */
function ownAccountRoutes(app: App, { auth, userAdmin }: UserActionRoutesDeps): void {
  const AdminBody = z.looseObject({ admin: z.boolean() });
  plain(app, PREFIX)
    .post("/reset_password/:userId", auth.admin(), async (c) => {
      const { new_password: password, logout_devices: logoutDevices = true } = await readJson(c, PasswordBody);
      await userAdmin.resetPassword(userOf(c), { password, logoutDevices });
      return json({});
    })
    .post("/users/:userId/login", auth.admin(), async (c) => {
      const { valid_until_ms: expiresTs = null } = await readJson(c, LoginBody, { allowEmpty: true });
      return json({ access_token: await userAdmin.logInAs(requester(c), { userId: userOf(c), expiresTs }) });
    })
    .get("/users/:userId/admin", auth.admin(), async (c) => {
      const { isAdmin } = await userAdmin.require(userOf(c), "Only local users can be admins of this homeserver");
      return json({ admin: isAdmin });
    })
    .put("/users/:userId/admin", auth.admin(), async (c) => {
      const { admin: isAdmin } = await readJson(c, AdminBody);
      await userAdmin.setAdmin(requester(c), { userId: userOf(c), isAdmin });
      return json({});
    });
}

function flagRoutes(app: App, { auth, userAdmin, registration }: UserActionRoutesDeps): void {
  const SuspendBody = z.looseObject({ suspend: z.boolean() });
  const NameQuery = z.object({ username: z.string() });
  plain(app, PREFIX)
    .get("/username_available", auth.admin(), async (c) => {
      await registration.assertAvailable(query(c, NameQuery).username);
      return json({ available: true });
    })
    .put("/suspend/:userId", auth.admin(), async (c) => {
      const { suspend } = await readJson(c, SuspendBody);
      const userId = userOf(c);
      await userAdmin.setSuspended(userId, suspend);
      return json({ [`user_${userId}_suspended`]: suspend });
    })
    .post("/users/:userId/shadow_ban", auth.admin(), async (c) => {
      await userAdmin.setShadowBanned(userOf(c), true);
      return json({});
    })
    .delete("/users/:userId/shadow_ban", auth.admin(), async (c) => {
      await userAdmin.setShadowBanned(userOf(c), false);
      return json({});
    });
}

function userOf(c: Ctx): UserId {
  return pathIds(c, { userId: parseUserId }).userId;
}
