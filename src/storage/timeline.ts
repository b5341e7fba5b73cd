/**
 * Which events of a room a reader looks at, by stream or by graph order. Only ids and order: the events themselves come
 * from the event store. Outliers have no position; rejected and soft-failed events are never shown.
 */
import type { Db } from "./database.ts";
import { inList, type Sql, sql } from "./sql.ts";

/** An event's place in its room. */
export interface TimelineRow {
  readonly nid: number;
  readonly depth: number;
  readonly position: number;
}

interface Row {
  event_nid: number;
  depth: number;
  position: number;
}

/** The lowest position there is: further back than any backfilled event. */
export const MIN_POSITION = Number.MIN_SAFE_INTEGER;
/** Above every position. */
export const MAX_POSITION = Number.MAX_SAFE_INTEGER;

const SHOWN: Sql = sql`NOT is_rejected AND NOT is_soft_failed`;
const NOT_REJECTED: Sql = sql`NOT is_rejected`;
const DEPTH_SAMPLE = 500;

function toTimelineRow(row: Row): TimelineRow {
  return { nid: row.event_nid, depth: row.depth, position: row.position };
}

/** Returns the last `limit` events in `(after, upTo]` of the stream, newest first. */
export async function selectTimelineTail(
  db: Db,
  { roomNid, after, upTo, limit, withSoftFailed = false }: {
    roomNid: number;
    after: number;
    upTo: number;
    limit: number;
    withSoftFailed?: boolean;
  },
): Promise<TimelineRow[]> {
  const rows = await db.all<Row>(sql`
    SELECT event_nid, depth, position FROM events
    WHERE room_nid = ${roomNid} AND position > ${after} AND position <= ${upTo}
      AND ${withSoftFailed ? NOT_REJECTED : SHOWN}
    ORDER BY position DESC
    LIMIT ${limit}`);
  return rows.map(toTimelineRow);
}

/** Part of a room's history, in graph order (depth, then position). All bounds are inclusive. */
export interface HistoryRange {
  readonly roomNid: number;
  readonly from: { readonly depth: number; readonly position: number };
  /** The first events not wanted any more lie beyond this place. */
  readonly to: { readonly depth: number; readonly position: number };
  /** Bounds by stream position alone, whatever the depth. */
  readonly minPosition: number;
  readonly maxPosition: number;
  readonly limit: number;
  readonly withSoftFailed?: boolean;
}

/** Before all places in a graph. */
export const FIRST = { depth: MIN_POSITION, position: MIN_POSITION } as const;
/** After all places in a graph. */
export const LAST = { depth: MAX_POSITION, position: MAX_POSITION } as const;

/** The bounds of all there is, going forward. */
export const WHOLE_ROOM = { from: FIRST, to: LAST, minPosition: MIN_POSITION, maxPosition: MAX_POSITION } as const;

/** Returns events from `from` back to `to`, latest first. */
export async function selectHistoryBackward(db: Db, range: HistoryRange): Promise<TimelineRow[]> {
  const rows = await db.all<Row>(sql`
    SELECT event_nid, depth, position FROM events
    WHERE room_nid = ${range.roomNid} AND position IS NOT NULL
      AND (depth, position) <= (${range.from.depth}, ${range.from.position})
      AND (depth, position) >= (${range.to.depth}, ${range.to.position})
      AND position >= ${range.minPosition} AND position <= ${range.maxPosition}
      AND ${range.withSoftFailed ? NOT_REJECTED : SHOWN}
    ORDER BY depth DESC, position DESC
    LIMIT ${range.limit}`);
  return rows.map(toTimelineRow);
}

/** Returns events from `from` on to `to`, earliest first. */
export async function selectHistoryForward(db: Db, range: HistoryRange): Promise<TimelineRow[]> {
  const rows = await db.all<Row>(sql`
    SELECT event_nid, depth, position FROM events
    WHERE room_nid = ${range.roomNid} AND position IS NOT NULL
      AND (depth, position) >= (${range.from.depth}, ${range.from.position})
      AND (depth, position) <= (${range.to.depth}, ${range.to.position})
      AND position >= ${range.minPosition} AND position <= ${range.maxPosition}
      AND ${range.withSoftFailed ? NOT_REJECTED : SHOWN}
    ORDER BY depth, position
    LIMIT ${range.limit}`);
  return rows.map(toTimelineRow);
}

/**
 * Returns the greatest depth among the events of a room that came at or before a stream position, or null when there are
 * none: where to enter the graph order, going back. Of all of them, not of the latest: a long branch that came last must
 * not hide a deeper one. Only what came after the position is walked over.
 */
export async function selectDepthBefore(
  db: Db,
  { roomNid, position }: { roomNid: number; position: number },
): Promise<number | null> {
  const row = await db.get<{ depth: number }>(sql`
    SELECT depth FROM events WHERE room_nid = ${roomNid} AND position IS NOT NULL AND position <= ${position}
    ORDER BY depth DESC, position DESC LIMIT 1`);
  return row?.depth ?? null;
}

/** Returns the depth of the first event of a room that came after a stream position, or null when there is none. */
export async function selectDepthOfNext(
  db: Db,
  { roomNid, position }: { roomNid: number; position: number },
): Promise<number | null> {
  const row = await db.get<{ depth: number }>(sql`
    SELECT depth FROM events WHERE room_nid = ${roomNid} AND position > ${position} AND ${SHOWN}
    ORDER BY position LIMIT 1`);
  return row?.depth ?? null;
}

