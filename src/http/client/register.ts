/**
 * Registration. Spec: client-server API, "Account registration".
 *   POST /_matrix/client/v3/register
 *   GET  /_matrix/client/v3/register/available
 *   GET  /_matrix/client/v1/register/m.login.registration_token/validity
 */
import { z } from "zod";
import { unrecognized } from "../../protocol/errors.ts";
import type { ServerName } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { RegisterParams, Registration } from "../../services/registration.ts";
import { type App, client, type Ctx } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJsonObject } from "../middleware/body.ts";
import { query } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";
import { UiaBody } from "../middleware/uia.ts";
import { sessionJson } from "./login_response.ts";

/** What the routes are built from. */
export interface RegisterRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly registration: Registration;
  readonly serverName: ServerName;
  /** Whether another server has the accounts: then only application services register here. */
  readonly isDelegated: boolean;
}

const RegisterBody = UiaBody.extend({
  username: z.string().max(512).nullish(),
  password: z.string().nullish(),
  device_id: z.string().nullish(),
  initial_device_display_name: z.string().nullish(),
  inhibit_login: z.boolean().nullish(),
  refresh_token: z.boolean().nullish(),
  type: z.string().nullish(),
  guest_access_token: z.string().nullish(),
});
const KindQuery = z.object({ kind: z.enum(["guest", "user"]).default("user") });

/** Registers the endpoints. */
export function registerRoutes(app: App, deps: RegisterRoutesDeps): void {
  const { limits, registration } = deps;
  client(app).post("/register", (c) => register(c, deps));
  if (deps.isDelegated) return;
  client(app)
    .get("/register/available", limits.perIp("rc_registration"), async (c) => {
      const { username } = query(c, z.object({ username: z.string().max(512) }));
      return json({ available: await registration.isAvailable(username) });
    });
  client(app, ["v1"])
    .get("/register/m.login.registration_token/validity", limits.perIp("rc_registration_token_validity"), async (c) => {
      const { token } = query(c, z.object({ token: z.string() }));
      return json({ valid: await registration.isTokenValid(token) });
    });
}

async function register(
  c: Ctx,
  { auth, registration, serverName, isDelegated }: RegisterRoutesDeps,
): Promise<Response> {
  const { kind } = query(c, KindQuery);
  const body = await readJsonObject(c, { allowEmpty: kind === "guest" });
  const request = checkJson(RegisterBody, body);
  if (request.type === "m.login.application_service") {
    const service = auth.appserviceOf(c);
    const { username, login } = parseRegistration(body);
    const registered = await registration.registerForService({ service, username, login });
    return json(sessionJson({ ...registered, serverName }));
  }
  if (isDelegated) throw unrecognized();
  const registered = kind === "guest"
    ? await registration.registerGuest({
      clientIp: c.env.clientIp,
      initialDeviceDisplayName: request.initial_device_display_name ?? null,
      wantsRefreshToken: request.refresh_token === true,
    })
    : await registration.register({ body, clientIp: c.env.clientIp, parse: parseRegistration });
  return json(sessionJson({ ...registered, serverName }));
}

function parseRegistration(body: JsonObject): RegisterParams {
  const request = checkJson(RegisterBody, body);
  return {
    username: request.username ?? null,
    password: request.password ?? null,
    guestAccessToken: request.guest_access_token ?? null,
    login: {
      deviceId: request.device_id ?? null,
      initialDeviceDisplayName: request.initial_device_display_name ?? null,
      wantsRefreshToken: request.refresh_token === true,
      inhibitLogin: request.inhibit_login === true,
    },
  };
}
