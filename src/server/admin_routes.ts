/** Synapse's admin API: its services and endpoints. */
import { validityAdminRoutes } from "../http/admin/account_validity.ts";
import { experimentalFeatureRoutes } from "../http/admin/experimental_features.ts";
import { mediaAdminRoutes, roomMediaRoutes } from "../http/admin/media.ts";
import { mediaQuarantineRoutes } from "../http/admin/media_quarantine.ts";
import { registrationTokenRoutes } from "../http/admin/registration_tokens.ts";
import { statisticRoutes } from "../http/admin/statistics.ts";
import { userActionRoutes } from "../http/admin/user_actions.ts";
import { userDeviceRoutes } from "../http/admin/user_devices.ts";
import { userLimitRoutes } from "../http/admin/user_limits.ts";
import { userLookupRoutes } from "../http/admin/user_lookups.ts";
import { userAdminRoutes } from "../http/admin/users.ts";
import type { App } from "../http/app.ts";
import type { Auth } from "../http/middleware/auth.ts";
import { RegistrationTokens } from "../services/registration_tokens.ts";
import { BUILT_IN_TYPES } from "../services/shared_secret_registration.ts";
import { Statistics } from "../services/statistics.ts";
import { UserAdmin } from "../services/user_admin.ts";
import { UserLookups } from "../services/user_lookups.ts";
import { addAdministrationRoutes } from "./administration_routes.ts";
import type { Parts } from "./parts.ts";
import { requiresApproval } from "./usage.ts";

/** Registers the endpoints. */
export function addAdminRoutes(app: App, parts: Parts, { auth }: { auth: Auth }): void {
  const { core, accounts, social } = parts;
  const { db, clock, config, isLocal, notifier } = core;
  const isDelegated = core.mas !== null;
  const { extraUserTypes } = config.server.userTypes;
  const userAdmin = new UserAdmin({
    ...accounts,
    ...{ db, clock, isLocal },
    userTypes: [...BUILT_IN_TYPES, ...extraUserTypes],
    showsApproval: requiresApproval(config),
    isDelegated,
  });
  addAdministrationRoutes(app, parts, { auth });
  roomMediaRoutes(app, { auth, admin: parts.media.admin });
  if (config.media.enableMediaRepo) {
    const { serverName } = config;
    mediaAdminRoutes(app, { auth, serverName, userAdmin, ...parts.media });
    mediaQuarantineRoutes(app, { auth, serverName, ...parts.media });
  }
  if (!isDelegated) {
    registrationTokenRoutes(app, { auth, registrationTokens: new RegistrationTokens({ db, clock }) });
    validityAdminRoutes(app, { auth, userAdmin, validity: accounts.validity });
  }
  const { accountAdmin } = social;
  userActionRoutes(app, { auth, userAdmin, accountAdmin, registration: accounts.registration, isDelegated });
  userAdminRoutes(app, { auth, userAdmin });
  userDeviceRoutes(app, { auth, userAdmin, devices: accounts.devices });
  statisticRoutes(app, { auth, statistics: new Statistics({ db }) });
  const lookups = new UserLookups({ db, isLocal, lastPosition: () => notifier.position("events") });
  userLookupRoutes(app, { auth, userAdmin, lookups, isLocal });
  experimentalFeatureRoutes(app, { auth, userAdmin, userFeatures: accounts.userFeatures });
  userLimitRoutes(app, { auth, userAdmin, limitOverrides: accounts.limitOverrides });
}
