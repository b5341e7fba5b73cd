/**
 * What counting the unread of many rooms at once takes: a query for all rooms where one room takes one of its own.
 * `CROSS JOIN` has SQLite look up each room, where it would go through all that a user ever had.
 */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import type { ThreadCount } from "./notifications.ts";
import { numberTable, pairTable, sql } from "./sql.ts";

/** How far a user has read a thread of a room. */
export interface ReadThread {
  readonly roomNid: number;
  readonly threadId: string;
  readonly eventPosition: number | null;
}

/** Returns how far a user has read in some rooms. */
export async function selectReadsInRooms(
  db: Db,
  { userId, roomNids }: { userId: UserId; roomNids: readonly number[] },
): Promise<ReadThread[]> {
  const rows = await db.all<{ room_nid: number; thread_id: string; event_position: number | null }>(sql`
    SELECT r.room_nid, r.thread_id, r.event_position FROM ${numberTable(roomNids)} AS wanted
    CROSS JOIN receipts r WHERE r.user_id = ${userId} AND r.room_nid = wanted.value`);
  return rows.map((row) => ({ roomNid: row.room_nid, threadId: row.thread_id, eventPosition: row.event_position }));
}

interface CountRow {
  readonly room_nid: number;
  readonly thread_id: string;
  readonly notify: number;
  readonly highlight: number;
}

/** Counts what notifies a user in some rooms, each from a position of its own on, by room and thread. */
export async function countNotificationsInRooms(
  db: Db,
  { userId, rooms, upTo }: {
    userId: UserId;
    /** Numeric ids, and after which position to count. */
    rooms: readonly (readonly [roomNid: number, after: number])[];
    upTo: number;
  },
): Promise<Map<number, ThreadCount[]>> {
  const [ofRoom, own] = await Promise.all([
    db.all<CountRow>(sql`
      SELECT n.room_nid, n.thread_id, COUNT(*) AS notify, SUM(CASE WHEN n.highlight THEN 1 ELSE 0 END) AS highlight
      FROM ${pairTable(rooms)} AS wanted
      CROSS JOIN room_notifications n
      WHERE n.room_nid = wanted.first AND n.position > wanted.second AND n.position <= ${upTo} AND n.sender <> ${userId}
      GROUP BY n.room_nid, n.thread_id`),
    db.all<CountRow>(sql`
      SELECT n.room_nid, n.thread_id,
        SUM(CASE WHEN n.notify THEN 1 ELSE 0 END - CASE WHEN n.room_notify THEN 1 ELSE 0 END) AS notify,
        SUM(CASE WHEN n.highlight THEN 1 ELSE 0 END - CASE WHEN n.room_highlight THEN 1 ELSE 0 END) AS highlight
      FROM ${pairTable(rooms)} AS wanted
      CROSS JOIN user_notifications n
      WHERE n.user_id = ${userId} AND n.room_nid = wanted.first
        AND n.position > wanted.second AND n.position <= ${upTo}
      GROUP BY n.room_nid, n.thread_id`),
  ]);
  const counts = new Map<number, ThreadCount[]>();
  for (const { room_nid, thread_id, notify, highlight } of [...ofRoom, ...own]) {
    const count = { threadId: thread_id, notify: Number(notify), highlight: Number(highlight) };
    const known = counts.get(room_nid);
    if (known === undefined) counts.set(room_nid, [count]);
    else known.push(count);
  }
  return counts;
}
