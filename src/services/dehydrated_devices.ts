/**
 * Dehydrated devices (MSC3814): a device that receives keys while its user is logged in nowhere, and whose messages the
 * next login reads.
 */
import type { Clock } from "../lib/clock.ts";
import { forbidden, invalidParam, notFound } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteDehydratedDevice,
  selectDehydratedDevice,
  upsertDehydratedDevice,
} from "../storage/dehydrated_devices.ts";
import { insertDevice, selectDevice } from "../storage/devices.ts";
import { selectToDeviceMessages } from "../storage/to_device.ts";
import type { DeviceKeysService } from "./device_keys.ts";
import type { Devices } from "./devices.ts";

/** What the service is built from. */
export interface DehydratedDevicesDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly devices: Devices;
  readonly deviceKeys: DeviceKeysService;
}

/** A device as a client leaves it. */
export interface NewDehydratedDevice {
  readonly deviceId: DeviceId;
  readonly deviceData: JsonObject;
  readonly displayName: string | null;
  readonly keys: Parameters<DeviceKeysService["upload"]>[1];
}

const PAGE = 100;

/** Keeps one dehydrated device for each user. */
export class DehydratedDevices {
  readonly #deps: DehydratedDevicesDeps;

  constructor(deps: DehydratedDevicesDeps) {
    this.#deps = deps;
  }

  /** Leaves a device in place of the one before. Throws 400 for an id that a real device has. */
  async put(userId: UserId, { deviceId, deviceData, displayName, keys }: NewDehydratedDevice): Promise<void> {
    const { db, clock, devices, deviceKeys } = this.#deps;
    const current = await selectDehydratedDevice(db, userId);
    if (current?.deviceId !== deviceId && await selectDevice(db, { userId, deviceId }) !== null) {
      throw invalidParam("There is a device with this id");
    }
    // Refuses malformed keys before anything has changed.
    await deviceKeys.upload({ userId, deviceId }, keys);
    await db.transaction(async (tx) => {
      const before = await selectDehydratedDevice(tx, userId);
      if (before !== null && before.deviceId !== deviceId) {
        await devices.removeIn(tx, { userId, deviceIds: [before.deviceId] });
      }
      await insertDevice(tx, { userId, deviceId, displayName, createdTs: clock.now() });
      await upsertDehydratedDevice(tx, { userId, deviceId, deviceData: JSON.stringify(deviceData) });
    });
  }

  /** Returns the response body. Throws 404 when there is none. */
  async get(userId: UserId): Promise<JsonObject> {
    const found = await selectDehydratedDevice(this.#deps.db, userId);
    if (found === null) throw notFound("No dehydrated device available");
    return { device_id: found.deviceId, device_data: JSON.parse(found.deviceData) as JsonObject };
  }

  /** Removes the device and returns its id. Throws 404 when there is none. */
  async delete(userId: UserId): Promise<DeviceId> {
    const found = await selectDehydratedDevice(this.#deps.db, userId);
    if (found === null) throw notFound("No dehydrated device available");
    await this.#remove(userId, found.deviceId);
    return found.deviceId;
  }

  /** Returns messages for the device, as the text of the response body; a token goes on after those of the page before. */
  async messages(
    userId: UserId,
    { deviceId, nextBatch }: { deviceId: DeviceId; nextBatch: string | null },
  ): Promise<string> {
    const { db } = this.#deps;
    if ((await selectDehydratedDevice(db, userId))?.deviceId !== deviceId) {
      throw forbidden("You may only fetch messages for your dehydrated device");
    }
    const after = nextBatch === null ? 0 : parseToken(nextBatch);
    const range = { userId, deviceId, after, upTo: Number.MAX_SAFE_INTEGER, limit: PAGE };
    const messages = await selectToDeviceMessages(db, range);
    const end = messages.at(-1)?.position ?? after;
    return `{"events":[${messages.map(({ json }) => json).join(",")}],"next_batch":"d1_${end}"}`;
  }

  async #remove(userId: UserId, deviceId: DeviceId): Promise<void> {
    const { db, devices } = this.#deps;
    await db.transaction(async (tx) => {
      await deleteDehydratedDevice(tx, { userId, deviceId });
      await devices.removeIn(tx, { userId, deviceIds: [deviceId] });
    });
  }
}

function parseToken(token: string): number {
  const match = /^d1_([0-9]{1,15})$/.exec(token);
  if (match === null) throw invalidParam("Invalid next_batch");
  return Number(match[1]);
}
