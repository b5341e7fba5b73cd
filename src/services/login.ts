/** Logging in. Spec: client-server API, "Login". */
import { forbidden, invalidParam, MatrixError, missingParam, missingToken, unknownToken } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { selectIsUnapproved } from "../storage/active_users.ts";
import type { Database } from "../storage/database.ts";
import { selectUser, type User } from "../storage/users.ts";
import type { ActiveUsers } from "./active_users.ts";
import { type Appservices, exclusive } from "./appservices.ts";
import { type Credentials, wrongCredentials } from "./credentials.ts";
import type { Devices } from "./devices.ts";
import type { JwtLogin } from "./jwt_login.ts";
import type { RateLimits } from "./rate_limits.ts";
import { awaitingApproval, chooseDeviceId, loginUnsupported, type Registration } from "./registration.ts";
import type { ProviderInfo } from "./sso/identity_provider.ts";
import type { IssuedTokens, LoginOrigin, Tokens } from "./tokens.ts";

/** Options of the configuration, by Synapse's names. */
export interface LoginOptions {
  readonly passwordConfig: { readonly enabled: boolean | "only_for_reauth"; readonly localdbEnabled: boolean };
  readonly loginViaExistingSession: {
    readonly enabled: boolean;
    readonly requireUiAuth: boolean;
    /** In milliseconds. */
    readonly tokenTimeout: number;
  };
}

/** What the service is built from. */
export interface LoginDeps {
  readonly db: Database;
  readonly appservices: Appservices;
  readonly credentials: Credentials;
  readonly devices: Devices;
  readonly tokens: Tokens;
  readonly limits: RateLimits;
  readonly activeUsers: Pick<ActiveUsers, "assertMayUse">;
  readonly registration: Pick<Registration, "findOrRegister">;
  /** Null where nobody logs in with a token of the operator's own. */
  readonly jwt: JwtLogin | null;
  readonly providers: readonly ProviderInfo[];
  /** Whether one of the providers is a CAS server, which old clients know by a flow of its own. */
  readonly hasCas: boolean;
  readonly options: LoginOptions;
}

/** A login as a client asks for it. */
export interface LoginRequest {
  readonly type: string;
  /** The whole body: identifiers come in several shapes. */
  readonly body: JsonObject;
  readonly password: string | null;
  readonly token: string | null;
  readonly deviceId: string | null;
  readonly initialDeviceDisplayName: string | null;
  readonly wantsRefreshToken: boolean;
  readonly clientIp: string;
  /** The access token that the request came with, as an application service's does. */
  readonly accessToken: string | null;
}

/** What logging in gave. */
export interface LoggedIn {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly tokens: IssuedTokens;
  /** What the client is told besides. */
  readonly extra: JsonObject;
}

/** Who logs in, and the login at an identity provider that it came from. */
interface Authenticated {
  readonly user: User;
  readonly origin: LoginOrigin | null;
}

/** Login by JSON Web Token. */
const JWT_TYPE = "org.matrix.login.jwt";

/** Logs users in. */
export class Login {
  readonly #deps: LoginDeps;

  constructor(deps: LoginDeps) {
    this.#deps = deps;
  }