/**
 * Returns the least depth among the events of a room that came after a stream position, or null when there are none: where
 * to enter the graph order, going on. Of all of them, not of the next: a long branch that came first must not hide a
 * shallower one. Few are looked at one by one; of many, the room is walked over in graph order until one of them comes.
 */
export async function selectDepthAfter(
  db: Db,
  { roomNid, position }: { roomNid: number; position: number },
): Promise<number | null> {
  const nearest = await db.get<{ depth: number | null; count: number }>(sql`
    SELECT MIN(depth) AS depth, COUNT(*) AS count FROM (
      SELECT depth FROM events
      WHERE room_nid = ${roomNid} AND position > ${position}
      ORDER BY position LIMIT ${DEPTH_SAMPLE}
    ) AS nearest`);
  if (nearest === null || nearest.count < DEPTH_SAMPLE) return nearest?.depth ?? null;
  const row = await db.get<{ depth: number }>(sql`
    SELECT depth FROM events WHERE room_nid = ${roomNid} AND position IS NOT NULL AND position > ${position}
    ORDER BY depth, position LIMIT 1`);
  return row?.depth ?? null;
}

/** An event by its time. */
export interface TimestampRow {
  readonly nid: number;
  readonly originServerTs: number;
}

/**
 * Returns the events nearest to a time, nearest first: at or before it going back, at or after it going on. Of equal
 * times the one furthest along the direction of search in the graph comes last.
 */
export async function selectEventsByTime(
  db: Db,
  { roomNid, ts, backwards, upTo, limit }: {
    roomNid: number;
    ts: number;
    backwards: boolean;
    upTo: number;
    limit: number;
  },
): Promise<TimestampRow[]> {
  const rows = await db.all<{ event_nid: number; origin_server_ts: number }>(
    backwards
      ? sql`
    SELECT event_nid, origin_server_ts FROM events
    WHERE room_nid = ${roomNid} AND position IS NOT NULL AND origin_server_ts <= ${ts} AND +position <= ${upTo}
      AND ${SHOWN}
    ORDER BY origin_server_ts DESC, depth DESC, position DESC
    LIMIT ${limit}`
      : sql`
    SELECT event_nid, origin_server_ts FROM events
    WHERE room_nid = ${roomNid} AND position IS NOT NULL AND origin_server_ts >= ${ts} AND +position <= ${upTo}
      AND ${SHOWN}
    ORDER BY origin_server_ts, depth, position
    LIMIT ${limit}`,
  );
  return rows.map((row) => ({ nid: row.event_nid, originServerTs: row.origin_server_ts }));
}

/** How the current state changed at a position. */
export interface StateDelta {
  readonly position: number;
  readonly type: string;
  readonly stateKey: string;
  /** Null when the key went away. */
  readonly eventNid: number | null;
  readonly prevEventNid: number | null;
}

interface DeltaRow {
  position: number;
  type: string;
  state_key: string;
  event_nid: number | null;
  prev_event_nid: number | null;
}

function toStateDelta(row: DeltaRow): StateDelta {
  return {
    position: row.position,
    type: row.type,
    stateKey: row.state_key,
    eventNid: row.event_nid,
    prevEventNid: row.prev_event_nid,
  };
}

const DELTA_PAGE = 1_000;

/** Returns how a room's state changed in `(after, upTo]`, oldest first. Costs as much as there are changes. */
export async function selectStateDeltas(
  db: Db,
  { roomNid, after, upTo }: { roomNid: number; after: number; upTo: number },
): Promise<StateDelta[]> {
  const deltas: StateDelta[] = [];
  let from = { position: after, key: MAX_POSITION };
  while (true) {
    const rows = await db.all<DeltaRow & { state_key_nid: number }>(sql`
      SELECT position, state_key_nid, type, state_key, event_nid, prev_event_nid FROM state_deltas
      WHERE room_nid = ${roomNid} AND (position, state_key_nid) > (${from.position}, ${from.key})
        AND position <= ${upTo}
      ORDER BY position, state_key_nid
      LIMIT ${DELTA_PAGE}`);
    for (const row of rows) deltas.push(toStateDelta(row));
    const last = rows[rows.length - 1];
    if (rows.length < DELTA_PAGE || last === undefined) return deltas;
    from = { position: last.position, key: last.state_key_nid };
  }
}

/** Which device sent an event, and under which transaction id. */
export interface TransactionRow {
  readonly eventNid: number;
  readonly deviceId: string;
  readonly txnId: string;
}

/** Returns under which transactions a user sent these events. */
export async function selectTransactionsOf(
  db: Db,
  { userId, eventNids }: { userId: string; eventNids: readonly number[] },
): Promise<TransactionRow[]> {
  if (eventNids.length === 0) return [];
  const rows = await db.all<{ event_nid: number; device_id: string; txn_id: string }>(sql`
    SELECT event_nid, device_id, txn_id FROM events
    WHERE ${inList(sql`event_nid`, eventNids)} AND sender = ${userId} AND txn_id IS NOT NULL`);
  return rows.map((row) => ({ eventNid: row.event_nid, deviceId: row.device_id, txnId: row.txn_id }));
}
