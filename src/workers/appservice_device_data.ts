/** How many one-time keys the devices of services' users have left (MSC3202). */
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { DeviceKeysService } from "../services/device_keys.ts";
import type { Db } from "../storage/database.ts";
import { selectDevices } from "../storage/devices.ts";

/** What the counts are read from. */
export interface AppserviceDeviceDataDeps {
  readonly db: Db;
  readonly deviceKeys: Pick<DeviceKeysService, "stock">;
}

const MAX_USERS = 500;

/** Reads the counts. */
export class AppserviceDeviceData {
  readonly #deps: AppserviceDeviceDataDeps;

  constructor(deps: AppserviceDeviceDataDeps) {
    this.#deps = deps;
  }

  /** Returns the parts of a transaction that tell of the keys of some users' devices. */
  async of(users: ReadonlySet<UserId>): Promise<JsonObject> {
    const { db, deviceKeys } = this.#deps;
    const counts: Record<string, JsonObject> = {};
    const fallbacks: Record<string, JsonObject> = {};
    for (const userId of [...users].slice(0, MAX_USERS)) {
      for (const { deviceId } of await selectDevices(db, userId)) {
        const { oneTime, fallback } = await deviceKeys.stock({ userId, deviceId });
        (counts[userId] ??= {})[deviceId] = { ...oneTime };
        (fallbacks[userId] ??= {})[deviceId] = [...fallback];
      }
    }
    return {
      "org.matrix.msc3202.device_one_time_keys_count": counts,
      // The name that bridges knew first.
      "org.matrix.msc3202.device_one_time_key_counts": counts,
      "org.matrix.msc3202.device_unused_fallback_key_types": fallbacks,
    };
  }
}
