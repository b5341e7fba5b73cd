/** Accounts, logins, devices and profiles. */
import type { IdentityServers } from "../federation/identity_servers.ts";
import { getLogger } from "../lib/log.ts";
import type { UserId } from "../protocol/ids.ts";
import { Accounts, type DeactivationListener } from "../services/accounts.ts";
import { Appservices } from "../services/appservices.ts";
import { Credentials } from "../services/credentials.ts";
import { type DeviceListener, Devices } from "../services/devices.ts";
import { LastSeen } from "../services/last_seen.ts";
import { JwtLogin } from "../services/jwt_login.ts";
import { Login } from "../services/login.ts";
import { Passwords } from "../services/passwords.ts";
import { type MemberProfile, Profiles } from "../services/profile.ts";
import { ProfileChanges } from "../services/profile_changes.ts";
import { limitsOf, RateLimits } from "../services/rate_limits.ts";
import { RateLimitOverrides } from "../services/rate_limit_overrides.ts";
import { Registration } from "../services/registration.ts";
import { SharedSecretRegistration } from "../services/shared_secret_registration.ts";
import { type ThreepidChange, Threepids } from "../services/threepids.ts";
import { Tokens } from "../services/tokens.ts";
import { type UserFeature, UserFeatures } from "../services/user_features.ts";
import { Uia } from "../services/uia.ts";
import { uiaStages } from "../services/uia_stages.ts";
import type { Tx } from "../storage/database.ts";
import { selectExternalIds } from "../storage/external_ids.ts";
import { selectUser } from "../storage/users.ts";
import { type UserRoomActions, UserRooms } from "../workers/user_rooms.ts";
import type { Core } from "./core.ts";
import { buildCaptcha, buildValidations, registrationTerms } from "./mail.ts";
import { buildActiveUsers, buildValidity, requiresApproval } from "./usage.ts";
import { noticesUserOf } from "./server_notices.ts";

/** What accounts need from the layers around them; bound once those exist. */
export interface AccountHooks {
  /** Asks the server of a remote user; null when it does not say. */
  readonly lookUpProfile: ConstructorParameters<typeof Profiles>[0]["lookUpRemote"];
  readonly onDeviceChange: DeviceListener;
  readonly onRegistered: (user: { userId: UserId; isGuest: boolean }) => Promise<void>;
  readonly userRoomActions: UserRoomActions;
  readonly onProfileChange: (userId: UserId) => void;
  readonly onDeactivated: DeactivationListener;
  readonly onReactivated: (tx: Tx, userId: UserId) => Promise<void>;
  readonly identityServers: IdentityServers;
  readonly onThreepidChange: (tx: Tx, change: ThreepidChange) => Promise<void>;
  readonly onTermsAccepted: (tx: Tx, user: { userId: UserId; version: string }) => Promise<void>;
}

/** The account services. */
export type AccountParts = ReturnType<typeof buildAccounts>;

/** Builds the account services. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildAccounts(core: Core, hooks: AccountHooks) {
  const { config, db, clock } = core;
  const { serverName, sessions } = config;
  const limits = new RateLimits({ limits: limitsOf(config.ratelimits), clock });
  const { passwordConfig } = config.passwords;
  const passwords = new Passwords({ rounds: config.registration.bcryptRounds, pepper: passwordConfig.pepper });
  const credentials = new Credentials({ db, serverName, passwords, limits, policy: passwordConfig.policy });
  const introspect = core.mas === null ? null : core.mas.introspect.bind(core.mas);
  const tokens = new Tokens({ db, clock, lifetimes: sessions, introspect });
  const appservices = new Appservices({ db, serverName, tokens, registrations: core.appserviceRegistrations });
  const lastSeen = new LastSeen({ db, clock, tracksPuppetedUsers: config.api.trackPuppetedUserIps });
  const devices = new Devices({ db, clock, tokens, onChange: hooks.onDeviceChange });
  const verified = buildRegistration(core, { hooks, credentials, devices, tokens, limits, appservices });
  const { registration } = verified;
  const loginOptions = { passwordConfig, loginViaExistingSession: sessions.loginViaExistingSession };
  const { activeUsers } = verified;
  const login = new Login({
    ...{ db, activeUsers, appservices, credentials, devices, tokens, limits, registration },
    jwt: buildJwtLogin(core),
    providers: core.sso.all.map(({ info }) => info),
    hasCas: core.sso.all.some(({ info }) => info.id === "cas"),
    options: loginOptions,
  });
  const profileChanges = new ProfileChanges({ db, notifier: core.notifier });
  const { profiles, userRooms } = buildProfiles(core, { hooks, profileChanges });
  return {
    ...{
      limits,
      limitOverrides: new RateLimitOverrides({ db, limits }),
      passwords,
      credentials,
      tokens,
      appservices,
      lastSeen,
      devices,
      login,
      loginOptions,
      userFeatures: buildUserFeatures(core),
    },
    ...{ profiles, profileChanges, userRooms, ...verified },
    accounts: new Accounts({
      ...{ db, credentials, devices, tokens, profileChanges },
      ...{ onDeactivated: hooks.onDeactivated, onReactivated: hooks.onReactivated },
      wakeDepartures: () => userRooms.wakeDepartures(),
    }),
    sharedSecretRegistration: buildSharedSecretRegistration(core, { credentials, registration }),
  };
}

function buildUserFeatures({ db, config: { experimental } }: Core): UserFeatures {
  const { experimentalFeatures } = experimental;
  // What is in the specification by now is on for everybody.
  const isOnForAll = (feature: UserFeature) =>
    feature === "msc4222" || experimentalFeatures.isEnabled(`${feature}_enabled`);
  return new UserFeatures({ db, isOnForAll });
}

function buildJwtLogin({ config: { sso: { jwtConfig } }, clock }: Core): JwtLogin | null {
  if (jwtConfig === null || !jwtConfig.enabled) return null;
  const { secret, algorithm } = jwtConfig;
  return new JwtLogin({ clock, options: { ...jwtConfig, secret: secret ?? "", algorithm: algorithm ?? "" } });
}

function buildSharedSecretRegistration(
  { config, db, clock }: Core,
  { credentials, registration }: { credentials: Credentials; registration: Registration },
): SharedSecretRegistration {
  return new SharedSecretRegistration({
    ...{ db, clock, credentials, registration },
    sharedSecret: config.registration.registrationSharedSecret,
    extraUserTypes: config.server.userTypes.extraUserTypes,
  });
}

/** Returns how a user confirms requests: by password, by a provider they came from, or, having neither, in vain. */
async function ownFlowsOf({ config, db, sso }: Core, userId: UserId): Promise<readonly (readonly string[])[]> {
  const { enabled, localdbEnabled } = config.passwords.passwordConfig;
  const flows: string[][] = [];
  const mayUsePassword = enabled !== false && localdbEnabled;
  if (mayUsePassword && typeof (await selectUser(db, userId))?.passwordHash === "string") {
    flows.push(["m.login.password"]);
  }
  if (sso.all.length > 0) {
    const known = (await selectExternalIds(db, userId)).map(({ authProvider }) => authProvider);
    if (sso.all.some(({ info }) => known.includes(info.id))) flows.push(["m.login.sso"]);
  }
  return flows.length === 0 ? [["m.login.password"]] : flows;
}

