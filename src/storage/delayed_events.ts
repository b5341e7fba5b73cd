/** Events to be sent later (MSC4140). */
import type { DeviceId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { type Sql, sql } from "./sql.ts";

/** An event that waits. */
export interface DelayedEvent {
  readonly delayId: string;
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
  readonly txnId: string | null;
  readonly roomId: RoomId;
  readonly type: string;
  readonly stateKey: string | null;
  /** JSON text. */
  readonly content: string;
  readonly delayMs: number;
  /** Null for an event that is not sticky. */
  readonly stickyMs: number | null;
  readonly runningSince: number;
}

interface Row {
  delay_id: string;
  user_id: UserId;
  device_id: DeviceId | null;
  txn_id: string | null;
  room_id: RoomId;
  type: string;
  state_key: string | null;
  content: string;
  delay_ms: number;
  sticky_ms: number | null;
  running_since: number;
}

const COLUMNS: Sql = sql`delay_id, user_id, device_id, txn_id, room_id, type, state_key, content, delay_ms,
  sticky_ms, running_since`;

function toDelayedEvent(row: Row): DelayedEvent {
  return {
    delayId: row.delay_id,
    userId: row.user_id,
    deviceId: row.device_id,
    txnId: row.txn_id,
    roomId: row.room_id,
    type: row.type,
    stateKey: row.state_key,
    content: row.content,
    delayMs: row.delay_ms,
    stickyMs: row.sticky_ms,
    runningSince: row.running_since,
  };
}

/** Adds an event, and forgets some that ended before `forgetBefore`. False when the same request came before. */
export async function insertDelayedEvent(
  tx: Tx,
  { forgetBefore, ...event }: DelayedEvent & { forgetBefore: number },
): Promise<boolean> {
  await tx.run(sql`
    DELETE FROM delayed_events WHERE delay_id IN (
      SELECT delay_id FROM delayed_events WHERE ended_ts < ${forgetBefore} ORDER BY ended_ts LIMIT 100)`);
  return await tx.run(sql`
    INSERT INTO delayed_events (delay_id, user_id, device_id, txn_id, room_id, type, state_key, content, delay_ms,
      sticky_ms, running_since, send_ts)
    VALUES (${event.delayId}, ${event.userId}, ${event.deviceId}, ${event.txnId}, ${event.roomId}, ${event.type},
      ${event.stateKey}, ${event.content}, ${event.delayMs}, ${event.stickyMs}, ${event.runningSince},
      ${event.runningSince + event.delayMs})
    ON CONFLICT DO NOTHING`) > 0;
}

/** Returns the id under which a device's request was kept, or null. */
export async function selectDelayIdOfTransaction(
  db: Db,
  { userId, deviceId, roomId, txnId }: { userId: UserId; deviceId: DeviceId; roomId: RoomId; txnId: string },
): Promise<string | null> {
  const row = await db.get<{ delay_id: string }>(sql`
    SELECT delay_id FROM delayed_events
    WHERE user_id = ${userId} AND device_id = ${deviceId} AND room_id = ${roomId} AND txn_id = ${txnId}`);
  return row?.delay_id ?? null;
}

/** Returns a waiting event, or null. */
export async function selectDelayedEvent(db: Db, delayId: string): Promise<DelayedEvent | null> {
  const row = await db.get<Row>(sql`
    SELECT ${COLUMNS} FROM delayed_events WHERE delay_id = ${delayId} AND ended_ts IS NULL`);
  return row && toDelayedEvent(row);
}

/** Returns a user's waiting events, the oldest first. */
export async function selectDelayedEventsOf(
  db: Db,
  { userId, limit }: { userId: UserId; limit: number },
): Promise<DelayedEvent[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM delayed_events WHERE user_id = ${userId} AND ended_ts IS NULL
    ORDER BY running_since, delay_id LIMIT ${limit}`);
  return rows.map(toDelayedEvent);
}

/** Returns events whose time has come, the most overdue first. */
export async function selectDueEvents(db: Db, { now, limit }: { now: number; limit: number }): Promise<DelayedEvent[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM delayed_events WHERE ended_ts IS NULL AND send_ts <= ${now}
    ORDER BY send_ts LIMIT ${limit}`);
  return rows.map(toDelayedEvent);
}

/** Returns when the next event is due, or null. */
export async function selectNextDue(db: Db): Promise<number | null> {
  const row = await db.get<{ send_ts: number | null }>(sql`
    SELECT MIN(send_ts) AS send_ts FROM delayed_events WHERE ended_ts IS NULL`);
  return row?.send_ts ?? null;
}

/** Starts an event's timer again; false when it does not wait any more. */
export async function restartDelayedEvent(
  tx: Tx,
  { delayId, now }: { delayId: string; now: number },
): Promise<boolean> {
  return await tx.run(sql`
    UPDATE delayed_events SET running_since = ${now}, send_ts = ${now} + delay_ms
    WHERE delay_id = ${delayId} AND ended_ts IS NULL`) > 0;
}

/** Ends an event, sent or not; false when it had ended. */
export async function endDelayedEvent(tx: Tx, { delayId, now }: { delayId: string; now: number }): Promise<boolean> {
  return await tx.run(sql`
    UPDATE delayed_events SET ended_ts = ${now} WHERE delay_id = ${delayId} AND ended_ts IS NULL`) > 0;
}

/** Ends the waiting state events of a room at one key that are not by `sender`, whose state has come before them. */
export async function endDelayedState(
  tx: Tx,
  { roomId, type, stateKey, sender, now }: {
    roomId: RoomId;
    type: string;
    stateKey: string;
    sender: UserId;
    now: number;
  },
): Promise<void> {
  await tx.run(sql`
    UPDATE delayed_events SET ended_ts = ${now}
    WHERE room_id = ${roomId} AND ended_ts IS NULL AND state_key IS NOT NULL AND state_key = ${stateKey}
      AND type = ${type} AND user_id <> ${sender}`);
}

/** Tells whether state events wait in a room. */
export async function hasDelayedState(db: Db, roomId: RoomId): Promise<boolean> {
  return await db.get(sql`
    SELECT delay_id FROM delayed_events WHERE room_id = ${roomId} AND ended_ts IS NULL AND state_key IS NOT NULL
    LIMIT 1`) !== null;
}
