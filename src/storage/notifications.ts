/**
 * What notifies whom. An event that notifies everybody with the predefined rules has one row for the room; a user for
 * whom it is otherwise has a row of their own, which also says what to take back from the room's.
 */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** An event that notifies the members of its room. */
export interface RoomNotification {
  readonly roomNid: number;
  readonly position: number;
  readonly sender: UserId;
  /** Empty for the main timeline. */
  readonly threadId: string;
  readonly highlight: boolean;
  /** A JSON list. */
  readonly actions: string;
}

/** What an event does for one user. */
export interface UserNotification {
  readonly userId: UserId;
  readonly roomNid: number;
  readonly position: number;
  readonly threadId: string;
  readonly notify: boolean;
  readonly highlight: boolean;
  readonly actions: string;
  readonly roomNotify: boolean;
  readonly roomHighlight: boolean;
}

/** How much is unread in a thread. */
export interface ThreadCount {
  readonly threadId: string;
  readonly notify: number;
  readonly highlight: number;
}

/** Which notifications to count. */
export interface CountRange {
  readonly userId: UserId;
  readonly roomNid: number;
  /** Only positions after this one. */
  readonly after: number;
  readonly upTo: number;
  /** One thread only; all when not given. */
  readonly threadId?: string;
}

interface CountRow {
  readonly thread_id: string;
  readonly notify: number;
  readonly highlight: number;
}

/** Writes an event's notification for the room. */
export async function insertRoomNotification(tx: Tx, n: RoomNotification): Promise<void> {
  await tx.run(sql`
    INSERT INTO room_notifications (room_nid, position, sender, thread_id, highlight, actions)
    VALUES (${n.roomNid}, ${n.position}, ${n.sender}, ${n.threadId}, ${n.highlight}, ${n.actions})`);
}

/** Writes what an event does for some users. */
export async function insertUserNotifications(tx: Tx, notifications: readonly UserNotification[]): Promise<void> {
  await tx.runMany(notifications.map((n) =>
    sql`
    INSERT INTO user_notifications (user_id, room_nid, position, thread_id, notify, highlight, actions, room_notify,
      room_highlight)
    VALUES (${n.userId}, ${n.roomNid}, ${n.position}, ${n.threadId}, ${n.notify}, ${n.highlight}, ${n.actions},
      ${n.roomNotify}, ${n.roomHighlight})`
  ));
}

/** Removes what an event does; returns whether it did anything. */
export async function deleteNotifications(
  tx: Tx,
  { roomNid, position }: { roomNid: number; position: number },
): Promise<boolean> {
  const ofRoom = await tx.run(sql`
    DELETE FROM room_notifications WHERE room_nid = ${roomNid} AND position = ${position}`);
  const ofUsers = await tx.run(sql`
    DELETE FROM user_notifications WHERE room_nid = ${roomNid} AND position = ${position}`);
  return ofRoom + ofUsers > 0;
}

/** Counts what notifies a user in a room, by thread. */
export async function countNotifications(db: Db, range: CountRange): Promise<ThreadCount[]> {
  const thread = range.threadId === undefined ? sql`` : sql` AND thread_id = ${range.threadId}`;
  const [room, own] = await Promise.all([
    db.all<CountRow>(sql`
      SELECT thread_id, COUNT(*) AS notify, SUM(CASE WHEN highlight THEN 1 ELSE 0 END) AS highlight
      FROM room_notifications
      WHERE room_nid = ${range.roomNid} AND position > ${range.after} AND position <= ${range.upTo}
        AND sender <> ${range.userId}${thread}
      GROUP BY thread_id`),
    db.all<CountRow>(sql`
      SELECT thread_id,
        SUM(CASE WHEN notify THEN 1 ELSE 0 END - CASE WHEN room_notify THEN 1 ELSE 0 END) AS notify,
        SUM(CASE WHEN highlight THEN 1 ELSE 0 END - CASE WHEN room_highlight THEN 1 ELSE 0 END) AS highlight
      FROM user_notifications
      WHERE user_id = ${range.userId} AND room_nid = ${range.roomNid} AND position > ${range.after}
        AND position <= ${range.upTo}${thread}
      GROUP BY thread_id`),
  ]);
  const counts = new Map<string, { notify: number; highlight: number }>();
  for (const { thread_id, notify, highlight } of [...room, ...own]) {
    const sum = counts.get(thread_id) ?? { notify: 0, highlight: 0 };
    counts.set(thread_id, { notify: sum.notify + Number(notify), highlight: sum.highlight + Number(highlight) });
  }
  return [...counts].map(([threadId, count]) => ({ threadId, ...count }));
}

/** One line of a user's list of notifications. */
export interface ListedNotification {
  readonly roomNid: number;
  readonly position: number;
  readonly highlight: boolean;
  readonly actions: string;
}

/** Returns a user's notifications before a position, newest first: the rooms' own ones and those of the user alone. */
export async function selectNotifications(
  db: Db,
  { userId, roomNids, before, onlyHighlight, limit }: {
    userId: UserId;
    /** The rooms the user is in. */
    roomNids: readonly number[];
    before: number;
    onlyHighlight: boolean;
    limit: number;
  },
): Promise<ListedNotification[]> {
  const only = onlyHighlight ? sql` AND highlight` : sql``;
  const rows = await db.all<{ room_nid: number; position: number; highlight: boolean; actions: string }>(sql`
    SELECT room_nid, position, highlight, actions FROM room_notifications r
    WHERE position < ${before} AND ${inList(sql`room_nid`, roomNids)} AND sender <> ${userId}${only}
      AND NOT EXISTS (SELECT 1 FROM user_notifications u
        WHERE u.user_id = ${userId} AND u.room_nid = r.room_nid AND u.position = r.position)
    UNION ALL
    SELECT room_nid, position, highlight, actions FROM user_notifications
    WHERE user_id = ${userId} AND position < ${before} AND notify${only}
    ORDER BY position DESC LIMIT ${limit}`);
  return rows.map((row) => ({
    roomNid: row.room_nid,
    position: row.position,
    highlight: Boolean(row.highlight),
    actions: row.actions,
  }));
}
