/** Registers every endpoint on the router. */
import { accountRoutes } from "../http/client/account.ts";
import { accountDataRoutes } from "../http/client/account_data.ts";
import { capabilityRoutes } from "../http/client/capabilities.ts";
import { createRoomRoutes } from "../http/client/create_room.ts";
import { deviceRoutes } from "../http/client/devices.ts";
import { directoryRoutes } from "../http/client/directory.ts";
import { federationWhitelistRoutes } from "../http/client/federation_whitelist.ts";
import { keyBackupRoutes } from "../http/client/key_backup.ts";
import { keyRoutes } from "../http/client/keys.ts";
import { loginRoutes } from "../http/client/login.ts";
import { mediaRoutes } from "../http/client/media.ts";
import { membershipRoutes } from "../http/client/membership.ts";
import { presenceRoutes } from "../http/client/presence.ts";
import { profileRoutes } from "../http/client/profile.ts";
import { pushRuleRoutes } from "../http/client/push_rules.ts";
import { pusherRoutes } from "../http/client/pushers.ts";
import { receiptRoutes } from "../http/client/receipts.ts";
import { registerRoutes } from "../http/client/register.ts";
import { eventRelationshipRoutes } from "../http/client/event_relationships.ts";
import { retentionRoutes } from "../http/client/retention.ts";
import { roomReadRoutes } from "../http/client/room_reads.ts";
import { roomSendRoutes } from "../http/client/room_send.ts";
import { slidingSyncRoutes } from "../http/client/sliding_sync.ts";
import { syncRoutes } from "../http/client/sync.ts";
import { threepidRoutes } from "../http/client/threepids.ts";
import { toDeviceRoutes } from "../http/client/to_device.ts";
import { versionRoutes } from "../http/client/versions.ts";
import { adminRegisterRoutes } from "../http/admin/register.ts";
import { serverNoticeRoutes } from "../http/admin/server_notices.ts";
import { type App, createApp, requester } from "../http/app.ts";
import { healthRoutes } from "../http/health.ts";
import { metricsRoutes } from "../http/metrics.ts";
import { Auth } from "../http/middleware/auth.ts";
import { RequestLimits } from "../http/middleware/rate_limit.ts";
import { requirePassword } from "../http/middleware/uia.ts";
import { clientWellKnown, type WellKnownOptions, wellKnownRoutes } from "../http/well_known.ts";
import type { JsonObject } from "../protocol/json.ts";
import { parseRoomAlias } from "../protocol/ids.ts";
import { listRoomVersions } from "../protocol/room_versions.ts";
import { addAdminRoutes } from "./admin_routes.ts";
import { addFederationExchangeRoutes } from "./federation_exchange.ts";
import { addFederationRoomRoutes } from "./federation_rooms.ts";
import { addFederationRoutes } from "./federation.ts";
import type { Parts } from "./parts.ts";
import { addMasRoutes, usingReset, withResetAllowed } from "./mas.ts";
import { configuredFeatures, featuresOf } from "./features.ts";
import { pageRoutes } from "./page_routes.ts";
import { rendezvousParts } from "./rendezvous.ts";
import { socialRoutes } from "./social_routes.ts";
import { redactRelated } from "../services/related_redactions.ts";
import { selectMayReset } from "../storage/cross_signing_resets.ts";
import { parseSyncToken } from "../streams/tokens.ts";

/** The guards that routes share. */
interface Guards {
  readonly auth: Auth;
  readonly limits: RequestLimits;
}

/** Builds the router with all endpoints. */
export function buildApp(parts: Parts): App {
  const app = createApp();
  const guards = {
    auth: new Auth({
      ...parts.accounts,
      usage: parts.usage.limits,
      tracksAppserviceUsers: parts.core.config.api.trackAppserviceUserIps,
    }),
    limits: new RequestLimits(parts.accounts.limits),
  };
  serverRoutes(app, parts, guards);
  accountParts(app, parts, guards);
  pageRoutes(app, parts, guards);
  roomParts(app, parts, guards);
  userDataParts(app, parts, guards);
  encryptionParts(app, parts, guards);
  addMasRoutes(app, parts);
  socialRoutes(app, parts, guards);
  rendezvousParts(app, { core: parts.core, auth: guards.auth });
  if (parts.core.config.media.enableMediaRepo) mediaRoutes(app, { ...guards, ...parts.media });
  addAdminRoutes(app, parts, guards);
  addFederationRoutes(app, parts.federation, parts.core);
  addFederationRoomRoutes(app, parts);
  addFederationExchangeRoutes(app, parts);
  return app;
}

