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

/** Which messages for a dehydrated device to read. */
export interface DehydratedPage {
  readonly deviceId: DeviceId;
  /** A token of the page before. */
  readonly from: string | null;
  readonly limit?: number;
  /** Give a token on the last page too: earlier drafts end with an empty page. */
  readonly always?: boolean;
}

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

  /**
   * Returns messages for the device, as the text of the response body. `next_batch` goes on behind them; it is left out
   * behind the last ones unless `always`.
   */
  async messages(userId: UserId, { deviceId, from, limit = PAGE, always = false }: DehydratedPage): Promise<string> {
    const { db } = this.#deps;
    if ((await selectDehydratedDevice(db, userId))?.deviceId !== deviceId) {
      throw forbidden("You may only fetch messages for your dehydrated device");
    }
    const after = from === null ? 0 : parseToken(from);
    const wanted = Math.min(limit, PAGE);
    const range = { userId, deviceId, after, upTo: Number.MAX_SAFE_INTEGER, limit: wanted + 1 };
    const found = await selectToDeviceMessages(db, range);
    const messages = found.slice(0, wanted);
    const end = messages.at(-1)?.position ?? after;
    const next = always || found.length > messages.length ? `,"next_batch":"d1_${end}"` : "";
    return `{"events":[${messages.map(({ json }) => json).join(",")}]${next}}`;
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