/** Builds what makes accounts, and what people prove who they are with. */
// deno-lint-ignore explicit-function-return-type -- the type is what is built
function buildRegistration(
  core: Core,
  { hooks, credentials, devices, tokens, limits, appservices }: {
    hooks: AccountHooks;
    credentials: Credentials;
    devices: Devices;
    tokens: Tokens;
    limits: RateLimits;
    appservices: Appservices;
  },
) {
  const { config, db, clock, signer } = core;
  const { serverName, sessions } = config;
  const { rules, validations, phones } = buildValidations(core, limits);
  const [captcha, terms] = [buildCaptcha(config), registrationTerms(config)];
  const hasSso = core.sso.all.length > 0;
  const stages = uiaStages({ db, clock, credentials, validations, phones, captcha, terms, hasSso });
  const ownFlows = (userId: UserId) => ownFlowsOf(core, userId);
  const uia = new Uia({ db, clock, stages, recentMs: sessions.uiAuth.sessionTimeout, ownFlows });
  const { identityServers, onThreepidChange: onChange } = hooks;
  const threepids = new Threepids({ db, clock, validations, phones, rules, signer, identityServers, onChange });
  const activeUsers = buildActiveUsers(core);
  const validity = buildValidity(core);
  const registration = new Registration({
    ...{ db, clock, serverName, credentials, devices, tokens, uia, limits, threepids, activeUsers, validity },
    options: {
      requiresApproval: requiresApproval(config),
      ...{ ...config.registration, ...config.captcha },
      requireTerms: terms !== null,
      userTypes: config.server.userTypes,
      hasEmail: validations.isEnabled,
      hasPhones: phones.isEnabled,
    },
    onTermsAccepted: hooks.onTermsAccepted,
    isExclusive: (userId) => userId === noticesUserOf(config) || appservices.isExclusiveUser(userId),
    ownsUser: (service, userId) => appservices.ownsUser(service, userId),
    onRegistered: hooks.onRegistered,
  });
  return { uia, registration, threepids, validations, phones, captcha, terms, activeUsers, validity };
}

// deno-lint-ignore explicit-function-return-type -- the type is what is built
function buildProfiles(
  { config, db, clock }: Core,
  { hooks, profileChanges }: { hooks: AccountHooks; profileChanges: ProfileChanges },
) {
  const profiles: Profiles = new Profiles({
    db,
    serverName: config.serverName,
    options: { ...config.registration, ...config.server, ...config.blocking },
    changes: profileChanges,
    lookUpRemote: hooks.lookUpProfile,
    onChange: (userId) => {
      userRooms.wakeProfile(userId);
      hooks.onProfileChange(userId);
    },
  });
  const memberProfile = (userId: UserId): Promise<MemberProfile> => profiles.memberProfile(userId);
  const userRooms = new UserRooms({
    db,
    clock,
    log: getLogger("synapse.handlers.profile"),
    rooms: hooks.userRoomActions,
    memberProfile,
  });
  return { profiles, userRooms };
}
