/**
 * Finding users. Spec: client-server API, "User Directory".
 *   POST /_matrix/client/v3/user_directory/search
 */
import { z } from "zod";
import type { UserDirectoryService } from "../../services/user_directory.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface UserDirectoryRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly userDirectory: UserDirectoryService;
}

const DEFAULT_LIMIT = 10;
const SearchBody = z.looseObject({
  search_term: z.string().max(1_000),
  limit: z.number().int().min(0).optional(),
});

/** Registers the endpoint. */
export function userDirectoryRoutes(app: App, { auth, limits, userDirectory }: UserDirectoryRoutesDeps): void {
  client(app).post("/user_directory/search", auth.user(), limits.perUser("rc_user_directory"), async (c) => {
    const { search_term: term, limit } = await readJson(c, SearchBody);
    return json(await userDirectory.search(requester(c).userId, { term, limit: limit ?? DEFAULT_LIMIT }));
  });
}
