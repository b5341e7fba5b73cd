/**
 * Devices of users, as in Synapse's admin API. All paths are below `/_synapse/admin/v2/users/{userId}`.
 *   GET, POST /devices
 *   GET, PUT, DELETE /devices/{deviceId}
 *   POST /delete_devices
 */
import { z } from "zod";
import { type DeviceId, parseUserId, type UserId } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { Devices } from "../../services/devices.ts";
import type { UserAdmin } from "../../services/user_admin.ts";
import type { Device } from "../../storage/devices.ts";
import { type App, type Ctx, plain } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds, pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface UserDeviceRoutesDeps {
  readonly auth: Auth;
  readonly userAdmin: UserAdmin;
  readonly devices: Devices;
}

const MAX_DELETED_AT_ONCE = 1000;
const deviceId = z.string().min(1).max(512);
const NewBody = z.looseObject({ device_id: deviceId });
const NameBody = z.looseObject({ display_name: z.string().nullish() });
const DeleteBody = z.looseObject({ devices: z.array(deviceId).max(MAX_DELETED_AT_ONCE) });

/** Registers the endpoints. */
export function userDeviceRoutes(app: App, { auth, userAdmin, devices }: UserDeviceRoutesDeps): void {
  async function userOf(c: Ctx): Promise<UserId> {
    const { userId } = pathIds(c, { userId: parseUserId });
    return (await userAdmin.require(userId, "Can only lookup local users")).userId;
  }
  plain(app, "/_synapse/admin/v2/users/:userId")
    .get("/devices", auth.admin(), async (c) => {
      const userId = await userOf(c);
      const list = await devices.list(userId);
      return json({ devices: list.map((device) => deviceJson(userId, device)), total: list.length });
    })
    .post("/devices", auth.admin(), async (c) => {
      const { device_id: id } = await readJson(c, NewBody);
      await devices.create({ userId: await userOf(c), deviceId: id as DeviceId, displayName: null });
      return json({}, { status: 201 });
    })
    .get("/devices/:deviceId", auth.admin(), async (c) => {
      const userId = await userOf(c);
      return json(deviceJson(userId, await devices.get(userId, deviceOf(c))));
    })
    .put("/devices/:deviceId", auth.admin(), async (c) => {
      const { display_name: displayName } = await readJson(c, NameBody, { allowEmpty: true });
      const device = { userId: await userOf(c), deviceId: deviceOf(c) };
      if (typeof displayName === "string") await devices.rename({ ...device, displayName });
      else await devices.get(device.userId, device.deviceId);
      return json({});
    })
    .delete("/devices/:deviceId", auth.admin(), async (c) => {
      await devices.remove(await userOf(c), [deviceOf(c)]);
      return json({});
    })
    .post("/delete_devices", auth.admin(), async (c) => {
      const { devices: ids } = await readJson(c, DeleteBody);
      await devices.remove(await userOf(c), ids as DeviceId[]);
      return json({});
    });
}

function deviceOf(c: Ctx): DeviceId {
  return pathText(c, "deviceId", { maxLength: 512 }) as DeviceId;
}

function deviceJson(userId: UserId, device: Device): JsonObject {
  return {
    device_id: device.deviceId,
    display_name: device.displayName,
    last_seen_ip: device.lastSeenIp,
    last_seen_user_agent: device.lastSeenUserAgent,
    last_seen_ts: device.lastSeenTs,
    user_id: userId,
  };
}
