/** Finding events by what led to them: the transaction of a device, or a redaction that came before its target. */
import { inTurns } from "../lib/turn.ts";
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, numberTable, sql, textTable } from "./sql.ts";

const MAX_REDACTIONS_OF_ONE = 100;
/** States have tens of thousands of events: looking up this many takes some milliseconds. */
const IDS_A_TURN = 2_000;

/** Returns the event that a device sent to a room under a transaction id, or null. */
export async function selectEventOfTransaction(
  db: Db,
  { userId, deviceId, roomNid, type, txnId }: {
    userId: UserId;
    deviceId: string;
    roomNid: number;
    type: string;
    txnId: string;
  },
): Promise<EventId | null> {
  const row = await db.get<{ event_id: EventId }>(sql`
    SELECT event_id FROM events
    WHERE sender = ${userId} AND device_id = ${deviceId} AND room_nid = ${roomNid} AND txn_id = ${txnId}
      AND type = ${type}`);
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

/** Returns which of these events there are redactions of, whether in force or not. */
export async function selectRedactedBefore(db: Db, eventIds: readonly EventId[]): Promise<EventId[]> {
  if (eventIds.length === 0) return [];
  const rows = await db.all<{ value: EventId }>(sql`
    SELECT wanted.value FROM ${textTable(eventIds)} AS wanted
    WHERE EXISTS (SELECT 1 FROM redactions r WHERE r.redacts_event_id = wanted.value)`);
  return rows.map((row) => row.value);
}

/** Returns which of these events are waited for as missing parents. */
export async function selectMissingParents(db: Db, eventIds: readonly EventId[]): Promise<EventId[]> {
  if (eventIds.length === 0) return [];
  const rows = await db.all<{ value: EventId }>(sql`
    SELECT wanted.value FROM ${textTable(eventIds)} AS wanted
    WHERE EXISTS (SELECT 1 FROM event_prev_missing m WHERE m.missing_event_id = wanted.value)`);
  return rows.map((row) => row.value);
}

/** A state event as an entry of a state. */
export interface StateEntry {
  readonly nid: number;
  readonly stateKeyNid: number;
  readonly isMember: boolean;
}

/** Returns the entries that these state events make in a state; rejected ones and those of other rooms are left out. */
export async function selectStateEntries(
  db: Db,
  { roomNid, eventIds }: { roomNid: number; eventIds: readonly EventId[] },
): Promise<StateEntry[]> {
  const entries: StateEntry[] = [];
  for await (const part of inTurns(eventIds, IDS_A_TURN)) {
    const rows = await db.all<{ event_nid: number; state_key_nid: number; type: string }>(sql`
      SELECT e.event_nid, e.state_key_nid, e.type FROM ${textTable(part)} AS wanted
      JOIN events e ON e.event_id = wanted.value
      WHERE e.room_nid = ${roomNid} AND e.state_key_nid IS NOT NULL AND NOT e.is_rejected`);
    for (const { event_nid: nid, state_key_nid: stateKeyNid, type } of rows) {
      entries.push({ nid, stateKeyNid, isMember: type === "m.room.member" });
    }
  }
  return entries;
}

/** Returns which of these events are not in the database at all. */
export async function selectUnknownEvents(db: Db, eventIds: readonly EventId[]): Promise<EventId[]> {
  const unknown: EventId[] = [];
  for await (const part of inTurns(eventIds, IDS_A_TURN)) {
    const rows = await db.all<{ value: EventId }>(sql`
      SELECT wanted.value FROM ${textTable(part)} AS wanted
      WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.event_id = wanted.value)`);
    for (const { value } of rows) unknown.push(value);
  }
  return unknown;
}

/** Returns the backward extremities of a room, the latest first: known events with parents that are not known. */
export async function selectBackwardExtremities(
  db: Db,
  { roomNid, depths = { low: Number.MIN_SAFE_INTEGER, high: Number.MAX_SAFE_INTEGER }, limit }: {
    roomNid: number;
    /** Between which depths they are, inclusive. */
    depths?: { readonly low: number; readonly high: number };
    limit: number;
  },
): Promise<EventId[]> {
  const rows = await db.all<{ event_id: EventId }>(sql`
    SELECT DISTINCT e.event_id, e.depth FROM event_prev_missing m JOIN events e ON e.event_nid = m.event_nid
    WHERE m.room_nid = ${roomNid} AND e.depth >= ${depths.low} AND e.depth <= ${depths.high}
    ORDER BY e.depth DESC
    LIMIT ${limit}`);
  return rows.map((row) => row.event_id);
}

/** Returns which of these events of a room have a parent that is not known. */
export async function selectEventsBehindGaps(
  db: Db,
  { roomNid, eventNids }: { roomNid: number; eventNids: readonly number[] },
): Promise<number[]> {
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT DISTINCT event_nid FROM event_prev_missing
    WHERE room_nid = ${roomNid} AND ${inList(sql`event_nid`, eventNids)}`);
  return rows.map((row) => row.event_nid);
}

/** Returns the last event of a room before a position of the stream, or null. */
export async function selectEventBefore(
  db: Db,
  { roomNid, position }: { roomNid: number; position: number },
): Promise<number | null> {
  const row = await db.get<{ event_nid: number }>(sql`
    SELECT event_nid FROM events WHERE room_nid = ${roomNid} AND position < ${position}
    ORDER BY position DESC LIMIT 1`);
  return row === null ? null : row.event_nid;
}

/** Returns, by numeric id, the parents of events that are not here; events with none are left out. */
export async function selectMissingParentsOf(db: Db, nids: readonly number[]): Promise<Map<number, EventId[]>> {
  const missing = new Map<number, EventId[]>();
  if (nids.length === 0) return missing;
  const rows = await db.all<{ event_nid: number; missing_event_id: EventId }>(sql`
    SELECT m.event_nid, m.missing_event_id FROM event_prev_missing m
    JOIN ${numberTable(nids)} AS wanted ON m.event_nid = wanted.value
    ORDER BY m.event_nid, m.missing_event_id`);
  for (const { event_nid: nid, missing_event_id: id } of rows) missing.set(nid, [...missing.get(nid) ?? [], id]);
  return missing;
}
