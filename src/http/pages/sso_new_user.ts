/**
 * Pages for new users who came from an identity provider. The paths are Synapse's.
 *   GET, POST /_synapse/client/pick_username/account_details
 *   GET       /_synapse/client/pick_username/check?username=…
 *   GET, POST /_synapse/client/new_user_consent
 *   GET       /_synapse/client/sso_register
 */
import { MatrixError, missingParam } from "../../protocol/errors.ts";
import type { Registration } from "../../services/registration.ts";
import { SsoError } from "../../services/sso/identity_provider.ts";
import { templateHash } from "../../services/templates.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { newUserToken, orErrorPage, showStep, type SsoPageDeps } from "./sso_steps.ts";

/** What the routes are built from. */
export interface SsoNewUserRoutesDeps extends SsoPageDeps {
  readonly registration: Pick<Registration, "assertAvailable">;
  readonly termsUrl: string | null;
  readonly termsVersion: string | null;
}

const DETAILS_PATH = "/_synapse/client/pick_username/account_details";
const CONSENT_PATH = "/_synapse/client/new_user_consent";
const MAX_EMAILS = 50;

/** Registers the endpoints. */
export function ssoNewUserRoutes(app: App, deps: SsoNewUserRoutesDeps): void {
  const { sso } = deps;
  plain(app)
    .get(DETAILS_PATH, (c) => orErrorPage(deps, () => showDetails(newUserToken(c), deps)))
    .post(DETAILS_PATH, (c) => orErrorPage(deps, () => submitDetails(c, deps)))
    .get("/_synapse/client/pick_username/check", (c) => check(c, deps))
    .get(CONSENT_PATH, (c) => orErrorPage(deps, () => showConsent(newUserToken(c), deps)))
    .post(CONSENT_PATH, (c) =>
      orErrorPage(deps, async () => {
        const version = (await readForm(c)).get("accepted_version");
        if (version === null) throw new SsoError("bad_param", 'Missing parameter "accepted_version"');
        return await showStep(deps, await sso.acceptTerms(newUserToken(c), version));
      }))
    .get(
      "/_synapse/client/sso_register",
      (c) => orErrorPage(deps, async () => await showStep(deps, await sso.complete(newUserToken(c)))),
    );
}

async function showDetails(
  token: string,
  { sso, pages }: SsoNewUserRoutesDeps,
  { error, status = 200 }: { error?: string; status?: number } = {},
): Promise<Response> {
  const { authProvider, user } = await sso.newUser(token);
  const info = sso.provider(authProvider)?.info;
  const vars = {
    error,
    idp: { idp_id: info?.id, idp_name: info?.name, idp_icon: info?.icon },
    user_attributes: {
      display_name: user.displayName,
      emails: user.emails,
      localpart: user.localpart ?? "",
      avatar_url: user.picture,
    },
  };
  return await pages.show("sso_auth_account_details.html", vars, {
    ...{ status, images: true, requests: ["'self'"], formTargets: [clientOrigin(user.redirectUrl)] },
    scripts: [templateHash("sso_auth_account_details.js")],
  });
}

async function submitDetails(c: Ctx, deps: SsoNewUserRoutesDeps): Promise<Response> {
  const token = newUserToken(c);
  const form = await readForm(c);
  const localpart = form.get("username");
  if (localpart === null) throw new SsoError("bad_param", 'Missing parameter "username"');
  try {
    const step = await deps.sso.choose(token, {
      localpart,
      useDisplayName: form.get("use_display_name") === "true",
      usePicture: form.get("use_avatar") === "true",
      emails: form.getAll("use_email").slice(0, MAX_EMAILS),
    });
    return await showStep(deps, step);
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return await showDetails(token, deps, { error: error.message, status: error.status });
  }
}

/** Tells whether a name is free, to those who are choosing one. */
async function check(c: Ctx, { sso, registration }: SsoNewUserRoutesDeps): Promise<Response> {
  const username = searchParams(c).get("username");
  if (username === null) throw missingParam("username");
  try {
    await sso.newUser(newUserToken(c));
  } catch (error) {
    if (error instanceof SsoError) throw new MatrixError(400, "M_UNKNOWN", error.message);
    throw error;
  }
  try {
    await registration.assertAvailable(username);
  } catch (error) {
    if (error instanceof MatrixError && error.errcode === "M_USER_IN_USE") return json({ available: false });
    throw error;
  }
  return json({ available: true });
}

async function showConsent(
  token: string,
  { sso, pages, termsVersion, termsUrl, publicBaseurl }: SsoNewUserRoutesDeps,
): Promise<Response> {
  const session = await sso.newUser(token);
  const userId = sso.newUserId(session);
  const vars = {
    ...{ user_id: userId, user_profile: { display_name: session.user.displayName } },
    ...{ consent_version: termsVersion, terms_url: termsUrl },
    my_url: `${publicBaseurl}${CONSENT_PATH.slice(1)}`,
  };
  const formTargets = [clientOrigin(session.user.redirectUrl)];
  return await pages.show("sso_new_user_consent.html", vars, { images: true, formTargets });
}

/** Returns what a security policy calls the client, to which the last form leads. */
function clientOrigin(redirectUrl: string): string {
  const { protocol, origin } = new URL(redirectUrl);
  return protocol === "https:" || protocol === "http:" ? origin : protocol;
}
