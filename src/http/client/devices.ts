/**
 * Devices. Spec: client-server API, "Device Management".
 *   GET              /_matrix/client/v3/devices
 *   GET, PUT, DELETE /_matrix/client/v3/devices/{deviceId}
 *   POST             /_matrix/client/v3/delete_devices
 */
import { z } from "zod";
import { notFound, unrecognized } from "../../protocol/errors.ts";
import { type DeviceId, parseDeviceId } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { Devices } from "../../services/devices.ts";
import type { Uia } from "../../services/uia.ts";
import type { Device } from "../../storage/devices.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJson, readJsonObject } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { requirePassword } from "../middleware/uia.ts";

/** What the routes are built from. */
export interface DeviceRoutesDeps {
  readonly auth: Auth;
  readonly devices: Devices;
  readonly uia: Uia;
  /** Whether another server has the accounts: then only application services remove devices here. */
  readonly isDelegated: boolean;
}

const MAX_DELETED_AT_ONCE = 1000;
const DeviceBody = z.looseObject({ display_name: z.string().nullish() });
const DeleteBody = z.looseObject({ devices: z.array(z.string()).max(MAX_DELETED_AT_ONCE) });

/** Registers the endpoints. */
export function deviceRoutes(app: App, deps: DeviceRoutesDeps): void {
  const { auth, devices, uia, isDelegated } = deps;
  client(app)
    .get("/devices", auth.guestOk(), async (c) => {
      const list = await devices.list(requester(c).userId);
      return json({ devices: list.map(deviceJson) });
    })
    .get("/devices/:deviceId", auth.guestOk(), async (c) => {
      return json(deviceJson(await devices.get(requester(c).userId, deviceIdOf(c))));
    })
    .put("/devices/:deviceId", auth.guestOk(), (c) => update(c, devices))
    .delete("/devices/:deviceId", auth.user(), async (c) => {
      if (isDelegated && requester(c).appserviceId === null) throw unrecognized();
      const deviceId = deviceIdOf(c);
      const body = await readJsonObject(c, { allowEmpty: true });
      const conditions = { action: `DELETE /devices/${deviceId}`, allowRecent: true };
      return await requirePassword(c, {
        uia,
        body,
        conditions,
        work: async () => {
          await devices.remove(requester(c).userId, [deviceId]);
          return json({});
        },
      });
    });
  if (!isDelegated) client(app).post("/delete_devices", auth.user(), (c) => removeSome(c, deps));
}

/** Removes several devices. */
async function removeSome(c: Ctx, { devices, uia }: DeviceRoutesDeps): Promise<Response> {
  const body = await readJsonObject(c);
  // Older clients send only `auth` once the session knows the devices; those are checked when they are used.
  if (body.auth === undefined || Object.keys(body).length > 1) checkJson(DeleteBody, body);
  const conditions = { action: "POST /delete_devices", allowRecent: true };
  return await requirePassword(c, {
    uia,
    body,
    conditions,
    work: async (outcome) => {
      const { devices: ids } = checkJson(DeleteBody, outcome.body);
      await devices.remove(requester(c).userId, ids.map((id) => parseDeviceId(id)).filter((id) => id !== null));
      return json({});
    },
  });
}

/** Names a device, or makes it where an application service asks. */
async function update(c: Ctx, devices: Devices): Promise<Response> {
  const { userId } = requester(c);
  const deviceId = deviceIdOf(c);
  const { display_name: displayName } = await readJson(c, DeviceBody);
  if (requester(c).appserviceId !== null) {
    const isNew = await devices.create({ userId, deviceId, displayName: displayName ?? null });
    if (isNew) return json({}, { status: 201 });
  }
  if (typeof displayName === "string") await devices.rename({ userId, deviceId, displayName });
  else await devices.get(userId, deviceId);
  return json({});
}

function deviceIdOf(c: Ctx): DeviceId {
  const parse = (text: string) => {
    const deviceId = parseDeviceId(text);
    if (deviceId === null) throw notFound("Device not found");
    return deviceId;
  };
  return pathIds(c, { deviceId: parse }).deviceId;
}

function deviceJson(device: Device): JsonObject {
  return {
    device_id: device.deviceId,
    ...(device.displayName === null ? {} : { display_name: device.displayName }),
    ...(device.lastSeenTs === null ? {} : { last_seen_ts: device.lastSeenTs }),
    ...(device.lastSeenIp === null ? {} : { last_seen_ip: device.lastSeenIp }),
  };
}
