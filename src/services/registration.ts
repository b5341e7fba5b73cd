/**
 * New accounts. Spec: client-server API, "Account registration".
 *
 * `register` is what clients call, by user-interactive authentication; `createUser` is the one place where an account
 * comes into being, whoever asked.
 */
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { Tally } from "../lib/tally.ts";
import { forbidden, invalidParam, MatrixError, missingParam } from "../protocol/errors.ts";
import {
  type DeviceId,
  isValidLocalpart,
  localpartOf,
  makeUserId,
  parseDeviceId,
  parseUserId,
  type ServerName,
  type UserId,
} from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { insertUnapproved, selectIsUnapproved } from "../storage/active_users.ts";
import type { Database, Tx } from "../storage/database.ts";
import { upsertProfile } from "../storage/profiles.ts";
import { completeRegistrationToken, selectRegistrationToken } from "../storage/registration_tokens.ts";
import { insertUser, selectUser, updateGuestToUser } from "../storage/users.ts";
import type { AccountValidity } from "./account_validity.ts";
import type { ActiveUsers } from "./active_users.ts";
import { type Appservice, exclusive } from "./appservices.ts";
import type { Credentials } from "./credentials.ts";
import type { Devices } from "./devices.ts";
import type { RateLimits } from "./rate_limits.ts";
import type { IssuedTokens, Tokens } from "./tokens.ts";
import { type FlowOptions, registrationFlows } from "./registration_flows.ts";
import type { Threepids } from "./threepids.ts";
import type { Uia, UiaOutcome } from "./uia.ts";
import { provenAddresses, REGISTER_ACTION } from "./uia_stages.ts";

/** Options of the configuration, by Synapse's names. */
export interface RegistrationOptions extends FlowOptions {
  /** Whether an administrator must approve new accounts (MSC3866). */
  readonly requiresApproval: boolean;
  readonly enableRegistration: boolean;
  readonly allowGuestAccess: boolean;
  readonly inhibitUserInUseError: boolean;
  readonly allowUnderscorePrefixedRegistration: boolean;
  readonly userTypes: UserTypeOptions;
}

/** Types of accounts beside `bot` and `support`, and the one that people's new accounts get. */
export interface UserTypeOptions {
  readonly defaultUserType: string | null;
  readonly extraUserTypes: readonly string[];
}

/** What the service is built from. */
export interface RegistrationDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly credentials: Credentials;
  readonly devices: Devices;
  readonly tokens: Tokens;
  readonly uia: Uia;
  readonly limits: RateLimits;
  readonly threepids: Pick<Threepids, "giveToNewUser" | "vouchFor">;
  readonly activeUsers: Pick<ActiveUsers, "assertMayRegister">;
  /** Null where accounts do not expire. */
  readonly validity: Pick<AccountValidity, "begin"> | null;
  readonly options: RegistrationOptions;
  /** Notes in the transaction that makes the account that its user agreed to the terms of a version. */
  readonly onTermsAccepted: (tx: Tx, user: { userId: UserId; version: string }) => Promise<void>;
  /** Tells whether an application service has the name for itself. */
  readonly isExclusive: (userId: UserId) => boolean;
  /** Tells whether a user id is one that an application service may register. */
  readonly ownsUser: (service: Appservice, userId: UserId) => boolean;
  /** Runs once an account exists, outside of its transaction: joins rooms, tells the user directory. */
  readonly onRegistered: (user: { userId: UserId; isGuest: boolean }) => Promise<void>;
}

/** How to log in right after registering. */
export interface LoginParams {
  readonly deviceId: string | null;
  readonly initialDeviceDisplayName: string | null;
  readonly wantsRefreshToken: boolean;
  readonly inhibitLogin: boolean;
}

/** A client's attempt to register. */
export interface RegisterRequest {
  /** The whole body, for user-interactive authentication. */
  readonly body: JsonObject;
  readonly clientIp: string;
  /** Reads what matters from a body that may be the one remembered from an earlier attempt. */
  readonly parse: (body: JsonObject) => RegisterParams;
}

