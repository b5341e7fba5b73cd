/**
 * Where providers that speak OpenID Connect send people, and word of those who logged out. The paths are Synapse's.
 *   GET, POST /_synapse/client/oidc/callback?code=…&state=…
 *   POST      /_synapse/client/oidc/backchannel_logout
 */
import { MatrixError, missingParam } from "../../protocol/errors.ts";
import { SsoError } from "../../services/sso/identity_provider.ts";
import { OIDC_STATE, OidcProvider, type OidcState } from "../../services/sso/oidc_provider.ts";
import type { SealedStates } from "../../services/sso/sealed_state.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { withCookies } from "./page.ts";
import { forgetCookies, orErrorPage, sealedStateOf, showStep, type SsoPageDeps } from "./sso_steps.ts";

/** What the routes are built from. */
export interface OidcRoutesDeps extends SsoPageDeps {
  readonly oidc: readonly OidcProvider[];
  readonly states: SealedStates;
  /** Names and flags of the cookies that keep a state. */
  readonly cookies: readonly (readonly [string, string])[];
  readonly cookiePath: string;
}

/** Registers the endpoints. */
export function oidcRoutes(app: App, deps: OidcRoutesDeps): void {
  plain(app)
    .get("/_synapse/client/oidc/callback", (c) => callback(c, { ...deps, params: searchParams(c) }))
    .post("/_synapse/client/oidc/callback", async (c) => await callback(c, { ...deps, params: await readForm(c) }))
    .post("/_synapse/client/oidc/backchannel_logout", async (c) => await logout(c, deps));
}

async function callback(c: Ctx, deps: OidcRoutesDeps & { params: URLSearchParams }): Promise<Response> {
  const { params } = deps;
  const response = await orErrorPage(deps, async () => {
    const error = params.get("error");
    if (error !== null) throw new SsoError(error.slice(0, 100), params.get("error_description")?.slice(0, 500) ?? "");
    const kept = stateOf(c, deps);
    const given = params.get("state");
    if (given === null) throw new SsoError("invalid_request", "State parameter is missing");
    if (!OidcProvider.isOf(kept, given)) {
      throw new SsoError("mismatching_session", "This login was begun in another browser, or another one after it.");
    }
    const provider = deps.oidc.find(({ info }) => info.id === kept.idp);
    if (provider === undefined) throw new SsoError("unknown_idp", "Unknown IdP");
    const code = params.get("code");
    if (code === null) throw new SsoError("invalid_request", "Code parameter is missing");
    return await showStep(deps, await deps.sso.arrive(await provider.arrive(kept, code)));
  });
  // A state works once: whoever comes back again begins anew.
  return withCookies(response, forgetCookies(deps.cookies, deps.cookiePath));
}

function stateOf(c: Ctx, { states, cookies }: OidcRoutesDeps): OidcState {
  const sealed = sealedStateOf(c, cookies);
  if (sealed === null) throw new SsoError("missing_session", "No session cookie found");
  const state = states.open(OIDC_STATE, sealed);
  if (state === null) throw new SsoError("invalid_session", "This login took too long. Please begin again.");
  return state as unknown as OidcState;
}

/** Spec: OpenID Connect Back-Channel Logout 1.0. */
async function logout(c: Ctx, { oidc, sso, log }: OidcRoutesDeps): Promise<Response> {
  const token = (await readForm(c)).get("logout_token");
  if (token === null) throw missingParam("logout_token");
  const claims = unverifiedClaims(token);
  const audiences: readonly unknown[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  const provider = oidc.find(({ options }) => options.issuer === claims.iss && audiences.includes(options.clientId));
  if (provider === undefined) throw badToken("Could not find the OP that issued this event");
  if (!provider.options.backchannelLogoutEnabled) {
    throw badToken("OpenID Connect Back-Channel Logout is disabled for this provider");
  }
  let ended: Awaited<ReturnType<OidcProvider["logout"]>>;
  try {
    ended = await provider.logout(token);
  } catch (error) {
    log.warn(`A logout of ${provider.info.id} is not valid: ${error instanceof Error ? error.message : error}`);
    throw badToken("Invalid logout_token");
  }
  await sso.endSession({ authProvider: provider.info.id, authSession: ended.sid, externalId: ended.externalId });
  return json({});
}

/** Reads who signed a token, to find the keys that tell whether they did. */
function unverifiedClaims(token: string): Record<string, unknown> {
  try {
    const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
    if (typeof claims === "object" && claims !== null) return claims;
  } catch {
    // Told below, as of any other text that is no token.
  }
  throw badToken("Invalid logout_token payload in request");
}

function badToken(message: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message);
}
