/**
 * Other servers, as in Synapse's admin API. All paths are below `/_synapse/admin/v1/federation`.
 *   GET  /destinations, /destinations/{destination}, /destinations/{destination}/rooms
 *   POST /destinations/{destination}/reset_connection
 */
import { z } from "zod";
import type { FederationAdmin } from "../../services/federation_admin.ts";
import { DESTINATION_ORDERS, type ListPage } from "../../storage/destination_listing.ts";
import { type App, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, pathText, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface FederationAdminRoutesDeps {
  readonly auth: Auth;
  readonly federationAdmin: FederationAdmin;
}

const MAX_PAGE = 1_000;
const DEFAULT_PAGE = 100;
const PageQuery = z.object({
  from: intParam().optional(),
  limit: intParam().optional(),
  dir: z.enum(["f", "b"]).optional(),
});
const ListQuery = z.object({
  ...PageQuery.shape,
  destination: z.string().max(255).optional(),
  order_by: z.enum(DESTINATION_ORDERS).optional(),
});

/** Registers the endpoints. */
export function federationAdminRoutes(app: App, { auth, federationAdmin }: FederationAdminRoutesDeps): void {
  plain(app, "/_synapse/admin/v1/federation")
    .get("/destinations", auth.admin(), async (c) => {
      const { destination: name = "", order_by: order = "destination", ...params } = query(c, ListQuery);
      const page = pageOf(params);
      const { destinations, total } = await federationAdmin.list({ name, order, page });
      return json({ destinations, total, ...nextOf(page, { count: destinations.length, total }) });
    })
    .get("/destinations/:destination", auth.admin(), async (c) => {
      return json(await federationAdmin.get(pathText(c, "destination")));
    })
    .get("/destinations/:destination/rooms", auth.admin(), async (c) => {
      const page = pageOf(query(c, PageQuery));
      const { rooms, total } = await federationAdmin.rooms(pathText(c, "destination"), page);
      return json({ rooms, total, ...nextOf(page, { count: rooms.length, total }) });
    })
    .post("/destinations/:destination/reset_connection", auth.admin(), async (c) => {
      await federationAdmin.reset(pathText(c, "destination"));
      return json({});
    });
}

function pageOf({ from = 0, limit = DEFAULT_PAGE, dir = "f" }: z.output<typeof PageQuery>): ListPage {
  return { backward: dir === "b", from, limit: Math.min(limit, MAX_PAGE) };
}

/** As Synapse does, the token is a text. */
function nextOf(
  { from, limit }: ListPage,
  { count, total }: { count: number; total: number },
): { next_token?: string } {
  return from + limit < total ? { next_token: String(from + count) } : {};
}
