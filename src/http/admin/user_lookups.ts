/**
 * Looking up users and what they have, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   GET /auth_providers/{provider}/users/{externalId}, /threepid/{medium}/users/{address}, /search_users/{userId}
 *   GET /users/{userId}/{accountdata,joined_rooms,memberships,pushers}
 *   GET /users/{userId}/{cumulative_joined_room_count,sent_invite_count}
 */
import { z } from "zod";
import { MatrixError } from "../../protocol/errors.ts";
import { parseUserId, type UserId } from "../../protocol/ids.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import type { UserLookups } from "../../services/user_lookups.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, pathIds, pathText, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface UserLookupRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
  readonly lookups: UserLookups;
  readonly isLocal: (userId: UserId) => boolean;
}

const PREFIX = "/_synapse/admin/v1";
const SearchQuery = z.object({ term: z.string().max(255) });
const FromQuery = z.object({ from_ts: intParam() });

/** Registers the endpoints. */
export function userLookupRoutes(app: App, deps: UserLookupRoutesDeps): void {
  const { auth, lookups, isLocal } = deps;
  plain(app, PREFIX)
    .get("/auth_providers/:provider/users/:externalId", auth.admin(), async (c) => {
      const person = {
        authProvider: pathText(c, "provider"),
        externalId: pathText(c, "externalId", { maxLength: 512 }),
      };
      return json({ user_id: await lookups.byExternalId(person) });
    })
    .get("/threepid/:medium/users/:address", auth.admin(), async (c) => {
      const threepid = { medium: pathText(c, "medium"), address: pathText(c, "address", { maxLength: 512 }) };
      return json({ user_id: await lookups.byThreepid(threepid) });
    })
    // Whose id is in the path does not matter, as in Synapse, as long as it is one of this server.
    .get("/search_users/:userId", auth.admin(), async (c) => {
      if (!isLocal(userOf(c))) throw new MatrixError(400, "M_UNKNOWN", "Can only users a local user");
      return json(await lookups.search(query(c, SearchQuery).term));
    });
  possessionRoutes(app, deps);
  roomRoutes(app, deps);
}

function possessionRoutes(app: App, { auth, userAdmin, lookups }: UserLookupRoutesDeps): void {
  async function knownUser(c: Ctx): Promise<UserId> {
    return (await userAdmin.require(userOf(c), "Can only look up local users")).userId;
  }
  plain(app, PREFIX)
    .get("/users/:userId/accountdata", auth.admin(), async (c) => {
      return json({ account_data: await lookups.accountData(await knownUser(c)) });
    })
    .get("/users/:userId/pushers", auth.admin(), async (c) => {
      const pushers = await lookups.pushers(await knownUser(c));
      return json({ pushers, total: pushers.length });
    });
}

/** Users of other servers have rooms here too, and whoever has none need not be known. */
function roomRoutes(app: App, { auth, lookups }: UserLookupRoutesDeps): void {
  plain(app, PREFIX)
    .get("/users/:userId/joined_rooms", auth.admin(), async (c) => {
      const rooms = await lookups.joinedRooms(userOf(c));
      return json({ joined_rooms: rooms, total: rooms.length });
    })
    .get("/users/:userId/memberships", auth.admin(), async (c) => {
      return json({ memberships: await lookups.memberships(userOf(c)) });
    })
    .get("/users/:userId/sent_invite_count", auth.admin(), async (c) => {
      const userId = userOf(c);
      return json({ invite_count: await lookups.countInvites(userId, query(c, FromQuery).from_ts) });
    })
    .get("/users/:userId/cumulative_joined_room_count", auth.admin(), async (c) => {
      const userId = userOf(c);
      return json({
        cumulative_joined_room_count: await lookups.countJoinedRooms(userId, query(c, FromQuery).from_ts),
      });
    });
}

function userOf(c: Ctx): UserId {
  return pathIds(c, { userId: parseUserId }).userId;
}
