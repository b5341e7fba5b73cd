/**
 * What notifies whom. An event that notifies everybody with the predefined rules has one row for the room; a user for
 * whom it is otherwise has a row of their own, which also says what to take back from the room's.
 */
import type { UserId } from "../protocol/ids.ts";
import type { JsonValue } from "../protocol/json.ts";
import type { Db, Tx } from "./database.ts";
import { numberTable, sql } from "./sql.ts";
import { bigints, booleans, type RowWriter, texts } from "./together.ts";

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
export async function insertRoomNotification(tx: Tx, notification: RoomNotification): Promise<void> {
  await tx.inOrder(tx.writeTogether(OF_ROOMS, [notification]));
}

const OF_ROOMS: RowWriter<RoomNotification> = {
  each: (n) =>
    sql`
    INSERT INTO room_notifications (room_nid, position, sender, thread_id, highlight, actions)
    VALUES (${n.roomNid}, ${n.position}, ${n.sender}, ${n.threadId}, ${n.highlight}, ${n.actions})`,
  many: (rows) =>
    sql`
    INSERT INTO room_notifications (room_nid, position, sender, thread_id, highlight, actions)
    SELECT * FROM unnest(${bigints(rows.map(({ roomNid }) => roomNid))},
      ${bigints(rows.map(({ position }) => position))}, ${texts(rows.map(({ sender }) => sender))},
      ${texts(rows.map(({ threadId }) => threadId))}, ${booleans(rows.map(({ highlight }) => highlight))},
      ${texts(rows.map(({ actions }) => actions))})`,
};

/** Writes what an event does for some users. */
export async function insertUserNotifications(tx: Tx, notifications: readonly UserNotification[]): Promise<void> {
  await tx.inOrder(tx.writeTogether(OF_USERS, notifications));
}

const OF_USERS: RowWriter<UserNotification> = {
  each: (n) =>
    sql`
    INSERT INTO user_notifications (user_id, room_nid, position, thread_id, notify, highlight, actions, room_notify,
      room_highlight)
    VALUES (${n.userId}, ${n.roomNid}, ${n.position}, ${n.threadId}, ${n.notify}, ${n.highlight}, ${n.actions},
      ${n.roomNotify}, ${n.roomHighlight})`,
  many: (rows) =>
    sql`
    INSERT INTO user_notifications (user_id, room_nid, position, thread_id, notify, highlight, actions, room_notify,
      room_highlight)
    SELECT * FROM unnest(${texts(rows.map(({ userId }) => userId))}, ${bigints(rows.map(({ roomNid }) => roomNid))},
      ${bigints(rows.map(({ position }) => position))}, ${texts(rows.map(({ threadId }) => threadId))},
      ${booleans(rows.map(({ notify }) => notify))}, ${booleans(rows.map(({ highlight }) => highlight))},
      ${texts(rows.map(({ actions }) => actions))}, ${booleans(rows.map(({ roomNotify }) => roomNotify))},
      ${booleans(rows.map(({ roomHighlight }) => roomHighlight))})`,
};

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

/**
 * Deletes what events received before a time did, looking at the `limit` oldest rows of each table; returns the rooms of
 * what is deleted. Rows of events that are gone count as old.
 */
