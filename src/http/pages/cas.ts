/**
 * Where the CAS server sends people with their tickets. The path is Synapse's.
 *   GET /_matrix/client/v3/login/cas/ticket?ticket=…&(redirectUrl=…|session=…)
 */
import { missingParam } from "../../protocol/errors.ts";
import { CAS_STATE, type CasProvider } from "../../services/sso/cas_provider.ts";
import { SsoError, type SsoPurpose } from "../../services/sso/identity_provider.ts";
import type { SealedStates } from "../../services/sso/sealed_state.ts";
import { type App, client, type Ctx } from "../app.ts";
import { searchParams } from "../middleware/params.ts";
import { withCookies } from "./page.ts";
import { forgetCookies, orErrorPage, sealedStateOf, showStep, type SsoPageDeps } from "./sso_steps.ts";

/** What the routes are built from. */
export interface CasRoutesDeps extends SsoPageDeps {
  readonly cas: CasProvider;
  readonly states: SealedStates;
  /** Names and flags of the cookies that keep a state. */
  readonly cookies: readonly (readonly [string, string])[];
  readonly cookiePath: string;
}

const MAX_TICKET_LENGTH = 1_024;

/** Registers the endpoint. */
export function casRoutes(app: App, deps: CasRoutesDeps): void {
  client(app).get("/login/cas/ticket", async (c) => {
    const response = await orErrorPage(deps, () => useTicket(c, deps));
    return withCookies(response, forgetCookies(deps.cookies, deps.cookiePath));
  });
}

async function useTicket(c: Ctx, deps: CasRoutesDeps): Promise<Response> {
  const query = searchParams(c);
  const ticket = query.get("ticket");
  if (ticket === null) throw missingParam("ticket");
  if (ticket.length > MAX_TICKET_LENGTH) throw new SsoError("invalid_request", "The ticket is too long.");
  const purpose = purposeOf(c, deps);
  const given = purpose.kind === "login" ? query.get("redirectUrl") : query.get("session");
  if (given !== (purpose.kind === "login" ? purpose.redirectUrl : purpose.uiaSession)) {
    throw new SsoError("mismatching_session", "This login was begun in another browser, or another one after it.");
  }
  return await showStep(deps, await deps.sso.arrive(await deps.cas.arrive(purpose, ticket)));
}

/** Synapse believes the ticket's address alone, so that anybody's ticket logs in whoever opens it. */
function purposeOf(c: Ctx, { states, cookies }: CasRoutesDeps): SsoPurpose {
  const sealed = sealedStateOf(c, cookies);
  if (sealed === null) throw new SsoError("missing_session", "No session cookie found");
  const state = states.open(CAS_STATE, sealed);
  if (state === null) throw new SsoError("invalid_session", "This login took too long. Please begin again.");
  return state as unknown as SsoPurpose;
}