/** What matters of the body of a registration. */
export interface RegisterParams {
  readonly username: string | null;
  readonly password: string | null;
  /** The access token of the guest who wants to become a user; they keep their name. */
  readonly guestAccessToken: string | null;
  readonly login: LoginParams;
}

/** An account to be made. */
export interface CreateUser {
  /** As the person typed it. */
  readonly localpart: string;
  /** Null for accounts that nobody logs in to with a password. */
  readonly passwordHash: string | null;
  readonly isAdmin?: boolean;
  readonly userType?: string | null;
  /** Null for none; by default the localpart. */
  readonly displayname?: string | null;
}

/** An account to be made for somebody whom another system vouches for. */
export interface VouchedUser {
  readonly localpart: string;
  /** The localpart, where null. */
  readonly displayName: string | null;
  /** Addresses that are the person's by what the other system says. */
  readonly emails: readonly string[];
  readonly settle?: (tx: Tx, userId: UserId) => Promise<void>;
  /** The id of the identity provider. */
  readonly authProvider?: string;
}

/** What registering gave. */
export interface Registered {
  readonly userId: UserId;
  /** Null where no login was wanted. */
  readonly login: { readonly deviceId: DeviceId; readonly tokens: IssuedTokens } | null;
}

const GENERATED_LENGTH = 12;
const LOWER_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyz0123456789";
const DEVICE_ID_LENGTH = 10;
const MAX_DISPLAYNAME_LENGTH = 256;

/** Makes accounts. */
export class Registration {
  readonly #deps: RegistrationDeps;
  /** Accounts that were made; nobody is shadow-banned from the start. */
  readonly registrations = new Tally("guest", "shadow_banned", "auth_provider");

  constructor(deps: RegistrationDeps) {
    this.#deps = deps;
  }

  /** Registers a user through one of the flows of the configuration. */
  async register({ body, clientIp, parse }: RegisterRequest): Promise<Registered> {
    this.assertEnabled();
    const first = parse(body);
    const isRepeat = typeof body.auth === "object";
    if (first.guestAccessToken !== null) {
      // A repeat may be one who is a guest no more; then it logs in.
      if (!isRepeat) await this.#guestOf(first);
    } else if (first.username !== null) {
      this.#parseNewName(first.username);
      // A repeat may be one whose account exists by now; then it logs in.
      if (!isRepeat && !this.#deps.options.inhibitUserInUseError) await this.assertAvailable(first.username);
    }
    this.#deps.limits.assertNotExceeded("rc_registration", clientIp);
    return await this.#deps.uia.require({
      action: REGISTER_ACTION,
      flows: registrationFlows(this.#deps.options),
      session: null,
      body,
      clientIp,
      secretKeys: ["password", "guest_access_token"],
      allowChanges: true,
    }, (outcome) => this.#complete(outcome, { clientIp, ...parse(outcome.body) }));
  }

  /** Registers a guest. */
  async registerGuest(
    { clientIp, initialDeviceDisplayName, wantsRefreshToken }: {
      clientIp: string;
      initialDeviceDisplayName: string | null;
      wantsRefreshToken: boolean;
    },
  ): Promise<Registered> {
    if (!this.#deps.options.allowGuestAccess) throw forbidden("Guest access is disabled");
    await this.#deps.activeUsers.assertMayRegister([]);
    this.#deps.limits.check("rc_registration", clientIp);
    const userId = this.#parseNewName(randomString(GENERATED_LENGTH, LOWER_ALPHANUMERIC), { allowNumeric: true });
    const login = { deviceId: null, initialDeviceDisplayName, wantsRefreshToken, inhibitLogin: false };
    const registered = await this.#deps.db.transaction(async (tx) => {
      await this.#insert(tx, { userId, passwordHash: null, isGuest: true, displayname: null });
      return await this.#logIn(tx, { userId, login, isGuest: true });
    });
    await this.#deps.onRegistered({ userId, isGuest: true });
    return registered;
  }

