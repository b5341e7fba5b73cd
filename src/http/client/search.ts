/**
 * Searching messages. Spec: client-server API, "Server-side search".
 *   POST /_matrix/client/v3/search
 */
import { z } from "zod";
import { parseSearchBody, parseSearchPlace } from "../../services/search_criteria.ts";
import type { SearchService } from "../../services/search.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { query } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface SearchRoutesDeps {
  readonly auth: Auth;
  readonly search: SearchService;
}

const SearchQuery = z.object({ next_batch: z.string().optional() });

/** Registers the endpoint. */
export function searchRoutes(app: App, { auth, search }: SearchRoutesDeps): void {
  client(app).post("/search", auth.user(), async (c) => {
    const { next_batch: nextBatch } = query(c, SearchQuery);
    const criteria = parseSearchBody(await readJsonObject(c));
    const place = nextBatch === undefined ? null : parseSearchPlace(nextBatch);
    return jsonText(await search.search(requester(c), { criteria, place }));
  });
}
