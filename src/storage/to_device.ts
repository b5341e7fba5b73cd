/** Messages from device to device, kept until the recipient's next sync acknowledges them. */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** One message waiting for a device. */
export interface ToDeviceMessage {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly position: number;
  /** The event's text as /sync gives it. */
  readonly json: string;
}

/** Puts messages into inboxes. */
export async function insertToDeviceMessages(tx: Tx, messages: readonly ToDeviceMessage[]): Promise<void> {
  await tx.runMany(messages.map((message) =>
    sql`
    INSERT INTO to_device_messages (user_id, device_id, position, json)
    VALUES (${message.userId}, ${message.deviceId}, ${message.position}, ${message.json})`
  ));
}

/** Returns the messages for a device in `(after, upTo]`, oldest first, at most `limit`. */
export async function selectToDeviceMessages(
  db: Db,
  { userId, deviceId, after, upTo, limit }: {
    userId: UserId;
    deviceId: DeviceId;
    after: number;
    upTo: number;
    limit: number;
  },
): Promise<{ position: number; json: string }[]> {
  return await db.all<{ position: number; json: string }>(sql`
    SELECT position, json FROM to_device_messages
    WHERE user_id = ${userId} AND device_id = ${deviceId} AND position > ${after} AND position <= ${upTo}
    ORDER BY position LIMIT ${limit}`);
}

/** Deletes what a device has acknowledged; returns how many there were. */
export async function deleteToDeviceMessages(
  tx: Tx,
  { userId, deviceId, upTo }: { userId: UserId; deviceId: DeviceId; upTo: number },
): Promise<number> {
  return await tx.run(sql`
    DELETE FROM to_device_messages WHERE user_id = ${userId} AND device_id = ${deviceId} AND position <= ${upTo}`);
}

/** Notes a transaction id; returns false when this device used it before. */
export async function insertToDeviceTransaction(
  tx: Tx,
  { userId, deviceId, txnId, createdTs }: { userId: UserId; deviceId: string; txnId: string; createdTs: number },
): Promise<boolean> {
  return await tx.run(sql`
    INSERT INTO to_device_transactions (user_id, device_id, txn_id, created_ts)
    VALUES (${userId}, ${deviceId}, ${txnId}, ${createdTs})
    ON CONFLICT DO NOTHING`) > 0;
}

/** Forgets transaction ids from before `beforeTs`. */
export async function deleteToDeviceTransactionsBefore(tx: Tx, beforeTs: number): Promise<number> {
  return await tx.run(sql`DELETE FROM to_device_transactions WHERE created_ts < ${beforeTs}`);
}

/** Deletes all messages for a device that is gone. */
export async function deleteInboxOfDevice(
  tx: Tx,
  { userId, deviceId }: { userId: UserId; deviceId: DeviceId },
): Promise<void> {
  await tx.run(sql`DELETE FROM to_device_messages WHERE user_id = ${userId} AND device_id = ${deviceId}`);
}