  /** Registers a user of an application service, without a password. Spec: "Server admin style permissions". */
  async registerForService(
    { service, username, login }: { service: Appservice; username: string | null; login: LoginParams },
  ): Promise<Registered> {
    if (username === null) throw missingParam("username");
    if (service.managesDevices && !login.inhibitLogin) throw loginUnsupported();
    const userId = this.#parseName(username);
    if (!this.#deps.ownsUser(service, userId)) {
      throw exclusive("The user ID is not in the namespaces of the application service");
    }
    const registered = await this.#deps.db.transaction(async (tx) => {
      await this.#insert(tx, { userId, passwordHash: null, isGuest: false, appserviceId: service.id });
      return await this.#logIn(tx, { userId, login });
    });
    this.#deps.tokens.forgetUser(userId);
    await this.#deps.onRegistered({ userId, isGuest: false });
    return registered;
  }

  /** Makes an account for somebody who may decide that: an administrator, the command line. */
  async createUser(user: CreateUser): Promise<UserId> {
    const userId = await this.assertAvailable(user.localpart);
    await this.#deps.db.transaction((tx) => this.#insert(tx, { ...user, userId, isGuest: false }));
    await this.#deps.onRegistered({ userId, isGuest: false });
    return userId;
  }

  /** Returns the account of that name, which is made when there is none: for whom another system vouches. */
  async findOrRegister(person: { localpart: string; displayName: string | null }): Promise<UserId> {
    const found = await this.#findByName(person.localpart);
    if (found !== null) return found;
    return await this.registerVouched({ ...person, emails: [] });
  }

  /**
   * Makes an account for somebody whom another system vouches for; `settle` runs in its transaction. Throws as
   * `assertAvailable`, or when it would be one too many.
   */
  async registerVouched(
    { localpart, displayName, emails, settle, authProvider = "" }: VouchedUser,
  ): Promise<UserId> {
    await this.#deps.activeUsers.assertMayRegister(emails.slice(0, 1).map((address) => ({ medium: "email", address })));
    const userId = await this.assertAvailable(localpart);
    await this.#deps.db.transaction(async (tx) => {
      const displayname = displayName === null || displayName === "" ? {} : { displayname: displayName };
      await this.#insert(tx, { userId, passwordHash: null, isGuest: false, authProvider, ...displayname });
      for (const address of emails) await this.#deps.threepids.vouchFor(tx, { userId, address });
      if (this.#deps.options.requiresApproval) await insertUnapproved(tx, userId);
      await settle?.(tx, userId);
    });
    await this.#deps.onRegistered({ userId, isGuest: false });
    return userId;
  }

  /** Returns the user id of a name; throws for a name that cannot be. */
  userIdOf(localpart: string): UserId {
    return this.#parseName(localpart);
  }

  /** Tells whether a name that another system gives is one that a new account can have. */
  async isFree(localpart: string): Promise<boolean> {
    return await this.#findByName(localpart) === null;
  }

  /** Returns the account of a name, whose capitals do not count unless there are two accounts; null for none. */
  async #findByName(localpart: string): Promise<UserId | null> {
    for (const name of [localpart, localpart.toLowerCase()]) {
      const userId = makeUserId(name, this.#deps.serverName);
      if (userId !== null && await selectUser(this.#deps.db, userId) !== null) return userId;
    }
    return null;
  }

  /** Logs an account in that was just made by `createUser`. */
  async logIn(userId: UserId, login: LoginParams): Promise<Registered> {
    return await this.#deps.db.transaction((tx) => this.#logIn(tx, { userId, login }));
  }

  /** Returns the user id that a name would have; throws when it is not allowed, taken or reserved. */
  async assertAvailable(localpart: string): Promise<UserId> {
    const userId = this.#parseNewName(localpart);
    if (await selectUser(this.#deps.db, userId) !== null) throw userInUse();
    return userId;
  }

  /** Answers `GET /register/available`. */
  async isAvailable(localpart: string): Promise<boolean> {
    this.assertEnabled();
    if (this.#deps.options.inhibitUserInUseError) {
      this.#parseNewName(localpart);
      return true;
    }
    await this.assertAvailable(localpart);
    return true;
  }

  /** Tells whether somebody could register with this token now. */
  async isTokenValid(token: string): Promise<boolean> {
    this.assertEnabled();
    if (!this.#deps.options.registrationRequiresToken) return false;
    const found = await selectRegistrationToken(this.#deps.db, token);
    if (found === null) return false;
    if (found.expiresTs !== null && found.expiresTs <= this.#deps.clock.now()) return false;
    return found.usesAllowed === null || found.pending + found.completed < found.usesAllowed;
  }

  /** Throws 403 where nobody registers by themselves. */
  assertEnabled(): void {
    if (!this.#deps.options.enableRegistration) throw forbidden("Registration has been disabled");
  }

  async #complete(outcome: UiaOutcome, params: RegisterParams & { clientIp: string }): Promise<Registered> {
    const { clientIp, username, password, guestAccessToken, login } = params;
    const previous = outcome.previous === null ? null : parseUserId(String(outcome.previous.user_id));
    if (previous !== null) return await this.#logInAgain(previous, login);
    if (password === null) throw new MatrixError(400, "M_MISSING_PARAM", 'Missing parameter "password"');
    this.#deps.limits.check("rc_registration", clientIp);
    await this.#deps.activeUsers.assertMayRegister(provenAddresses(outcome.proofs));
    const isGuest = guestAccessToken !== null;
    const localpart = username ?? randomString(GENERATED_LENGTH, LOWER_ALPHANUMERIC);
    const userId = isGuest ? await this.#guestOf(params) : await this.assertAvailable(localpart);
    const passwordHash = await this.#deps.credentials.hashNew(password);
    const token = outcome.proofs["m.login.registration_token"];
    const registered = await this.#deps.db.transaction(async (tx) => {
      if (isGuest) await this.#upgradeGuest(tx, { userId, passwordHash });
      else await this.#insert(tx, { userId, passwordHash, isGuest: false });
      if (typeof token === "string") await completeRegistrationToken(tx, token);
      await this.#settleProofs(tx, { userId, proofs: outcome.proofs });
      await outcome.remember(tx, { user_id: userId });
      const { requiresApproval } = this.#deps.options;
      if (requiresApproval) await insertUnapproved(tx, userId);
      return await this.#logIn(tx, {
        userId,
        login: { ...login, inhibitLogin: login.inhibitLogin || requiresApproval },
      });
    });
    await this.#deps.onRegistered({ userId, isGuest: false });
    if (this.#deps.options.requiresApproval) throw awaitingApproval();
    return registered;
  }

  async #logInAgain(userId: UserId, login: LoginParams): Promise<Registered> {
    if (await selectIsUnapproved(this.#deps.db, userId)) throw awaitingApproval();
    return await this.logIn(userId, login);
  }

  /** Keeps what was proven on the way: an address, agreement to terms. */
  async #settleProofs(tx: Tx, { userId, proofs }: { userId: UserId; proofs: UiaOutcome["proofs"] }): Promise<void> {
    const { threepids, onTermsAccepted } = this.#deps;
    for (const proven of provenAddresses(proofs)) await threepids.giveToNewUser(tx, { userId, ...proven });
    const version = proofs["m.login.terms"];
    if (typeof version === "string") await onTermsAccepted(tx, { userId, version });
  }

  /** Returns the guest whose token and name these are. Throws 403 for anybody else. */
  async #guestOf({ username, guestAccessToken }: RegisterParams): Promise<UserId> {
    const { requester } = await this.#deps.tokens.resolve(guestAccessToken ?? "");
    const localpart = requester.userId.slice(1, requester.userId.indexOf(":"));
    if (requester.isGuest && localpart === username?.toLowerCase()) return requester.userId;
    throw forbidden("Cannot register a taken user ID without valid credentials of that user");
  }

  /** Makes a user of a guest, who stays logged in. */
  async #upgradeGuest(
    tx: Tx,
    { userId, passwordHash }: { userId: UserId; passwordHash: string },
  ): Promise<void> {
    if (!await updateGuestToUser(tx, { userId, passwordHash })) throw userInUse();
    await this.#deps.validity?.begin(tx, userId);
    tx.afterCommit(() => this.#deps.tokens.forgetUser(userId));
  }

  #parseNewName(localpart: string, { allowNumeric = false }: { allowNumeric?: boolean } = {}): UserId {
    const userId = this.#parseName(localpart);
    const name = localpartOf(userId);
    if (name.startsWith("_") && !this.#deps.options.allowUnderscorePrefixedRegistration) {
      throw invalidUsername("User ID may not begin with _");
    }
    if (!allowNumeric && /^[0-9]+$/.test(name)) throw invalidUsername("Numeric user IDs are reserved");
    if (this.#deps.isExclusive(userId)) throw exclusive("This user ID is reserved by an application service");
    return userId;
  }

  #parseName(localpart: string): UserId {
    const name = localpart.toLowerCase();
    assertLocalpart(name);
    const userId = makeUserId(name, this.#deps.serverName);
    if (userId === null) throw invalidUsername("User ID may not be longer than 255 characters");
    return userId;
  }

  async #insert(
    tx: Tx,
    { userId, passwordHash, isGuest, isAdmin = false, userType = null, appserviceId = null, displayname, ...rest }:
      & Omit<CreateUser, "localpart">
      & { userId: UserId; isGuest: boolean; appserviceId?: string | null; authProvider?: string },
  ): Promise<void> {
    const createdTs = this.#deps.clock.now();
    const isPerson = !isGuest && appserviceId === null;
    const given = userType ?? (isPerson ? this.#deps.options.userTypes.defaultUserType : null);
    const user = { userId, passwordHash, isGuest, isAdmin, userType: given, appserviceId, createdTs };
    if (!await insertUser(tx, user)) throw userInUse();
    tx.afterCommit(() => this.registrations.add([isGuest ? "True" : "False", "False", rest.authProvider ?? ""]));
    if (isPerson) await this.#deps.validity?.begin(tx, userId);
    const name = displayname === undefined ? userId.slice(1, userId.indexOf(":")) : displayname;
    await upsertProfile(tx, {
      userId,
      displayname: name?.slice(0, MAX_DISPLAYNAME_LENGTH) ?? null,
      avatarUrl: null,
      fields: "{}",
    });
  }

  async #logIn(
    tx: Tx,
    { userId, login, isGuest = false }: { userId: UserId; login: LoginParams; isGuest?: boolean },
  ): Promise<Registered> {
    if (login.inhibitLogin) return { userId, login: null };
    const deviceId = chooseDeviceId(login.deviceId);
    const tokens = await this.#deps.devices.logIn(tx, {
      userId,
      deviceId,
      displayName: login.initialDeviceDisplayName,
      withRefresh: login.wantsRefreshToken,
      isGuest,
    });
    return { userId, login: { deviceId, tokens } };
  }
}