  /** Returns the ways to log in, for `GET /login`. */
  flows(): JsonObject[] {
    const flows: JsonObject[] = [];
    if (this.#deps.jwt !== null) flows.push({ type: JWT_TYPE });
    const { providers, options: { loginViaExistingSession } } = this.#deps;
    if (this.#deps.hasCas) flows.push({ type: "m.login.cas" });
    if (providers.length > 0) flows.push({ type: "m.login.sso", identity_providers: providers.map(providerJson) });
    if (loginViaExistingSession.enabled) flows.push({ type: "m.login.token", get_login_token: true });
    else if (providers.length > 0) flows.push({ type: "m.login.token" });
    if (this.#passwordsWork()) flows.push({ type: "m.login.password" });
    if (this.#deps.appservices.all.length > 0) flows.push({ type: "m.login.application_service" });
    return flows;
  }

  /** Logs in on a device. */
  async logIn(request: LoginRequest): Promise<LoggedIn> {
    const isLimited = this.#isLimited(request);
    if (isLimited) this.#deps.limits.check("rc_login.address", request.clientIp);
    const { user, origin } = await this.#authenticate(request);
    if (user.isDeactivated) throw new MatrixError(403, "M_USER_DEACTIVATED", "This account has been deactivated");
    if (await selectIsUnapproved(this.#deps.db, user.userId)) throw awaitingApproval();
    await this.#deps.activeUsers.assertMayUse(user);
    if (isLimited) this.#deps.limits.check("rc_login.account", user.userId);
    const deviceId = chooseDeviceId(request.deviceId);
    const tokens = await this.#deps.db.transaction((tx) =>
      this.#deps.devices.logIn(tx, {
        userId: user.userId,
        deviceId,
        displayName: request.initialDeviceDisplayName,
        withRefresh: request.wantsRefreshToken,
        origin,
      })
    );
    return { userId: user.userId, deviceId, tokens, extra: origin?.extra ?? {} };
  }

  /** Application services that are registered so log in as often as they like. */
  #isLimited({ type, accessToken }: LoginRequest): boolean {
    if (type !== "m.login.application_service" || accessToken === null) return true;
    return this.#deps.appservices.byToken(accessToken)?.isRateLimited ?? true;
  }

  async #authenticate(request: LoginRequest): Promise<Authenticated> {
    switch (request.type) {
      case "m.login.password":
        return { user: await this.#byPassword(request), origin: null };
      case "m.login.token":
        return await this.#byToken(request);
      case "m.login.application_service":
        return { user: await this.#forService(request), origin: null };
      case JWT_TYPE:
        return { user: await this.#byJwt(request), origin: null };
      default:
        throw unknownType(request.type);
    }
  }

  async #byPassword({ body, password }: LoginRequest): Promise<User> {
    if (!this.#passwordsWork()) throw new MatrixError(400, "M_UNKNOWN", "Password login has been disabled");
    if (password === null) throw missingParam("password");
    const userId = await this.#deps.credentials.identify(body);
    const user = await this.#deps.credentials.verify(userId, {
      password,
      key: JSON.stringify(body.identifier ?? body.user),
    });
    if (user !== null) return user;
    await this.#refuseDeactivated(userId);
    throw wrongCredentials();
  }

  async #forService({ body, accessToken }: LoginRequest): Promise<User> {
    if (accessToken === null) throw missingToken();
    const { appservices, credentials, db } = this.#deps;
    const service = appservices.byToken(accessToken);
    if (service === null) throw unknownToken({ softLogout: false });
    if (service.managesDevices) throw loginUnsupported();
    const userId = await credentials.identify(body);
    if (userId === null || !appservices.ownsUser(service, userId)) {
      throw exclusive("The user is not in the namespaces of the application service");
    }
    const user = await selectUser(db, userId);
    if (user === null) throw forbidden("The application service has not registered this user");
    return user;
  }

  async #byToken({ token }: LoginRequest): Promise<Authenticated> {
    if (token === null) throw missingParam("token");
    const { userId, origin } = await this.#deps.tokens.consumeLoginToken(token);
    return { user: await this.#existing(userId), origin };
  }

  async #byJwt({ token }: LoginRequest): Promise<User> {
    const { jwt, registration } = this.#deps;
    if (jwt === null) throw unknownType(JWT_TYPE);
    const { localpart, displayName } = await jwt.verify(token);
    return await this.#existing(await registration.findOrRegister({ localpart, displayName }));
  }

  async #existing(userId: UserId): Promise<User> {
    const user = await selectUser(this.#deps.db, userId);
    if (user === null) throw invalidParam("The user of this login does not exist");
    return user;
  }

  async #refuseDeactivated(userId: UserId | null): Promise<void> {
    const user = userId === null ? null : await selectUser(this.#deps.db, userId);
    if (user?.isDeactivated === true) {
      throw new MatrixError(403, "M_USER_DEACTIVATED", "This account has been deactivated");
    }
  }

  #passwordsWork(): boolean {
    const { enabled, localdbEnabled } = this.#deps.options.passwordConfig;
    return enabled === true && localdbEnabled;
  }
}

function unknownType(type: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", `Unknown login type "${type.slice(0, 64)}"`);
}

function providerJson({ id, name, icon, brand }: ProviderInfo): JsonObject {
  return { id, name, ...(icon === null ? {} : { icon }), ...(brand === null ? {} : { brand }) };
}
