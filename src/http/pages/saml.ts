/**
 * Where identity providers learn of the server, and where they send people back. The paths are Synapse's.
 *   GET  /_synapse/client/saml2/metadata.xml
 *   POST /_synapse/client/saml2/authn_response
 */
import { missingParam } from "../../protocol/errors.ts";
import { SsoError } from "../../services/sso/identity_provider.ts";
import { SAML_STATE, type SamlProvider, type SamlState } from "../../services/sso/saml_provider.ts";
import type { SealedStates } from "../../services/sso/sealed_state.ts";
import { type App, type Ctx, plain } from "../app.ts";
import { readForm } from "../middleware/body.ts";
import { withCookies } from "./page.ts";
import { forgetCookies, orErrorPage, sealedStateOf, showStep, type SsoPageDeps } from "./sso_steps.ts";

/** What the routes are built from. */
export interface SamlRoutesDeps extends SsoPageDeps {
  readonly saml: SamlProvider;
  readonly states: SealedStates;
  /** Names and flags of the cookies that keep a state. */
  readonly cookies: readonly (readonly [string, string])[];
  readonly cookiePath: string;
}

const MAX_RESPONSE_BYTES = 400_000;

/** Registers the endpoints. */
export function samlRoutes(app: App, deps: SamlRoutesDeps): void {
  plain(app)
    .get("/_synapse/client/saml2/metadata.xml", async () => {
      const headers = { "content-type": "text/xml; charset=utf-8" };
      return new Response(await deps.saml.describe(), { headers });
    })
    // Some providers redirect here in the place of sending a form.
    .get("/_synapse/client/saml2/authn_response", () =>
      orErrorPage(deps, () => {
        throw new SsoError("unexpected_get", "Unexpected GET request on /saml2/authn_response");
      }))
    .post("/_synapse/client/saml2/authn_response", async (c) => {
      const response = await orErrorPage(deps, () => receive(c, deps));
      return withCookies(response, forgetCookies(deps.cookies, deps.cookiePath));
    });
}

async function receive(c: Ctx, deps: SamlRoutesDeps): Promise<Response> {
  const form = await readForm(c, { maxBytes: MAX_RESPONSE_BYTES });
  const response = form.get("SAMLResponse");
  if (response === null) throw missingParam("SAMLResponse");
  const sealed = sealedStateOf(c, deps.cookies);
  const state = sealed === null ? null : deps.states.open(SAML_STATE, sealed);
  const answer = { response, relayState: form.get("RelayState") ?? "", state: state as unknown as SamlState | null };
  return await showStep(deps, await deps.sso.arrive(await deps.saml.arrive(answer)));
}
