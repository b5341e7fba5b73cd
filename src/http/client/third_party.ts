/**
 * Lookups in other networks. Spec: client-server API, "Third-party Lookups".
 *   GET /thirdparty/protocols, /thirdparty/protocol/{protocol}
 *   GET /thirdparty/location, /thirdparty/location/{protocol}
 *   GET /thirdparty/user, /thirdparty/user/{protocol}
 */
import { notFound } from "../../protocol/errors.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { type App, client, type Ctx } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { pathText, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What answers lookups: bridges, where the server has any. */
export interface ThirdPartyNetworks {
  protocols(): Promise<Readonly<Record<string, JsonObject>>>;
  /** Returns what a network knows; `protocol` is null for a lookup by Matrix id or alias. */
  find(
    kind: "location" | "user",
    query: { readonly protocol: string | null; readonly fields: Readonly<Record<string, string>> },
  ): Promise<readonly JsonObject[]>;
}

/** What the routes are built from. */
export interface ThirdPartyRoutesDeps {
  readonly auth: Auth;
  readonly networks: ThirdPartyNetworks;
}

/** Registers the endpoints. */
export function thirdPartyRoutes(app: App, { auth, networks }: ThirdPartyRoutesDeps): void {
  const find = (kind: "location" | "user") => async (c: Ctx): Promise<Response> => {
    const protocol = c.req.param("protocol") === undefined ? null : pathText(c, "protocol");
    const { access_token: _, ...fields } = Object.fromEntries(searchParams(c));
    const found = await networks.find(kind, { protocol, fields });
    if (found.length === 0) throw notFound("Nothing was found for this lookup");
    return json([...found]);
  };
  client(app)
    .get("/thirdparty/protocols", auth.user(), async () => json({ ...await networks.protocols() }))
    .get("/thirdparty/protocol/:protocol", auth.user(), async (c) => {
      const protocols = await networks.protocols();
      const name = pathText(c, "protocol");
      const protocol = Object.hasOwn(protocols, name) ? protocols[name] : undefined;
      if (protocol === undefined) throw notFound("Unknown protocol");
      return json(protocol);
    })
    .get("/thirdparty/location", auth.user(), find("location"))
    .get("/thirdparty/location/:protocol", auth.user(), find("location"))
    .get("/thirdparty/user", auth.user(), find("user"))
    .get("/thirdparty/user/:protocol", auth.user(), find("user"));
}
