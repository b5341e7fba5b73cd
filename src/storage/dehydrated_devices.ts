/** Dehydrated devices (MSC3814). */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A device that waits to be used. */
export interface DehydratedDevice {
  readonly deviceId: DeviceId;
  /** The text of a JSON object. */
  readonly deviceData: string;
}

/** Returns a user's dehydrated device, or null. */
export async function selectDehydratedDevice(db: Db, userId: UserId): Promise<DehydratedDevice | null> {
  const row = await db.get<{ device_id: DeviceId; device_data: string }>(sql`
    SELECT device_id, device_data FROM dehydrated_devices WHERE user_id = ${userId}`);
  return row && { deviceId: row.device_id, deviceData: row.device_data };
}

/** Sets a user's dehydrated device. */
export async function upsertDehydratedDevice(
  tx: Tx,
  { userId, deviceId, deviceData }: DehydratedDevice & { userId: UserId },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO dehydrated_devices (user_id, device_id, device_data) VALUES (${userId}, ${deviceId}, ${deviceData})
    ON CONFLICT (user_id) DO UPDATE SET device_id = excluded.device_id, device_data = excluded.device_data`);
}

/** Removes a user's dehydrated device, if it is this one. */
export async function deleteDehydratedDevice(
  tx: Tx,
  { userId, deviceId }: { userId: UserId; deviceId: DeviceId },
): Promise<void> {
  await tx.run(sql`DELETE FROM dehydrated_devices WHERE user_id = ${userId} AND device_id = ${deviceId}`);
}
