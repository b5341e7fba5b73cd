/**
 * Which servers this one talks to, as Synapse shows it where `federation_whitelist_endpoint_enabled` is set.
 *   GET /_synapse/client/v1/config/federation_whitelist
 */
import { type App, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { json } from "../middleware/responses.ts";

/** What the route is built from. */
export interface FederationWhitelistRoutesDeps {
  readonly auth: Auth;
  /** `federation_domain_whitelist`. */
  readonly whitelist: readonly string[] | null;
}

/** Registers the endpoint. */
export function federationWhitelistRoutes(app: App, { auth, whitelist }: FederationWhitelistRoutesDeps): void {
  plain(app).get(
    "/_synapse/client/v1/config/federation_whitelist",
    auth.user(),
    () => json({ whitelist_enabled: whitelist !== null, whitelist: [...whitelist ?? []] }),
  );
}