function serverRoutes(app: App, { core: { config, meters, mas }, accounts, social }: Parts, { auth }: Guards): void {
  const roomVersions = Object.fromEntries(
    listRoomVersions().map(({ id, stable }) => [id, stable ? "stable" as const : "unstable" as const]),
  );
  metricsRoutes(app, meters);
  healthRoutes(app, { webClientLocation: config.server.webClientLocation });
  wellKnownRoutes(app, { serverName: config.serverName, options: wellKnownOptions(config), mas });
  versionRoutes(app, {
    ...{ auth, unstableFeatures: configuredFeatures(config) },
    featuresOf: (userId) => featuresOf(accounts.userFeatures, userId),
  });
  if (config.federation.federationWhitelistEndpointEnabled) {
    federationWhitelistRoutes(app, { auth, whitelist: config.federation.federationDomainWhitelist });
  }
  capabilityRoutes(app, {
    auth,
    options: {
      ...{ ...config.registration, ...config.passwords, ...config.sessions },
      mayAddAddresses: config.email.email !== null || config.registration.accountThreepidDelegates.msisdn !== null,
      forgetRoomsOnLeave: config.rooms.forgetRoomsOnLeave,
      delayedEvents: social.delayedEvents.bounds,
    },
    roomVersions,
    defaultRoomVersion: config.server.defaultRoomVersion,
  });
}

function wellKnownOptions(config: Parts["core"]["config"]): WellKnownOptions {
  return {
    publicBaseurl: config.hasPublicBaseurl ? config.publicBaseurl : null,
    serveServerWellknown: config.server.serveServerWellknown,
    extraWellKnownClientContent: config.server.extraWellKnownClientContent as JsonObject,
    rtcTransports: config.turn.matrixRtc.transports as readonly JsonObject[],
    identityServer: config.registration.defaultIdentityServer,
    adminContact: config.blocking.adminContact,
  };
}

function accountParts(
  app: App,
  { core: { config, db, mas }, accounts }: Parts,
  { auth, limits }: Guards,
): void {
  const { serverName } = config;
  const { registration, login, loginOptions: options, tokens, devices, uia, profiles } = accounts;
  const wellKnown = clientWellKnown(wellKnownOptions(config));
  const isDelegated = mas !== null;
  registerRoutes(app, { auth, limits, registration, serverName, isDelegated });
  if (!isDelegated) {
    adminRegisterRoutes(app, { sharedSecretRegistration: accounts.sharedSecretRegistration, serverName });
  }
  if (!isDelegated) {
    loginRoutes(app, {
      ...{ auth, login, tokens, devices, uia, serverName, options, wellKnown },
      accounts: accounts.accounts,
    });
  }
  accountRoutes(app, {
    ...{ auth, accounts: accounts.accounts, uia, options, isDelegated, hasEmail: accounts.validations.isEnabled },
    hasPhones: accounts.phones.isEnabled,
    consumeProof: (proven) => db.transaction((tx) => accounts.threepids.consume(tx, proven)),
  });
  threepidRoutes(app, { auth, isDelegated, ...accounts });
  deviceRoutes(app, { auth, devices, uia, isDelegated });
  profileRoutes(app, { auth, limits, profiles });
}

