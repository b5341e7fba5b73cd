/** Devices, and where they were seen. */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** A device as its owner sees it. */
export interface Device {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly displayName: string | null;
  readonly lastSeenTs: number | null;
  readonly lastSeenIp: string | null;
  readonly lastSeenUserAgent: string | null;
}

interface DeviceRow {
  user_id: string;
  device_id: string;
  display_name: string | null;
  last_seen_ts: number | null;
  last_seen_ip: string | null;
  last_seen_user_agent: string | null;
}

function toDevice(row: DeviceRow): Device {
  return {
    userId: row.user_id as UserId,
    deviceId: row.device_id as DeviceId,
    displayName: row.display_name,
    lastSeenTs: row.last_seen_ts,
    lastSeenIp: row.last_seen_ip,
    lastSeenUserAgent: row.last_seen_user_agent,
  };
}

/** More devices than any user keeps; lists end here. */
export const MAX_LISTED_DEVICES = 10_000;

/** Returns a user's devices by id. */
export async function selectDevices(db: Db, userId: UserId): Promise<Device[]> {
  const rows = await db.all<DeviceRow>(sql`
    SELECT user_id, device_id, display_name, last_seen_ts, last_seen_ip, last_seen_user_agent
    FROM devices
    WHERE user_id = ${userId}
    ORDER BY device_id
    LIMIT ${MAX_LISTED_DEVICES}`);
  return rows.map(toDevice);
}

/** Returns the ids of all devices of a user, and reads nothing else of them. */
export async function selectDeviceIds(db: Db, userId: UserId): Promise<DeviceId[]> {
  const rows = await db.all<{ device_id: DeviceId }>(sql`
    SELECT device_id FROM devices WHERE user_id = ${userId} ORDER BY device_id LIMIT ${MAX_LISTED_DEVICES}`);
  return rows.map((row) => row.device_id);
}

/** Returns one device, or null. */
export async function selectDevice(
  db: Db,
  { userId, deviceId }: { userId: UserId; deviceId: DeviceId },
): Promise<Device | null> {
  const row = await db.get<DeviceRow>(sql`
    SELECT user_id, device_id, display_name, last_seen_ts, last_seen_ip, last_seen_user_agent
    FROM devices
    WHERE user_id = ${userId} AND device_id = ${deviceId}`);
  return row === null ? null : toDevice(row);
}

/** Adds a device unless it exists, whose name is then left alone; returns whether it is new. */
export async function insertDevice(
  tx: Tx,
  { userId, deviceId, displayName, createdTs }: {
    userId: UserId;
    deviceId: DeviceId;
    displayName: string | null;
    createdTs: number;
  },
): Promise<boolean> {
  const inserted = await tx.run(sql`
    INSERT INTO devices (user_id, device_id, display_name, created_ts)
    VALUES (${userId}, ${deviceId}, ${displayName}, ${createdTs})
    ON CONFLICT (user_id, device_id) DO NOTHING`);
  return inserted === 1;
}

/** Renames a device; returns whether it exists. */
export async function updateDeviceName(
  tx: Tx,
  { userId, deviceId, displayName }: { userId: UserId; deviceId: DeviceId; displayName: string | null },
): Promise<boolean> {
  const changed = await tx.run(sql`
    UPDATE devices SET display_name = ${displayName} WHERE user_id = ${userId} AND device_id = ${deviceId}`);
  return changed === 1;
}

/** Removes devices and returns the ids of those that existed. */
export async function deleteDevices(
  tx: Tx,
  { userId, deviceIds }: { userId: UserId; deviceIds: readonly DeviceId[] },
): Promise<DeviceId[]> {
  const rows = await tx.all<{ device_id: string }>(sql`
    DELETE FROM devices WHERE user_id = ${userId} AND ${inList(sql`device_id`, deviceIds)} RETURNING device_id`);
  return rows.map((row) => row.device_id as DeviceId);
}

/** A device seen at an address. */
export interface Sighting {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly ip: string;
  readonly userAgent: string;
  readonly seenTs: number;
}

/** Writes sightings, in order. */
export async function writeSightings(tx: Tx, sightings: readonly Sighting[]): Promise<void> {
  await tx.runMany(sightings.flatMap(({ userId, deviceId, ip, userAgent, seenTs }) => [
    sql`
      UPDATE devices
      SET last_seen_ts = ${seenTs}, last_seen_ip = ${ip}, last_seen_user_agent = ${userAgent}
      WHERE user_id = ${userId} AND device_id = ${deviceId}`,
    sql`
      INSERT INTO user_ips (user_id, device_id, ip, user_agent, last_seen_ts)
      VALUES (${userId}, ${deviceId}, ${ip}, ${userAgent}, ${seenTs})
      ON CONFLICT (user_id, device_id, ip) DO UPDATE
      SET user_agent = excluded.user_agent, last_seen_ts = excluded.last_seen_ts`,
  ]));
}

/** Removes sightings before `before`, at most 1,000; returns how many went. */
export async function deleteOldSightings(tx: Tx, before: number): Promise<number> {
  return await tx.run(sql`
    DELETE FROM user_ips WHERE (user_id, device_id, ip) IN (
      SELECT user_id, device_id, ip FROM user_ips WHERE last_seen_ts < ${before} ORDER BY last_seen_ts LIMIT 1000)`);
}

/** Returns devices that were last seen before a time, those unseen for longest first. */
export async function selectStaleDevices(
  db: Db,
  { before, limit }: { before: number; limit: number },
): Promise<{ userId: UserId; deviceId: DeviceId }[]> {
  const rows = await db.all<{ user_id: UserId; device_id: DeviceId }>(sql`
    SELECT user_id, device_id FROM devices
    WHERE last_seen_ts IS NOT NULL AND last_seen_ts < ${before}
    ORDER BY last_seen_ts LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.user_id, deviceId: row.device_id }));
}

/** Returns where a user was seen, latest first, at most 1,000 rows. */
export async function selectSightings(db: Db, userId: UserId): Promise<Sighting[]> {
  const rows = await db.all<{ device_id: string; ip: string; user_agent: string; last_seen_ts: number }>(sql`
    SELECT device_id, ip, user_agent, last_seen_ts
    FROM user_ips
    WHERE user_id = ${userId}
    ORDER BY last_seen_ts DESC
    LIMIT 1000`);
  return rows.map((row) => ({
    userId,
    deviceId: row.device_id as DeviceId,
    ip: row.ip,
    userAgent: row.user_agent,
    seenTs: row.last_seen_ts,
  }));
}
