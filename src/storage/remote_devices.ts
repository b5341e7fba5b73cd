/** Devices of users of other servers, as those servers listed them. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, type Sql, sql } from "./sql.ts";

/** How current a kept list is. */
export interface RemoteDeviceList {
  readonly streamId: number;
  readonly isStale: boolean;
}

/** A device of a user of another server. */
export interface RemoteDevice {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly displayName: string | null;
  /** Null for a device without keys. */
  readonly keyJson: string | null;
}

const MAX_DEVICES = 10_000;

/** Returns how current the kept list of a user is; null when there is none. */
export async function selectRemoteDeviceList(db: Db, userId: UserId): Promise<RemoteDeviceList | null> {
  const row = await db.get<{ stream_id: number; is_stale: boolean }>(sql`
    SELECT stream_id, is_stale FROM remote_device_lists WHERE user_id = ${userId}`);
  return row === null ? null : { streamId: row.stream_id, isStale: row.is_stale };
}

/** Notes how current the kept list of a user is. */
export async function upsertRemoteDeviceList(
  tx: Tx,
  { userId, streamId, isStale }: RemoteDeviceList & { readonly userId: UserId },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO remote_device_lists (user_id, stream_id, is_stale) VALUES (${userId}, ${streamId}, ${isStale})
    ON CONFLICT (user_id) DO UPDATE SET stream_id = excluded.stream_id, is_stale = excluded.is_stale`);
}

/** Marks a kept list as not to be used before it is fetched again. */
export async function markRemoteDeviceListStale(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`UPDATE remote_device_lists SET is_stale = ${true} WHERE user_id = ${userId}`);
}

const IS_UNSHARED: Sql = sql`NOT EXISTS (
  SELECT 1 FROM current_state theirs
  JOIN local_memberships m ON m.room_nid = theirs.room_nid AND m.membership = 'join'
  WHERE theirs.state_key = remote_device_lists.user_id AND theirs.membership = 'join')`;

/** Marks as stale the kept lists of those of some users whom nobody here shares a room with. */
export async function markUnsharedListsStale(tx: Tx, userIds: readonly string[]): Promise<void> {
  if (userIds.length === 0) return;
  await tx.run(sql`
    UPDATE remote_device_lists SET is_stale = ${true} WHERE ${inList(sql`user_id`, userIds)} AND ${IS_UNSHARED}`);
}

/** Marks as stale the kept lists of those members of a room whom nobody here shares a room with. */
export async function markUnsharedListsInRoomStale(tx: Tx, roomNid: number): Promise<void> {
  await tx.run(sql`
    UPDATE remote_device_lists SET is_stale = ${true}
    WHERE user_id IN (SELECT state_key FROM current_state WHERE room_nid = ${roomNid} AND membership = 'join')
      AND ${IS_UNSHARED}`);
}

/** Forgets a kept list and its devices. */
export async function deleteRemoteDevices(tx: Tx, userId: UserId): Promise<void> {
  await tx.runMany([
    sql`DELETE FROM remote_devices WHERE user_id = ${userId}`,
    sql`DELETE FROM remote_device_lists WHERE user_id = ${userId}`,
  ]);
}

/** Removes one device. */
export async function deleteRemoteDevice(
  tx: Tx,
  { userId, deviceId }: { userId: UserId; deviceId: string },
): Promise<void> {
  await tx.run(sql`DELETE FROM remote_devices WHERE user_id = ${userId} AND device_id = ${deviceId}`);
}

/** Adds devices or replaces what is known of them. */
export async function upsertRemoteDevices(tx: Tx, devices: readonly RemoteDevice[]): Promise<void> {
  await tx.runMany(devices.map(({ userId, deviceId, displayName, keyJson }) =>
    sql`
    INSERT INTO remote_devices (user_id, device_id, display_name, key_json)
    VALUES (${userId}, ${deviceId}, ${displayName}, ${keyJson})
    ON CONFLICT (user_id, device_id)
    DO UPDATE SET display_name = excluded.display_name, key_json = excluded.key_json`
  ));
}

/** Returns the kept devices of users. */
export async function selectRemoteDevices(db: Db, userIds: readonly UserId[]): Promise<RemoteDevice[]> {
  if (userIds.length === 0) return [];
  const rows = await db.all<
    { user_id: UserId; device_id: string; display_name: string | null; key_json: string | null }
  >(
    sql`
    SELECT user_id, device_id, display_name, key_json FROM remote_devices
    WHERE ${inList(sql`user_id`, userIds)}
    ORDER BY user_id, device_id
    LIMIT ${MAX_DEVICES}`,
  );
  return rows.map((row) => ({
    userId: row.user_id,
    deviceId: row.device_id,
    displayName: row.display_name,
    keyJson: row.key_json,
  }));
}