function roomParts(
  app: App,
  { core: { config, db }, rooms, accounts, userData, social, sync, exchange }: Parts,
  { auth, limits }: Guards,
): void {
  const { engine } = rooms;
  const { directory, publicRooms } = userData;
  createRoomRoutes(app, {
    ...{ auth, limits, engine, rateLimits: accounts.limits, thirdPartyInvites: exchange.thirdPartyInvites },
    assertMayUseAlias: (who, localpart) => {
      const alias = parseRoomAlias(`#${localpart}:${config.serverName}`);
      if (alias !== null) accounts.appservices.assertMayUseAlias(who, alias);
    },
  });
  membershipRoutes(app, {
    ...{ auth, limits, rateLimits: accounts.limits, engine, directory },
    thirdPartyInvites: exchange.thirdPartyInvites,
  });
  roomSendRoutes(app, {
    ...{ auth, limits, engine, delayedEvents: social.delayedEvents },
    redactRelated: config.experimental.experimentalFeatures.isEnabled("msc3912_enabled")
      ? (related) => redactRelated(db, related)
      : null,
    allowsSticky: config.experimental.experimentalFeatures.isEnabled("msc4354_enabled"),
  });
  const { retention } = config.blocking;
  if (retention.enabled && config.experimental.experimentalFeatures.isEnabled("msc1763_enabled")) {
    retentionRoutes(app, { auth, options: retention });
  }
  roomReadRoutes(app, { auth, ...rooms });
  if (rooms.relationships !== null) eventRelationshipRoutes(app, { auth, relationships: rooms.relationships });
  syncRoutes(app, { auth, ...sync });
  slidingSyncRoutes(app, {
    ...{ auth, ...sync },
    isOnFor: (userId) => accounts.userFeatures.isOn("msc3575", userId),
  });
  directoryRoutes(app, {
    ...{ auth, directory, publicRooms },
    serverName: config.serverName,
    remotePublicRooms: (server, body) => exchange.lookUps.publicRooms(server, body),
    allowPublicRoomsWithoutAuth: config.server.allowPublicRoomsWithoutAuth,
  });
}

function userDataParts(
  app: App,
  { rooms, userData, push, pushRules, serverNotices, accounts }: Parts,
  { auth, limits }: Guards,
): void {
  const { accountData, receipts, typing, presence, toDevice } = userData;
  accountDataRoutes(app, { auth, accountData, pushRulesContent: (userId) => pushRules.content(userId) });
  receiptRoutes(app, {
    ...{ auth, receipts, typing },
    isJoined: (userId, roomId) => rooms.facts.isJoined(userId, roomId),
    noteActivity: (requester) => presence.noteActivity(requester),
  });
  presenceRoutes(app, { auth, limits, presence });
  pushRuleRoutes(app, { auth, pushRules });
  pusherRoutes(app, {
    ...{ auth, pushers: push.pushers },
    canBeOff: (userId) => accounts.userFeatures.isOn("msc3881", userId),
  });
  serverNoticeRoutes(app, { auth, serverNotices });
  toDeviceRoutes(app, { auth, toDevice });
}

function encryptionParts(
  app: App,
  { core, accounts: { uia }, userData, exchange }: Parts,
  { auth, limits }: Guards,
): void {
  const { deviceKeys, crossSigning, deviceLists, keyBackup: backups } = userData;
  keyRoutes(app, {
    ...{ auth, limits, deviceKeys, crossSigning, deviceLists, isLocal: core.isLocal },
    remoteDevices: exchange.remoteDevices,
    withUserAuth: async (c, body, action) => {
      if (core.mas !== null) return await withResetAllowed(c, { core, work: action });
      const { userId } = requester(c);
      if (await selectMayReset(core.db, { userId, now: core.clock.now() })) {
        return await usingReset(core.db, { userId, work: action });
      }
      const conditions = { action: "POST /keys/device_signing/upload", allowRecent: true };
      return await requirePassword(c, { uia, body, conditions, work: action });
    },
    rangeBetween: (from, to) => {
      const [start, end] = [parseSyncToken(from), parseSyncToken(to)];
      return start && end && {
        deviceLists: { after: start.device_lists, upTo: end.device_lists },
        events: { after: start.events, upTo: end.events },
      };
    },
  });
  keyBackupRoutes(app, { auth, backups });
}
