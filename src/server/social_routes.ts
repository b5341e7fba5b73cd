/** Registers the endpoints of relations, search, and what users see and say of each other. */
import type { App } from "../http/app.ts";
import { adminRoutes } from "../http/client/admin.ts";
import { callRoutes } from "../http/client/calls.ts";
import { dehydratedDeviceRoutes } from "../http/client/dehydrated_devices.ts";
import { delayedEventRoutes } from "../http/client/delayed_events.ts";
import { notificationRoutes } from "../http/client/notifications.ts";
import { oldSyncRoutes } from "../http/client/old_sync.ts";
import { openIdRoutes } from "../http/client/openid.ts";
import { reportRoutes } from "../http/client/reporting.ts";
import { appserviceRoutes } from "../http/client/appservice.ts";
import { thirdPartyRoutes } from "../http/client/third_party.ts";
import type { JsonObject } from "../protocol/json.ts";
import { relationRoutes } from "../http/client/relations.ts";
import { searchRoutes } from "../http/client/search.ts";
import { spaceRoutes } from "../http/client/spaces.ts";
import { threadSubscriptionRoutes } from "../http/client/thread_subscriptions.ts";
import { userDirectoryRoutes } from "../http/client/user_directory.ts";
import type { Auth } from "../http/middleware/auth.ts";
import type { RequestLimits } from "../http/middleware/rate_limit.ts";
import type { Parts } from "./parts.ts";

/** Registers the endpoints. */
// deno-lint-ignore synapse-ts/max-positional -- as the other groups of routes
export function socialRoutes(
  app: App,
  parts: Parts,
  guards: { readonly auth: Auth; readonly limits: RequestLimits },
): void {
  const { core: { config, clock }, rooms: { readers }, userData, social } = parts;
  const { auth, limits } = guards;
  relationRoutes(app, { auth, readers, relations: social.relations });
  searchRoutes(app, { auth, search: social.search });
  spaceRoutes(app, { auth, ...social, directory: userData.directory });
  adminRoutes(app, { auth, accountAdmin: social.accountAdmin });
  reportRoutes(app, { auth, limits, reports: social.reports });
  oldSyncRoutes(app, { auth, readers, oldSync: social.oldSync });
  delayedEventRoutes(app, { auth, limits, delayedEvents: social.delayedEvents });
  threadSubscriptionRoutes(app, { auth, threadSubscriptions: social.threadSubscriptions });
  dehydratedDeviceRoutes(app, { auth, dehydratedDevices: social.dehydratedDevices });
  openIdRoutes(app, { auth, openId: social.openId });
  notificationRoutes(app, { auth, notificationList: social.notificationList });
  thirdPartyRoutes(app, { auth, networks: parts.users.thirdParty });
  appserviceRoutes(app, { auth, actions: parts.users.appserviceActions });
  const rtcTransports = config.turn.matrixRtc.transports as readonly JsonObject[];
  callRoutes(app, { auth, clock, turn: config.turn, rtcTransports });
  userDirectoryRoutes(app, { auth, limits, userDirectory: social.userDirectory });
}
