/** Which events are sticky, and until when (MSC4354). */
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A sticky event. */
export interface StickyRow {
  readonly nid: number;
  readonly roomNid: number;
  readonly position: number;
  /** Milliseconds since the epoch. */
  readonly endTs: number;
}

/** Adds an event, and forgets some of those that expired before `now`. */
export async function insertStickyEvent(
  tx: Tx,
  { nid, roomNid, position, endTs, now }: StickyRow & { now: number },
): Promise<void> {
  await tx.run(sql`
    DELETE FROM sticky_events WHERE event_nid IN (
      SELECT event_nid FROM sticky_events WHERE end_ts <= ${now} ORDER BY end_ts LIMIT 100)`);
  await tx.run(sql`
    INSERT INTO sticky_events (event_nid, room_nid, position, end_ts)
    VALUES (${nid}, ${roomNid}, ${position}, ${endTs}) ON CONFLICT DO NOTHING`);
}

/** Returns a room's last `limit` unexpired events of a range of positions, the newest first. */
export async function selectStickyEvents(
  db: Db,
  { roomNid, after, upTo, now, limit }: { roomNid: number; after: number; upTo: number; now: number; limit: number },
): Promise<{ nid: number; position: number }[]> {
  return await db.all(sql`
    SELECT event_nid AS nid, position FROM sticky_events
    WHERE room_nid = ${roomNid} AND position > ${after} AND position <= ${upTo} AND end_ts > ${now}
    ORDER BY position DESC LIMIT ${limit}`);
}

/** Returns of each room with unexpired events when the last of them expires, and the position of the newest. */
export async function selectStickyRooms(
  db: Db,
  { now }: { now: number },
): Promise<{ roomNid: number; endTs: number; position: number }[]> {
  const rows = await db.all<{ room_nid: number; end_ts: number; position: number }>(sql`
    SELECT room_nid, MAX(end_ts) AS end_ts, MAX(position) AS position FROM sticky_events
    WHERE end_ts > ${now} GROUP BY room_nid`);
  return rows.map((row) => ({ roomNid: row.room_nid, endTs: row.end_ts, position: row.position }));
}
