/** Reading events. Writing them is in `event_writes.ts`. */
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { numberTable, type Sql, sql, textTable } from "./sql.ts";

/** A row of `events` with its JSON. */
export interface EventRow {
  readonly eventNid: number;
  readonly eventId: EventId;
  readonly roomNid: number;
  readonly stateKeyNid: number | null;
  readonly position: number | null;
  readonly receivedTs: number;
  readonly isOutlier: boolean;
  readonly isRejected: boolean;
  readonly isSoftFailed: boolean;
  readonly stateBefore: number | null;
  readonly stateAfter: number | null;
  readonly authRank: number;
  readonly redactedByNid: number | null;
  readonly json: string;
}

interface Row {
  event_nid: number;
  event_id: EventId;
  room_nid: number;
  state_key_nid: number | null;
  position: number | null;
  received_ts: number;
  is_outlier: boolean;
  is_rejected: boolean;
  is_soft_failed: boolean;
  state_before: number | null;
  state_after: number | null;
  auth_rank: number;
  redacted_by_nid: number | null;
  json: string;
}

const COLUMNS: Sql = sql`e.event_nid, e.event_id, e.room_nid, e.state_key_nid, e.position, e.received_ts, e.is_outlier,
  e.is_rejected, e.is_soft_failed, e.state_before, e.state_after, e.auth_rank, e.redacted_by_nid, j.json`;

/** Returns the events with these numeric ids, in no order; unknown ones are left out. */
export async function selectEventsByNid(db: Db, nids: readonly number[]): Promise<EventRow[]> {
  const [nid] = nids;
  if (nid === undefined) return [];
  if (nids.length === 1) {
    const row = await db.get<Row>(
      sql`SELECT ${COLUMNS} FROM events e JOIN event_json j ON j.event_nid = e.event_nid WHERE e.event_nid = ${nid}`,
    );
    return row === null ? [] : [toEventRow(row)];
  }
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS}
    FROM ${numberTable(nids)} AS wanted
    JOIN events e ON e.event_nid = wanted.value
    JOIN event_json j ON j.event_nid = e.event_nid`);
  return rows.map(toEventRow);
}

/** Returns the events with these ids, in no order; unknown ones are left out. */
export async function selectEventsById(db: Db, ids: readonly EventId[]): Promise<EventRow[]> {
  if (ids.length === 0) return [];
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS}
    FROM ${textTable(ids)} AS wanted
    JOIN events e ON e.event_id = wanted.value
    JOIN event_json j ON j.event_nid = e.event_nid`);
  return rows.map(toEventRow);
}

function toEventRow(row: Row): EventRow {
  return {
    eventNid: row.event_nid,
    eventId: row.event_id,
    roomNid: row.room_nid,
    stateKeyNid: row.state_key_nid,
    position: row.position,
    receivedTs: row.received_ts,
    isOutlier: row.is_outlier,
    isRejected: row.is_rejected,
    isSoftFailed: row.is_soft_failed,
    stateBefore: row.state_before,
    stateAfter: row.state_after,
    authRank: row.auth_rank,
    redactedByNid: row.redacted_by_nid,
    json: row.json,
  };
}
