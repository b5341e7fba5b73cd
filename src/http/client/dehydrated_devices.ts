/**
 * Dehydrated devices (MSC3814), below /_matrix/client/unstable/org.matrix.msc3814.v1.
 *   PUT, GET, DELETE /dehydrated_device
 *   POST /dehydrated_device/{deviceId}/events
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { parseDeviceId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { DehydratedDevices } from "../../services/dehydrated_devices.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { intParam, pathIds, query } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface DehydratedDeviceRoutesDeps {
  readonly auth: Auth;
  readonly dehydratedDevices: DehydratedDevices;
}

const MAX_BODY_BYTES = 4_194_304;
const JsonObjectSchema = z.custom<JsonObject>(isJsonObject, "Must be an object");
const PutBody = z.looseObject({
  device_id: z.string(),
  device_data: z.looseObject({ algorithm: z.string() }),
  device_keys: JsonObjectSchema,
  one_time_keys: JsonObjectSchema.optional(),
  fallback_keys: JsonObjectSchema.optional(),
  initial_device_display_name: z.string().max(100).nullish(),
});
const EventsQuery = z.object({ from: z.string().optional(), limit: intParam({ min: 1 }).optional() });
const EventsBody = z.looseObject({ next_batch: z.string().optional() });

/** Registers the endpoints. */
export function dehydratedDeviceRoutes(app: App, { auth, dehydratedDevices }: DehydratedDeviceRoutesDeps): void {
  client(app, ["unstable/org.matrix.msc3814.v1"])
    .put("/dehydrated_device", auth.user(), async (c) => {
      const body = await readJson(c, PutBody, { maxBytes: MAX_BODY_BYTES });
      const deviceId = parseDeviceId(body.device_id);
      if (deviceId === null) throw invalidParam("Invalid device_id");
      await dehydratedDevices.put(requester(c).userId, {
        deviceId,
        deviceData: body.device_data as JsonObject,
        displayName: body.initial_device_display_name ?? null,
        keys: { deviceKeys: body.device_keys, oneTimeKeys: body.one_time_keys, fallbackKeys: body.fallback_keys },
      });
      return json({ device_id: deviceId });
    })
    .get("/dehydrated_device", auth.user(), async (c) => json(await dehydratedDevices.get(requester(c).userId)))
    .delete("/dehydrated_device", auth.user(), async (c) => {
      return json({ device_id: await dehydratedDevices.delete(requester(c).userId) });
    })
    .get("/dehydrated_device/:deviceId/events", auth.user(), async (c) => {
      const { deviceId } = pathIds(c, { deviceId: parseDeviceId });
      const { from, limit } = query(c, EventsQuery);
      const page = { deviceId, from: from ?? null, ...(limit === undefined ? {} : { limit }) };
      return jsonText(await dehydratedDevices.messages(requester(c).userId, page));
    })
    // As clients of an earlier draft ask.
    .post("/dehydrated_device/:deviceId/events", auth.user(), async (c) => {
      const { deviceId } = pathIds(c, { deviceId: parseDeviceId });
      const { next_batch: nextBatch } = await readJson(c, EventsBody, { allowEmpty: true });
      const page = { deviceId, from: nextBatch ?? null, always: true };
      return jsonText(await dehydratedDevices.messages(requester(c).userId, page));
    });
}
