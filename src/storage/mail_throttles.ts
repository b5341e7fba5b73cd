/** How often mails about a room go to an e-mail pusher. */
import type { Db, Tx } from "./database.ts";
import type { PusherKey } from "./pushers.ts";
import { numberTable, sql } from "./sql.ts";

/** When the last mail about a room was sent, and how long the next one waits. */
export interface MailThrottle {
  readonly lastSentTs: number;
  readonly throttleMs: number;
}

/** Returns the throttles of some rooms; rooms that no mail was sent about have none. */
export async function selectMailThrottles(
  db: Db,
  { userId, appId, pushkey, roomNids }: PusherKey & { roomNids: readonly number[] },
): Promise<Map<number, MailThrottle>> {
  const rows = await db.all<{ room_nid: number; last_sent_ts: number; throttle_ms: number }>(sql`
    SELECT t.room_nid, t.last_sent_ts, t.throttle_ms FROM ${numberTable(roomNids)} r
    JOIN mail_throttles t ON t.room_nid = r.value
    WHERE t.user_id = ${userId} AND t.app_id = ${appId} AND t.pushkey = ${pushkey}`);
  return new Map(rows.map((row) => [row.room_nid, { lastSentTs: row.last_sent_ts, throttleMs: row.throttle_ms }]));
}

/** Notes that a mail about a room was sent. */
export async function upsertMailThrottle(
  tx: Tx,
  { userId, appId, pushkey, roomNid, lastSentTs, throttleMs }: PusherKey & MailThrottle & { roomNid: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO mail_throttles (user_id, app_id, pushkey, room_nid, last_sent_ts, throttle_ms)
    VALUES (${userId}, ${appId}, ${pushkey}, ${roomNid}, ${lastSentTs}, ${throttleMs})
    ON CONFLICT (user_id, app_id, pushkey, room_nid) DO UPDATE
    SET last_sent_ts = excluded.last_sent_ts, throttle_ms = excluded.throttle_ms`);
}

/** Forgets the throttles of a pusher that is gone. */
export async function deleteMailThrottles(tx: Tx, { userId, appId, pushkey }: PusherKey): Promise<void> {
  await tx.run(sql`
    DELETE FROM mail_throttles WHERE user_id = ${userId} AND app_id = ${appId} AND pushkey = ${pushkey}`);
}
