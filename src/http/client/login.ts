/**
 * Login. Spec: client-server API, "Login" and "Login via an existing session".
 *   GET, POST /_matrix/client/v3/login
 *   POST      /_matrix/client/v1/login/get_token
 *   POST      /_matrix/client/v3/refresh
 *   POST      /_matrix/client/v3/logout, /logout/all
 */
import { z } from "zod";
import { unrecognized } from "../../protocol/errors.ts";
import type { ServerName } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { Accounts } from "../../services/accounts.ts";
import type { Devices } from "../../services/devices.ts";
import type { Login, LoginOptions } from "../../services/login.ts";
import type { Tokens } from "../../services/tokens.ts";
import type { Uia } from "../../services/uia.ts";
import { type App, client, type Ctx, requester, sessionOf } from "../app.ts";
import { type Auth, tokenOf } from "../middleware/auth.ts";
import { checkJson, readJson, readJsonObject } from "../middleware/body.ts";
import { json } from "../middleware/responses.ts";
import { requirePassword, UiaBody } from "../middleware/uia.ts";
import { sessionJson, tokensJson } from "./login_response.ts";

/** What the routes are built from. */
export interface LoginRoutesDeps {
  readonly auth: Auth;
  readonly login: Login;
  readonly tokens: Tokens;
  readonly devices: Devices;
  readonly accounts: Accounts;
  readonly uia: Uia;
  readonly serverName: ServerName;
  readonly options: LoginOptions;
  /** What `/.well-known/matrix/client` says, or null where it is not served. */
  readonly wellKnown: JsonObject | null;
}

const LoginBody = z.looseObject({
  type: z.string(),
  password: z.string().nullish(),
  // Of `m.login.token` and `org.matrix.login.jwt`.
  token: z.string().nullish(),
  device_id: z.string().nullish(),
  initial_device_display_name: z.string().nullish(),
  refresh_token: z.boolean().nullish(),
  identifier: z.looseObject({ type: z.string() }).nullish(),
  // From before there were identifiers.
  user: z.string().nullish(),
  medium: z.string().nullish(),
  address: z.string().nullish(),
});
const RefreshBody = z.looseObject({ refresh_token: z.string() });

/** Registers the endpoints. */
export function loginRoutes(app: App, deps: LoginRoutesDeps): void {
  const { auth, login, tokens, devices, accounts } = deps;
  client(app)
    .get("/login", () => json({ flows: login.flows() }))
    .post("/login", (c) => logIn(c, deps))
    .post("/refresh", async (c) => {
      const { refresh_token } = await readJson(c, RefreshBody);
      return json(tokensJson(await tokens.refresh(refresh_token)));
    })
    .post("/logout", auth.user({ allowLocked: true }), async (c) => {
      const { userId, deviceId } = requester(c);
      if (deviceId !== null) await devices.remove(userId, [deviceId]);
      else await tokens.revoke(sessionOf(c)?.tokenHash ?? "");
      return json({});
    })
    .post("/logout/all", auth.user({ allowLocked: true }), async (c) => {
      await accounts.logOutAll(requester(c).userId);
      return json({});
    });
  client(app, ["v1"]).post("/login/get_token", auth.user(), (c) => getLoginToken(c, deps));
}

async function logIn(c: Ctx, { login, serverName, wellKnown }: LoginRoutesDeps): Promise<Response> {
  const body = await readJsonObject(c);
  const request = checkJson(LoginBody, body);
  const { userId, deviceId, tokens, extra } = await login.logIn({
    type: request.type,
    body,
    password: request.password ?? null,
    token: request.token ?? null,
    deviceId: request.device_id ?? null,
    initialDeviceDisplayName: request.initial_device_display_name ?? null,
    wantsRefreshToken: request.refresh_token === true,
    clientIp: c.env.clientIp,
    accessToken: tokenOf(c),
  });
  const session = { ...extra, ...sessionJson({ userId, serverName, login: { deviceId, tokens } }) };
  return json(wellKnown === null ? session : { ...session, well_known: wellKnown });
}

async function getLoginToken(c: Ctx, { uia, tokens, options }: LoginRoutesDeps): Promise<Response> {
  const { enabled, requireUiAuth, tokenTimeout } = options.loginViaExistingSession;
  if (!enabled) throw unrecognized();
  const body = await readJsonObject(c, { allowEmpty: true });
  const issue = async () => {
    const token = await tokens.issueLoginToken(requester(c).userId, { lifetimeMs: tokenTimeout });
    return json({ login_token: token, expires_in_ms: tokenTimeout });
  };
  if (!requireUiAuth) {
    checkJson(UiaBody, body);
    return await issue();
  }
  return await requirePassword(c, { uia, body, conditions: { action: "POST /login/get_token" }, work: issue });
}
