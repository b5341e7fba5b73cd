/**
 * Login for clients that know none of the flows. Spec: client-server API, "Login Fallback". The page needs no JavaScript:
 * a form for passwords, links to where people prove who they are elsewhere, who come back to it with a login token. Handing
 * the session over to the client is a call in its window.
 *   GET, POST /_matrix/static/client/login/[?loginToken=…]
 */
import type { ServerName } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Login } from "../../services/login.ts";
import type { ProviderInfo } from "../../services/sso/identity_provider.ts";
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
  readonly providers: readonly ProviderInfo[];
  /** With a slash at its end. */
  readonly publicBaseurl: string;
}

/** How somebody proves who they are. */
interface Proof {
  readonly type: "m.login.password" | "m.login.token";
  /** What a form says of the user; empty where the token does. */
  readonly user: string;
  readonly secret: string;
}

const PATHS = ["/_matrix/static/client/login", "/_matrix/static/client/login/"];
/** Parameters of `/login` that clients may give the page. */
const FORWARDED = ["device_id", "initial_device_display_name", "refresh_token"];

/** Registers the endpoints. */
export function loginPageRoutes(app: App, deps: LoginPageRoutesDeps): void {
  for (const path of PATHS) {
    plain(app)
      .get(path, async (c) => {
        const token = searchParams(c).get("loginToken") ?? "";
        // Whoever only looks whether the page is there does not use up the token.
        if (token === "" || c.req.raw.method !== "GET") return await showForm(c, { deps, user: "", status: 200 });
        return await orForm(c, { deps, proof: { type: "m.login.token", user: "", secret: token } });
      })
      .post(path, async (c) => {
        const form = await readForm(c);
        const [user, secret] = [form.get("user") ?? "", form.get("password") ?? ""];
        return await orForm(c, { deps, proof: { type: "m.login.password", user, secret } });
      });
  }
}

async function showForm(
  c: Ctx,
  { deps, user, error, status }: { deps: LoginPageRoutesDeps; user: string; error?: string; status: number },
): Promise<Response> {
  const vars = {
    ...{ user, error },
    password_login: deps.login.flows().some(({ type }) => type === "m.login.password"),
    providers: deps.providers.map(({ id, name, icon }) => ({ url: linkTo(c, { deps, id }), name, icon })),
  };
  return await deps.pages.show("login.html", vars, { status, images: deps.providers.length > 0 });
}

/** Returns the address that sends people to a provider and then back to this page. */
function linkTo(c: Ctx, { deps: { publicBaseurl }, id }: { deps: LoginPageRoutesDeps; id: string }): string {
  const given = searchParams(c);
  const kept = new URLSearchParams();
  for (const name of FORWARDED) {
    const value = given.get(name);
    if (value !== null) kept.set(name, value);
  }
  const redirectUrl = `${publicBaseurl}_matrix/static/client/login/${kept.size === 0 ? "" : `?${kept}`}`;
  const path = `_matrix/client/v3/login/sso/redirect/${encodeURIComponent(id)}`;
  return `${publicBaseurl}${path}?${new URLSearchParams({ redirectUrl })}`;
}

/** Logs in, or shows the form again with what was wrong. */
async function orForm(c: Ctx, { deps, proof }: { deps: LoginPageRoutesDeps; proof: Proof }): Promise<Response> {
  try {
    const session = await logIn(c, { deps, proof });
    // In a script only "<" can end what it stands in.
    const text = new SafeHtml(JSON.stringify(session).replaceAll("<", "\\u003c"));
    const options = { scripts: [templateHash("login_done.inc")] };
    return await deps.pages.show("login_success.html", { session: text }, options);
  } catch (error) {
    const message = reasonOf(error);
    const status = error instanceof MatrixError ? error.status : 500;
    return await showForm(c, { deps, user: proof.user, error: message, status });
  }
}

async function logIn(
  c: Ctx,
  { deps: { login, serverName }, proof: { type, user, secret } }: { deps: LoginPageRoutesDeps; proof: Proof },
): Promise<JsonObject> {
  const params = searchParams(c);
  const identifier: JsonObject = /^[^@]+@/.test(user)
    ? { type: "m.id.thirdparty", medium: "email", address: user }
    : { type: "m.id.user", user };
  const isPassword = type === "m.login.password";
  const { userId, deviceId, tokens, extra } = await login.logIn({
    ...{ type, body: isPassword ? { type, identifier } : { type, token: secret } },
    ...{ password: isPassword ? secret : null, token: isPassword ? null : secret },
    deviceId: params.get("device_id"),
    initialDeviceDisplayName: params.get("initial_device_display_name"),
    wantsRefreshToken: params.get("refresh_token") === "true",
    clientIp: c.env.clientIp,
    accessToken: null,
  });
  return { ...extra, ...sessionJson({ userId, serverName, login: { deviceId, tokens } }) } as JsonObject;
}
