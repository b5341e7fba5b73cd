/** Read receipts. `threadId` is the empty string for a receipt outside of threads. */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** One receipt as stored. */
export interface Receipt {
  readonly roomNid: number;
  readonly receiptType: string;
  readonly userId: UserId;
  readonly threadId: string;
  readonly eventId: EventId;
  readonly eventPosition: number | null;
  readonly ts: number;
}

/** A receipt with the room it is in. */
export interface RoomReceipt extends Receipt {
  readonly roomId: RoomId;
}

interface Row {
  readonly room_nid: number;
  readonly room_id: RoomId;
  readonly receipt_type: string;
  readonly user_id: UserId;
  readonly thread_id: string;
  readonly event_id: EventId;
  readonly event_position: number | null;
  readonly ts: number;
}

const COLUMNS =
  sql`r.room_nid, rooms.room_id, r.receipt_type, r.user_id, r.thread_id, r.event_id, r.event_position, r.ts`;

function toReceipt(row: Row): RoomReceipt {
  return {
    roomNid: row.room_nid,
    roomId: row.room_id,
    receiptType: row.receipt_type,
    userId: row.user_id,
    threadId: row.thread_id,
    eventId: row.event_id,
    eventPosition: row.event_position,
    ts: row.ts,
  };
}

/** Writes a receipt at `position`. */
export async function upsertReceipt(tx: Tx, receipt: Receipt & { position: number }): Promise<void> {
  await tx.run(sql`
    INSERT INTO receipts (room_nid, receipt_type, user_id, thread_id, event_id, event_position, ts, position)
    VALUES (${receipt.roomNid}, ${receipt.receiptType}, ${receipt.userId}, ${receipt.threadId}, ${receipt.eventId},
      ${receipt.eventPosition}, ${receipt.ts}, ${receipt.position})
    ON CONFLICT (room_nid, receipt_type, user_id, thread_id) DO UPDATE SET
      event_id = excluded.event_id, event_position = excluded.event_position, ts = excluded.ts,
      position = excluded.position`);
}

/** Returns a user's receipts of one type in a room: one a thread. */
export async function selectReceiptsOfUser(
  db: Db,
  { roomNid, userId }: { roomNid: number; userId: UserId },
): Promise<RoomReceipt[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
    WHERE r.user_id = ${userId} AND r.room_nid = ${roomNid}`);
  return rows.map(toReceipt);
}

/** Returns the receipts written in `(after, upTo]` in any room, oldest first, at most `limit`. */
export async function selectReceiptsBetween(
  db: Db,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<RoomReceipt[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
    WHERE r.position > ${after} AND r.position <= ${upTo}
    ORDER BY r.position LIMIT ${limit}`);
  return rows.map(toReceipt);
}

/** Returns the receipts in some rooms written in `(after, upTo]`: one a member and thread at the most. */
export async function selectReceiptsInRooms(
  db: Db,
  { roomNids, after, upTo }: { roomNids: readonly number[]; after: number; upTo: number },
): Promise<RoomReceipt[]> {
  if (roomNids.length === 0) return [];
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
    WHERE ${inList(sql`r.room_nid`, roomNids)} AND r.position > ${after} AND r.position <= ${upTo}
    ORDER BY r.position`);
  return rows.map(toReceipt);
}

/** Returns, of some events of a room, the receipts of all, and of one user every receipt in the room. */
export async function selectReceiptsOfEvents(
  db: Db,
  { roomNid, eventIds, userId, upTo }: {
    roomNid: number;
    eventIds: readonly string[];
    userId: UserId;
    upTo: number;
  },
): Promise<RoomReceipt[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
    WHERE r.room_nid = ${roomNid} AND ${inList(sql`r.event_id`, eventIds)} AND r.user_id <> ${userId}
      AND r.receipt_type <> 'm.read.private' AND r.position <= ${upTo}
    UNION ALL
    SELECT ${COLUMNS} FROM receipts r JOIN rooms ON rooms.room_nid = r.room_nid
    WHERE r.user_id = ${userId} AND r.room_nid = ${roomNid} AND r.position <= ${upTo}`);
  return rows.map(toReceipt);
}
