/**
 * Where clients send people to log in elsewhere. Spec: client-server API, "SSO client login/authentication".
 *   GET /_matrix/client/v3/login/sso/redirect[/{idpId}]?redirectUrl=…
 *   GET /_matrix/client/v3/login/cas/redirect, of old clients
 *   GET /_synapse/client/pick_idp?redirectUrl=…[&idp=…]
 */
import { missingParam } from "../../protocol/errors.ts";
import { SsoError } from "../../services/sso/identity_provider.ts";
import { assertRedirectUrl } from "../../services/sso/redirect_urls.ts";
import { type App, client, type Ctx, plain, rawPath } from "../app.ts";
import { pathText, searchParams } from "../middleware/params.ts";
import { orErrorPage, redirect, type SsoPageDeps } from "../pages/sso_steps.ts";

/** What the routes are built from. */
export interface SsoRoutesDeps extends SsoPageDeps {
  /** Whether `public_baseurl` was set, so that browsers can be sent there. */
  readonly hasPublicBaseurl: boolean;
}

/** Marks a request that was sent to the public address, so that a proxy which hides that sends nobody in circles. */
const MOVED = "_moved";

/** Registers the endpoints. */
export function ssoRoutes(app: App, deps: SsoRoutesDeps): void {
  client(app)
    .get("/login/sso/redirect", (c) => depart(c, { ...deps, idpId: null }))
    .get("/login/sso/redirect/:idpId", (c) => depart(c, { ...deps, idpId: pathText(c, "idpId") }))
    .get("/login/cas/redirect", (c) => depart(c, { ...deps, idpId: "cas" }));
  plain(app).get("/_synapse/client/pick_idp", (c) => orErrorPage(deps, () => pick(c, deps)));
}

async function depart(c: Ctx, deps: SsoRoutesDeps & { idpId: string | null }): Promise<Response> {
  const provider = deps.sso.provider(deps.idpId);
  const query = searchParams(c);
  const redirectUrl = redirectUrlOf(query);
  // Cookies must be those of the address to which people come back.
  const moved = movedTo(c, deps);
  if (moved !== null) return redirect(moved);
  if (provider === null) {
    const picker = new URLSearchParams({ redirectUrl });
    return redirect(`${deps.publicBaseurl}_synapse/client/pick_idp?${picker}`);
  }
  return await orErrorPage(deps, async () => {
    const { location, cookies } = await provider.depart({ kind: "login", redirectUrl }, query);
    return redirect(location, cookies);
  });
}

function movedTo(c: Ctx, { publicBaseurl, hasPublicBaseurl }: SsoRoutesDeps): string | null {
  const request = c.req.raw;
  const host = request.headers.get("host");
  if (!hasPublicBaseurl || host === null || host === new URL(publicBaseurl).host) return null;
  const query = searchParams(c);
  if (query.has(MOVED)) return null;
  query.set(MOVED, "1");
  return `${publicBaseurl}${rawPath(request).slice(1)}?${query}`;
}

async function pick(c: Ctx, { sso, pages, publicBaseurl }: SsoRoutesDeps): Promise<Response> {
  const query = searchParams(c);
  const redirectUrl = redirectUrlOf(query);
  const idp = query.get("idp") ?? "";
  if (idp === "") {
    const providers = sso.providers.map(({ info }) => ({ idp_id: info.id, idp_name: info.name, idp_icon: info.icon }));
    return await pages.show("sso_login_idp_picker.html", { redirect_url: redirectUrl, providers }, { images: true });
  }
  if (!sso.providers.some(({ info }) => info.id === idp)) {
    throw new SsoError("unknown_idp", "Unknown identity provider ID");
  }
  const path = `_matrix/client/v3/login/sso/redirect/${encodeURIComponent(idp)}`;
  return redirect(`${publicBaseurl}${path}?${new URLSearchParams({ redirectUrl })}`);
}

function redirectUrlOf(query: URLSearchParams): string {
  const redirectUrl = query.get("redirectUrl");
  if (redirectUrl === null) throw missingParam("redirectUrl");
  assertRedirectUrl(redirectUrl);
  return redirectUrl;
}
