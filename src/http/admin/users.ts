/**
 * Accounts, as in Synapse's admin API.
 *   GET /_synapse/admin/v2/users, /_synapse/admin/v3/users
 *   GET, PUT /_synapse/admin/v2/users/{userId}
 */
import { z } from "zod";
import { isStorable, MAX_ID_BYTES, parseUserId } from "../../protocol/ids.ts";
import type { UserAdmin, UserChange } from "../../services/user_admin.ts";
import { USER_ORDERS, type UserFilter } from "../../storage/user_listing.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { boolParam, intParam, pathIds, query, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface UserAdminRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
}

const MAX_PAGE = 1_000;
const MAX_THREEPIDS = 100;
const MAX_EXTERNAL_IDS = 100;
const idText = z.string().min(1).refine((text) => isStorable(text, MAX_ID_BYTES));
const ListQuery = z.object({
  from: intParam().optional(),
  limit: intParam().optional(),
  user_id: z.string().max(255).optional(),
  name: z.string().max(255).optional(),
  guests: boolParam().optional(),
  deactivated: boolParam().optional(),
  admins: boolParam().optional(),
  locked: boolParam().optional(),
  approved: boolParam().optional(),
  order_by: z.enum(USER_ORDERS).optional(),
  dir: z.enum(["f", "b"]).optional(),
});
const UserBody = z.looseObject({
  password: z.string().max(512).nullish(),
  logout_devices: z.boolean().optional(),
  displayname: z.string().nullish(),
  avatar_url: z.string().nullish(),
  threepids: z.array(z.looseObject({ medium: z.string(), address: z.string() })).max(MAX_THREEPIDS).nullish(),
  external_ids: z.array(z.looseObject({ auth_provider: idText, external_id: idText })).max(MAX_EXTERNAL_IDS).nullish(),
  admin: z.boolean().optional(),
  deactivated: z.boolean().optional(),
  locked: z.boolean().optional(),
  approved: z.boolean().optional(),
  user_type: z.string().nullish(),
});

/** Registers the endpoints. */
export function userAdminRoutes(app: App, { auth, userAdmin }: UserAdminRoutesDeps): void {
  plain(app)
    // What is left out of the older list are deactivated users only: `true` shows both kinds.
    .get(
      "/_synapse/admin/v2/users",
      auth.admin(),
      (c) => list(c, { userAdmin, deactivated: (value) => value === true ? null : false }),
    )
    .get("/_synapse/admin/v3/users", auth.admin(), (c) => list(c, { userAdmin, deactivated: (value) => value ?? null }))
    .get("/_synapse/admin/v2/users/:userId", auth.admin(), async (c) => {
      return json(await userAdmin.get(pathIds(c, { userId: parseUserId }).userId));
    })
    .put("/_synapse/admin/v2/users/:userId", auth.admin(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const body = await readJson(c, UserBody);
      const isNew = await userAdmin.put(requester(c), { userId, change: changeOf(body) });
      return json(await userAdmin.get(userId), { status: isNew ? 201 : 200 });
    });
}

async function list(
  c: Ctx,
  { userAdmin, deactivated }: { userAdmin: UserAdmin; deactivated: (value: boolean | undefined) => boolean | null },
): Promise<Response> {
  const params = query(c, ListQuery);
  const filter: UserFilter = {
    userId: params.user_id ?? null,
    name: params.name ?? null,
    guests: params.guests ?? true,
    deactivated: deactivated(params.deactivated),
    admins: params.admins ?? null,
    locked: params.locked ?? false,
    onlyApproved: params.approved ?? true,
    notUserTypes: searchParams(c).getAll("not_user_type"),
  };
  const [from, limit] = [params.from ?? 0, Math.min(params.limit ?? 100, MAX_PAGE)];
  const { users, total } = await userAdmin.list({
    ...{ filter, from, limit, order: params.order_by ?? "name", backward: params.dir === "b" },
  });
  return json({ users, total, ...(from + limit < total ? { next_token: String(from + users.length) } : {}) });
}

function changeOf(body: z.output<typeof UserBody>): UserChange {
  return {
    logoutDevices: body.logout_devices ?? true,
    ...(typeof body.password === "string" ? { password: body.password } : {}),
    ...(body.displayname === undefined ? {} : { displayname: body.displayname || null }),
    ...(body.avatar_url === undefined ? {} : { avatarUrl: body.avatar_url || null }),
    ...(body.threepids ? { threepids: body.threepids } : {}),
    ...(body.external_ids
      ? {
        externalIds: body.external_ids.map(({ auth_provider: authProvider, external_id: externalId }) => ({
          ...{ authProvider, externalId },
        })),
      }
      : {}),
    ...(body.admin === undefined ? {} : { isAdmin: body.admin }),
    ...(body.deactivated === undefined ? {} : { isDeactivated: body.deactivated }),
    ...(body.locked === undefined ? {} : { isLocked: body.locked }),
    ...(body.approved === undefined ? {} : { isApproved: body.approved }),
    ...(body.user_type === undefined ? {} : { userType: body.user_type || null }),
  };
}
