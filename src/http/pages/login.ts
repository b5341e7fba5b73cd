/**
 * Login for clients that know none of the flows. Spec: client-server API, "Login Fallback". The form needs no JavaScript;
 * handing the session over to the client is a call in its window.
 *   GET, POST /_matrix/static/client/login/
 */
import type { ServerName } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Login } from "../../services/login.ts";
import { SafeHtml, templateHash } from "../../services/templates.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import { sessionJson } from "../client/login_response.ts";
import { type Pages, reasonOf } from "./page.ts";

/** What the routes are built from. */
export interface LoginPageRoutesDeps {
  readonly pages: Pages;
  readonly login: Login;
  readonly serverName: ServerName;
}

/** Registers the endpoints. */
export function loginPageRoutes(app: App, deps: LoginPageRoutesDeps): void {
  const show = (user: string, { error, status }: { error?: string; status: number }) =>
    deps.pages.show("login.html", {
      ...{ user, error },
      password_login: deps.login.flows().some(({ type }) => type === "m.login.password"),
    }, { status });
  for (const path of ["/_matrix/static/client/login", "/_matrix/static/client/login/"]) {
    plain(app)
      .get(path, () => show("", { status: 200 }))
      .post(path, async (c) => {
        const form = await readForm(c);
        const user = form.get("user") ?? "";
        try {
          const session = await logIn(c, { deps, user, password: form.get("password") ?? "" });
          // In a script only "<" can end what it stands in.
          const text = new SafeHtml(JSON.stringify(session).replaceAll("<", "\\u003c"));
          const options = { scripts: [templateHash("login_done.inc")] };
          return await deps.pages.show("login_success.html", { session: text }, options);
        } catch (error) {
          const message = reasonOf(error);
          return await show(user, { error: message, status: error instanceof MatrixError ? error.status : 500 });
        }
      });
  }
}

async function logIn(
  c: Ctx,
  { deps: { login, serverName }, user, password }: { deps: LoginPageRoutesDeps; user: string; password: string },
): Promise<JsonObject> {
  const params = searchParams(c);
  const identifier: JsonObject = /^[^@]+@/.test(user)
    ? { type: "m.id.thirdparty", medium: "email", address: user }
    : { type: "m.id.user", user };
  const type = "m.login.password";
  const { userId, deviceId, tokens } = await login.logIn({
    ...{ type, password, body: { type, identifier }, token: null },
    deviceId: params.get("device_id"),
    initialDeviceDisplayName: params.get("initial_device_display_name"),
    wantsRefreshToken: params.get("refresh_token") === "true",
    clientIp: c.env.clientIp,
    accessToken: null,
  });
  return sessionJson({ userId, serverName, login: { deviceId, tokens } }) as JsonObject;
}