export async function deleteNotificationsBefore(
  tx: Tx,
  { before, limit }: { before: number; limit: number },
): Promise<{ roomNids: ReadonlySet<number>; deleted: number }> {
  const rows: { room_nid: number }[] = [];
  for (const table of [sql`room_notifications`, sql`user_notifications`]) {
    rows.push(
      ...await tx.all<{ room_nid: number }>(sql`
      DELETE FROM ${table} WHERE position IN (
        SELECT n.position FROM (SELECT room_nid, position FROM ${table} ORDER BY position LIMIT ${limit}) n
        LEFT JOIN events e ON e.room_nid = n.room_nid AND e.position = n.position
        WHERE e.received_ts < ${before} OR e.event_nid IS NULL)
      RETURNING room_nid`),
    );
  }
  return { roomNids: new Set(rows.map((row) => row.room_nid)), deleted: rows.length };
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

/** What of an event's notification for its room counts. */
export type CountedNotification = Pick<RoomNotification, "position" | "sender" | "threadId" | "highlight">;

/** What of a user's own notification counts. */
export type CountedUserNotification =
  & Pick<UserNotification, "position" | "userId" | "threadId" | "notify" | "highlight">
  & Pick<UserNotification, "roomNotify" | "roomHighlight">;

/** Returns what `countNotifications` counts in `(after, upTo]` of a room, for all users, oldest first. */
export async function selectCountedNotifications(
  db: Db,
  { roomNid, after, upTo, limit }: { roomNid: number; after: number; upTo: number; limit: number },
): Promise<{ ofRoom: readonly CountedNotification[]; ofUsers: readonly CountedUserNotification[] }> {
  const [ofRoom, ofUsers] = await Promise.all([
    db.all<Omit<CountedNotification, "threadId"> & { thread_id: string }>(sql`
      SELECT position, sender, thread_id, highlight FROM room_notifications
      WHERE room_nid = ${roomNid} AND position > ${after} AND position <= ${upTo} ORDER BY position LIMIT ${limit}`),
    db.all<CountedUserNotificationRow>(sql`
      SELECT position, user_id, thread_id, notify, highlight, room_notify, room_highlight FROM user_notifications
      WHERE room_nid = ${roomNid} AND position > ${after} AND position <= ${upTo} ORDER BY position LIMIT ${limit}`),
  ]);
  return {
    ofRoom: ofRoom.map(({ thread_id, ...row }) => ({ ...row, threadId: thread_id, highlight: Boolean(row.highlight) })),
    ofUsers: ofUsers.map((row) => ({
      position: row.position,
      userId: row.user_id,
      threadId: row.thread_id,
      notify: Boolean(row.notify),
      highlight: Boolean(row.highlight),
      roomNotify: Boolean(row.room_notify),
      roomHighlight: Boolean(row.room_highlight),
    })),
  };
}

interface CountedUserNotificationRow {
  readonly position: number;
  readonly user_id: UserId;
  readonly thread_id: string;
  readonly notify: boolean;
  readonly highlight: boolean;
  readonly room_notify: boolean;
  readonly room_highlight: boolean;
}

/** An event that notifies a user. */
export interface ListedNotification {
  readonly eventNid: number;
  readonly roomNid: number;
  readonly position: number;
  readonly threadId: string;
  readonly highlight: boolean;
  readonly actions: JsonValue[];
}

interface ListedRow {
  readonly event_nid: number;
  readonly room_nid: number;
  readonly position: number;
  readonly thread_id: string;
  readonly highlight: boolean;
  readonly actions: string;
}

/** Returns what notifies a user in some rooms in `(after, before)`, newest first unless `oldestFirst`. */
export async function selectNotifications(
  db: Db,
  { userId, roomNids, after, before, onlyHighlight = false, oldestFirst = false, limit }: {
    userId: UserId;
    roomNids: readonly number[];
    after: number;
    before: number;
    onlyHighlight?: boolean;
    oldestFirst?: boolean;
    limit: number;
  },
): Promise<ListedNotification[]> {
  if (roomNids.length === 0) return [];
  const only = onlyHighlight ? sql` AND n.highlight` : sql``;
  const order = oldestFirst ? sql`position` : sql`position DESC`;
  const columns = sql`n.room_nid, n.position, n.thread_id, n.highlight, n.actions`;
  const rows = await db.all<ListedRow>(sql`
    SELECT e.event_nid, ${columns} FROM (
      SELECT ${columns} FROM ${numberTable(roomNids)} r JOIN room_notifications n ON n.room_nid = r.value
      WHERE n.position > ${after} AND n.position < ${before} AND n.sender <> ${userId}${only}
        AND NOT EXISTS (SELECT 1 FROM user_notifications u
          WHERE u.user_id = ${userId} AND u.room_nid = n.room_nid AND u.position = n.position)
      UNION ALL
      SELECT ${columns} FROM ${numberTable(roomNids)} r
      JOIN user_notifications n ON n.room_nid = r.value AND n.user_id = ${userId}
      WHERE n.position > ${after} AND n.position < ${before} AND n.notify${only}
      ORDER BY ${order} LIMIT ${limit}
    ) n JOIN events e ON e.room_nid = n.room_nid AND e.position = n.position
    ORDER BY n.${order}`);
  return rows.map((row) => ({
    eventNid: row.event_nid,
    roomNid: row.room_nid,
    position: row.position,
    threadId: row.thread_id,
    highlight: row.highlight,
    actions: JSON.parse(row.actions) as JsonValue[],
  }));
}

/** Rooms in which something notifies: their members, but not who alone wrote there. */
export interface NotifyingRoom {
  readonly roomNid: number;
  /** Null when several wrote. */
  readonly onlySender: UserId | null;
}

/** Returns the rooms with something in `(after, upTo]` that notifies their members. */
export async function selectNotifyingRooms(
  db: Db,
  { after, upTo }: { after: number; upTo: number },
): Promise<NotifyingRoom[]> {
  const rows = await db.all<{ room_nid: number; first: UserId; last: UserId }>(sql`
    SELECT room_nid, MIN(sender) AS first, MAX(sender) AS last FROM room_notifications
    WHERE position > ${after} AND position <= ${upTo} GROUP BY room_nid`);
  return rows.map(({ room_nid, first, last }) => ({ roomNid: room_nid, onlySender: first === last ? first : null }));
}

/** Returns whom something in `(after, upTo]` notifies other than it does everybody, and in which rooms. */
export async function selectNotifiedUsers(
  db: Db,
  { after, upTo }: { after: number; upTo: number },
): Promise<{ roomNid: number; userId: UserId }[]> {
  const rows = await db.all<{ room_nid: number; user_id: UserId }>(sql`
    SELECT DISTINCT room_nid, user_id FROM user_notifications
    WHERE position > ${after} AND position <= ${upTo} AND notify`);
  return rows.map(({ room_nid, user_id }) => ({ roomNid: room_nid, userId: user_id }));
}
