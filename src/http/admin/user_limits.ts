/**
 * Limits of their own for users, as in Synapse's admin API.
 *   GET, POST, DELETE /_synapse/admin/v1/users/{userId}/override_ratelimit
 */
import { invalidParam } from "../../protocol/errors.ts";
import { parseUserId, type UserId } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { RateLimitOverrides } from "../../services/rate_limit_overrides.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface UserLimitRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
  readonly limitOverrides: RateLimitOverrides;
}

const PATH = "/_synapse/admin/v1/users/:userId/override_ratelimit";

/** Registers the endpoints. */
export function userLimitRoutes(app: App, { auth, userAdmin, limitOverrides }: UserLimitRoutesDeps): void {
  async function userOf(c: Ctx, otherwise: string): Promise<UserId> {
    const { userId } = pathIds(c, { userId: parseUserId });
    return (await userAdmin.require(userId, otherwise)).userId;
  }
  plain(app)
    .get(PATH, auth.admin(), async (c) => {
      const found = await limitOverrides.get(await userOf(c, "Can only look up local users"));
      return json(found === null ? {} : limitJson(found));
    })
    .post(PATH, auth.admin(), async (c) => {
      const userId = await userOf(c, "Only local users can be ratelimited");
      const body = await readJsonObject(c, { allowEmpty: true });
      const limit = {
        messagesPerSecond: countIn(body, "messages_per_second"),
        burstCount: countIn(body, "burst_count"),
      };
      await limitOverrides.set({ userId, ...limit });
      return json(limitJson(limit));
    })
    .delete(PATH, auth.admin(), async (c) => {
      await limitOverrides.clear(await userOf(c, "Only local users can be ratelimited"));
      return json({});
    });
}

function countIn(body: JsonObject, name: string): number {
  const value = Object.hasOwn(body, name) ? body[name] : 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalidParam(`"${name}" must be a whole number that is not negative`);
}

function limitJson(limit: { messagesPerSecond: number; burstCount: number }): JsonObject {
  return { messages_per_second: limit.messagesPerSecond, burst_count: limit.burstCount };
}
