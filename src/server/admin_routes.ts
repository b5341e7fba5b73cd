/** Synapse's admin API: its services and endpoints. */
import { registrationTokenRoutes } from "../http/admin/registration_tokens.ts";
import { userActionRoutes } from "../http/admin/user_actions.ts";
import { userDeviceRoutes } from "../http/admin/user_devices.ts";
import { userAdminRoutes } from "../http/admin/users.ts";
import type { App } from "../http/app.ts";
import type { Auth } from "../http/middleware/auth.ts";
import { RegistrationTokens } from "../services/registration_tokens.ts";
import { BUILT_IN_TYPES } from "../services/shared_secret_registration.ts";
import { UserAdmin } from "../services/user_admin.ts";
import type { Parts } from "./parts.ts";
import { requiresApproval } from "./usage.ts";

/** Registers the endpoints. */
export function addAdminRoutes(app: App, { core, accounts, social }: Parts, { auth }: { auth: Auth }): void {
  const { db, clock, config, isLocal } = core;
  const { extraUserTypes } = config.server.userTypes;
  const userAdmin = new UserAdmin({
    ...accounts,
    ...{ db, clock, isLocal },
    userTypes: [...BUILT_IN_TYPES, ...extraUserTypes],
    showsApproval: requiresApproval(config),
  });
  registrationTokenRoutes(app, { auth, registrationTokens: new RegistrationTokens({ db, clock }) });
  userActionRoutes(app, { auth, userAdmin, accountAdmin: social.accountAdmin, registration: accounts.registration });
  userAdminRoutes(app, { auth, userAdmin });
  userDeviceRoutes(app, { auth, userAdmin, devices: accounts.devices });
}
