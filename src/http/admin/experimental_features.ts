/**
 * Proposals that are switched on for single users, as in Synapse's admin API.
 *   GET, PUT /_synapse/admin/v1/experimental_features/{userId}
 */
import { badJson, MatrixError } from "../../protocol/errors.ts";
import { parseUserId, type UserId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import { USER_FEATURES, type UserFeature, type UserFeatures } from "../../services/user_features.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJsonObject } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ExperimentalFeatureRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
  readonly userFeatures: UserFeatures;
}

const PATH = "/_synapse/admin/v1/experimental_features/:userId";

/** Registers the endpoints. */
export function experimentalFeatureRoutes(app: App, deps: ExperimentalFeatureRoutesDeps): void {
  const { auth, userAdmin, userFeatures } = deps;
  async function userOf(c: Ctx): Promise<UserId> {
    const { userId } = pathIds(c, { userId: parseUserId });
    return (await userAdmin.require(userId, "User must be local to have experimental features.")).userId;
  }
  plain(app)
    .get(PATH, auth.admin(), async (c) => json({ features: await userFeatures.list(await userOf(c)) }))
    .put(PATH, auth.admin(), async (c) => {
      const userId = await userOf(c);
      await userFeatures.set(userId, switchesIn(await readJsonObject(c)));
      return json({});
    });
}

function switchesIn({ features }: JsonObject): Map<UserFeature, boolean> {
  if (!isJsonObject(features) || Object.keys(features).length === 0) {
    throw new MatrixError(400, "M_UNKNOWN", "You must provide features to set.");
  }
  const switches = new Map<UserFeature, boolean>();
  for (const [name, value] of Object.entries(features)) {
    const feature = USER_FEATURES.find((known) => known === name);
    if (feature === undefined) {
      throw new MatrixError(400, "M_UNKNOWN", `"${name.slice(0, 255)}" is not an experimental feature that can be set`);
    }
    if (typeof value !== "boolean") throw badJson(`"${name}" must be true or false`);
    switches.set(feature, value);
  }
  return switches;
}
