/** Removes devices that were not seen for as long as `delete_stale_devices_after` says: their users are logged out. */
import type { Clock } from "../lib/clock.ts";
import type { Devices } from "../services/devices.ts";
import type { Database } from "../storage/database.ts";
import { selectStaleDevices } from "../storage/devices.ts";

const STEP = 100;

/** Removes them, one in each transaction. */
export async function deleteStaleDevices(
  { db, clock, devices }: { db: Database; clock: Clock; devices: Devices },
  { maxAgeMs, signal }: { maxAgeMs: number; signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    const stale = await selectStaleDevices(db, { before: clock.now() - maxAgeMs, limit: STEP });
    for (const { userId, deviceId } of stale) {
      if (signal.aborted) return;
      await devices.remove(userId, [deviceId]);
    }
    if (stale.length < STEP) return;
  }
}