/** Returns the device id a client asked for, or a new one. */
export function chooseDeviceId(wanted: string | null): DeviceId {
  if (wanted === null) return randomString(DEVICE_ID_LENGTH, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") as DeviceId;
  const deviceId = parseDeviceId(wanted);
  if (deviceId === null) throw invalidParam("Invalid device ID");
  return deviceId;
}

/** 403: the account is there and waits. MSC3866. */
export function awaitingApproval(): MatrixError {
  const message = "An administrator has yet to approve this account";
  const extra = { approval_notice_medium: "org.matrix.msc3866.none" };
  return new MatrixError(403, "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL", message, extra);
}

/** Throws 400 for a localpart that no new user may have. */
export function assertLocalpart(localpart: string): void {
  if (isValidLocalpart(localpart)) return;
  throw invalidUsername("User ID can only contain characters a-z, 0-9, or '=_-./+'");
}

function invalidUsername(message: string): MatrixError {
  return new MatrixError(400, "M_INVALID_USERNAME", message);
}

function userInUse(): MatrixError {
  return new MatrixError(400, "M_USER_IN_USE", "User ID already taken");
}

/** Returns what an application service gets that manages devices by itself and yet wants to log in. */
export function loginUnsupported(): MatrixError {
  return new MatrixError(
    400,
    "M_APPSERVICE_LOGIN_UNSUPPORTED",
    "This application service makes its devices by itself and cannot log in",
  );
}
