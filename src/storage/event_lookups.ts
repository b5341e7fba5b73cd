/** Finding events by what led to them: the transaction of a device, or a redaction that came before its target. */
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { sql, textTable } from "./sql.ts";

const MAX_REDACTIONS_OF_ONE = 100;

/** Returns the event that a device sent to a room under a transaction id, or null. */
export async function selectEventOfTransaction(
  db: Db,
  { userId, deviceId, roomNid, txnId }: { userId: UserId; deviceId: string; roomNid: number; txnId: string },
): Promise<EventId | null> {
  const row = await db.get<{ event_id: EventId }>(sql`
    SELECT e.event_id FROM event_transactions t JOIN events e ON e.event_nid = t.event_nid
    WHERE t.user_id = ${userId} AND t.device_id = ${deviceId} AND t.room_nid = ${roomNid} AND t.txn_id = ${txnId}`);
  return row === null ? null : row.event_id;
}

/** Returns the redactions of an event, the oldest first, whether in force or not. */
export async function selectRedactionsOf(db: Db, eventId: EventId): Promise<number[]> {
  const rows = await db.all<{ redaction_nid: number }>(sql`
    SELECT redaction_nid FROM redactions WHERE redacts_event_id = ${eventId}
    ORDER BY redaction_nid
    LIMIT ${MAX_REDACTIONS_OF_ONE}`);
  return rows.map((row) => row.redaction_nid);
}

/** Returns which of these events are waited for as missing parents. */
export async function selectMissingParents(db: Db, eventIds: readonly EventId[]): Promise<EventId[]> {
  if (eventIds.length === 0) return [];
  const rows = await db.all<{ value: EventId }>(sql`
    SELECT wanted.value FROM ${textTable(eventIds)} AS wanted
    WHERE EXISTS (SELECT 1 FROM event_prev_missing m WHERE m.missing_event_id = wanted.value)`);
  return rows.map((row) => row.value);
}
