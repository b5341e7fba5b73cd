/**
 * What the Matrix Authentication Service calls, with the secret that the two servers share. The paths are Synapse's.
 *   GET  /_synapse/mas/query_user, /is_localpart_available
 *   POST /_synapse/mas/{provision_user,delete_user,reactivate_user,set_displayname,unset_displayname,
 *        allow_cross_signing_reset,upsert_device,delete_device,update_device_display_name,sync_devices}
 */
import { z } from "zod";
import { forbidden, missingToken } from "../protocol/errors.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Accounts } from "../services/accounts.ts";
import type { Mas } from "../services/mas.ts";
import type { MasAccounts } from "../services/mas_accounts.ts";
import type { Profiles } from "../services/profile.ts";
import type { User } from "../storage/users.ts";
import { type App, type Ctx, type Guard, plain } from "./app.ts";
import { tokenOf } from "./middleware/auth.ts";
import { readJson } from "./middleware/body.ts";
import { query } from "./middleware/params.ts";
import { json } from "./middleware/responses.ts";

/** What the routes are built from. */
export interface MasRoutesDeps {
  readonly mas: Mas;
  readonly masAccounts: MasAccounts;
  readonly accounts: Pick<Accounts, "deactivate" | "reactivate">;
  readonly profiles: Pick<Profiles, "memberProfile">;
}

const MAX_DEVICES = 10_000;
const text = z.string().max(512);
const UserBody = z.looseObject({ localpart: text });
const DeviceBody = z.looseObject({ localpart: text, device_id: text });
const DeleteUserBody = z.looseObject({ localpart: text, erase: z.boolean() });
const NameBody = z.looseObject({ localpart: text, displayname: z.string() });
const UpsertDeviceBody = z.looseObject({ ...DeviceBody.shape, display_name: z.string().nullish() });
const RenameDeviceBody = z.looseObject({ ...DeviceBody.shape, display_name: z.string() });
const SyncDevicesBody = z.looseObject({ localpart: text, devices: z.array(text).max(MAX_DEVICES) });
const ProvisionBody = z.looseObject({
  localpart: text,
  unset_displayname: z.boolean().optional(),
  set_displayname: z.string().nullish(),
  unset_avatar_url: z.boolean().optional(),
  set_avatar_url: z.string().nullish(),
  unset_emails: z.boolean().optional(),
  set_emails: z.array(text).max(1_000).nullish(),
  locked: z.boolean().nullish(),
}).refine((body) =>
  ["displayname", "avatar_url", "emails"].every((name) => !(`unset_${name}` in body && `set_${name}` in body))
);

/** Registers the endpoints. */
export function masRoutes(app: App, deps: MasRoutesDeps): void {
  const { masAccounts, profiles } = deps;
  const isMas = secretGuard(deps.mas);
  const routes = plain(app, "/_synapse/mas");
  routes
    .get("/query_user", isMas, async (c) => {
      const { localpart } = query(c, z.object({ localpart: text }));
      const { userId, isSuspended, isDeactivated } = await masAccounts.require(localpart);
      const { displayname, avatarUrl } = await profiles.memberProfile(userId);
      return json({
        ...{ user_id: userId, display_name: displayname, avatar_url: avatarUrl },
        ...{ is_suspended: isSuspended, is_deactivated: isDeactivated },
      });
    })
    .get("/is_localpart_available", isMas, async (c) => {
      await masAccounts.assertAvailable(query(c, z.object({ localpart: text })).localpart);
      return json({});
    })
    .post("/provision_user", isMas, (c) => provision(c, deps));
  userRoutes(routes, { ...deps, isMas });
  deviceRoutes(routes, { ...deps, isMas });
}

type Routes = ReturnType<typeof plain>;
type Deps = MasRoutesDeps & { readonly isMas: Guard };

function userRoutes(routes: Routes, { masAccounts, accounts, isMas }: Deps): void {
  routes
    .post(
      "/delete_user",
      isMas,
      on(masAccounts, DeleteUserBody, async ({ userId }, { erase }) => {
        await accounts.deactivate(userId, { erase });
      }),
    )
    .post("/reactivate_user", isMas, on(masAccounts, UserBody, ({ userId }) => accounts.reactivate(userId)))
    .post(
      "/set_displayname",
      isMas,
      on(masAccounts, NameBody, async ({ userId }, { displayname }) => {
        await masAccounts.setProfile(userId, { key: "displayname", value: displayname });
      }),
    )
    .post(
      "/unset_displayname",
      isMas,
      on(masAccounts, UserBody, async ({ userId }) => {
        await masAccounts.setProfile(userId, { key: "displayname", value: null });
      }),
    )
    .post(
      "/allow_cross_signing_reset",
      isMas,
      on(masAccounts, UserBody, async ({ userId }) => {
        await masAccounts.allowReset(userId);
      }),
    );
}

function deviceRoutes(routes: Routes, { masAccounts, isMas }: Deps): void {
  routes
    .post(
      "/upsert_device",
      isMas,
      on(masAccounts, UpsertDeviceBody, async ({ userId }, body) => {
        const device = { deviceId: body.device_id, displayName: body.display_name ?? null };
        return json({}, { status: await masAccounts.upsertDevice(userId, device) ? 201 : 200 });
      }),
    )
    .post(
      "/delete_device",
      isMas,
      on(masAccounts, DeviceBody, async ({ userId }, { device_id: deviceId }) => {
        await masAccounts.deleteDevice(userId, deviceId);
        return new Response(null, { status: 204 });
      }),
    )
    .post(
      "/update_device_display_name",
      isMas,
      on(masAccounts, RenameDeviceBody, async ({ userId }, body) => {
        await masAccounts.renameDevice(userId, { deviceId: body.device_id, displayName: body.display_name });
      }),
    )
    .post(
      "/sync_devices",
      isMas,
      on(masAccounts, SyncDevicesBody, async ({ userId }, { devices }) => {
        await masAccounts.syncDevices(userId, devices);
      }),
    );
}

/** Makes a handler for a body that names a user, who must exist; it answers `{}` unless `work` answers. */
function on<Schema extends z.ZodType<{ localpart: string }>>(
  masAccounts: MasAccounts,
  ...[schema, work]: [Schema, (user: User, body: z.output<Schema>) => Promise<Response | void>]
): (c: Ctx) => Promise<Response> {
  return async (c) => {
    const body = await readJson(c, schema);
    return await work(await masAccounts.require(body.localpart), body) ?? json({});
  };
}

async function provision(c: Ctx, { masAccounts }: MasRoutesDeps): Promise<Response> {
  const body = await readJson(c, ProvisionBody);
  const isNew = await masAccounts.provision({
    localpart: body.localpart,
    displayName: body.unset_displayname === true ? null : body.set_displayname ?? undefined,
    avatarUrl: body.unset_avatar_url === true ? null : body.set_avatar_url ?? undefined,
    emails: body.unset_emails === true ? [] : body.set_emails ?? undefined,
    isLocked: body.locked ?? undefined,
  });
  const empty: JsonObject = {};
  return json(empty, { status: isNew ? 201 : 200 });
}

function secretGuard(mas: Mas): Guard {
  return (c) => {
    const token = tokenOf(c);
    if (token === null || token === "") throw missingToken();
    if (!mas.isSecret(token)) throw forbidden("This endpoint must only be called by MAS");
  };
}
