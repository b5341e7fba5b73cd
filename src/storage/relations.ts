/** Which events relate to which: what is bundled with an event, and lists of relations. */
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { type Sql, sql, textTable } from "./sql.ts";
import type { TimelineRow } from "./timeline.ts";

/** Relations that count: of events that are in the room's history and were not redacted. */
const COUNTED: Sql = sql`e.position IS NOT NULL AND e.redacted_by_nid IS NULL AND NOT e.is_rejected
  AND NOT e.is_soft_failed`;
/** Edits of one event that are looked at, the latest first: an edit without new content does not count. */
const EDITS_PER_EVENT = 5;
const REFERENCES_PER_EVENT = 100;
const THREAD_SENDERS_PER_PAGE = 20_000;
const KINDS_PER_EVENT = 50;

/** Events that relations are asked for, and up to which position of the stream. */
export interface RelationTargets {
  readonly eventIds: readonly EventId[];
  readonly upTo: number;
}

/** Returns which of the events have relations that are bundled, by type of relation. */
export async function selectBundledKinds(
  db: Db,
  eventIds: readonly EventId[],
): Promise<{ targetId: EventId; relType: string }[]> {
  const rows = await db.all<{ relates_to_id: EventId; rel_type: string }>(sql`
    SELECT DISTINCT r.relates_to_id, r.rel_type FROM ${textTable(eventIds)} AS wanted
    JOIN event_relations r ON r.relates_to_id = wanted.value
    WHERE r.rel_type IN ('m.replace', 'm.reference', 'm.thread')
    LIMIT ${eventIds.length * KINDS_PER_EVENT}`);
  return rows.map((row) => ({ targetId: row.relates_to_id, relType: row.rel_type }));
}

/** Returns the latest edits of each event by its own sender, the latest first. */
export async function selectEdits(
  db: Db,
  { eventIds, upTo }: RelationTargets,
): Promise<{ targetId: EventId; nid: number }[]> {
  const rows = await db.all<{ relates_to_id: EventId; event_nid: number }>(sql`
    SELECT relates_to_id, event_nid FROM (
      SELECT r.relates_to_id, e.event_nid,
        ROW_NUMBER() OVER (PARTITION BY r.relates_to_id ORDER BY e.origin_server_ts DESC, e.event_id DESC) AS place
      FROM ${textTable(eventIds)} AS wanted
      JOIN events p ON p.event_id = wanted.value
      JOIN event_relations r ON r.relates_to_id = p.event_id AND r.rel_type = 'm.replace'
      JOIN events e ON e.event_nid = r.event_nid
      WHERE e.room_nid = p.room_nid AND e.sender = p.sender AND e.type = p.type AND e.state_key_nid IS NULL
        AND e.position <= ${upTo} AND ${COUNTED}
    ) AS edits
    WHERE place <= ${EDITS_PER_EVENT}
    ORDER BY relates_to_id, place`);
  return rows.map((row) => ({ targetId: row.relates_to_id, nid: row.event_nid }));
}

/** A reference to an event. */
export interface ReferenceRow {
  readonly targetId: EventId;
  readonly eventId: EventId;
  readonly sender: UserId;
}

/** Returns the first references to each event, in the order in which they came. */
export async function selectReferences(db: Db, { eventIds, upTo }: RelationTargets): Promise<ReferenceRow[]> {
  const rows = await db.all<{ relates_to_id: EventId; event_id: EventId; sender: UserId }>(sql`
    SELECT relates_to_id, event_id, sender FROM (
      SELECT r.relates_to_id, e.event_id, e.sender,
        ROW_NUMBER() OVER (PARTITION BY r.relates_to_id ORDER BY e.position) AS place
      FROM ${textTable(eventIds)} AS wanted
      JOIN events p ON p.event_id = wanted.value
      JOIN event_relations r ON r.relates_to_id = p.event_id AND r.rel_type = 'm.reference'
      JOIN events e ON e.event_nid = r.event_nid
      WHERE e.room_nid = p.room_nid AND e.position <= ${upTo} AND ${COUNTED}
    ) AS found
    WHERE place <= ${REFERENCES_PER_EVENT}
    ORDER BY relates_to_id, place`);
  return rows.map((row) => ({ targetId: row.relates_to_id, eventId: row.event_id, sender: row.sender }));
}

/** How much one user wrote in a thread. */
export interface ThreadSenderRow {
  readonly targetId: EventId;
  readonly sender: UserId;
  readonly count: number;
  readonly latestNid: number;
  readonly latestPosition: number;
}

/** Returns who wrote how much in the threads that these events are the roots of. */
export async function selectThreadSenders(db: Db, { eventIds, upTo }: RelationTargets): Promise<ThreadSenderRow[]> {
  const rows = await db.all<
    { relates_to_id: EventId; sender: UserId; n: number; event_nid: number; position: number }
  >(sql`
    SELECT t.relates_to_id, t.sender, t.n, latest.event_nid, t.position FROM (
      SELECT r.relates_to_id, e.sender, COUNT(*) AS n, MAX(e.position) AS position
      FROM ${textTable(eventIds)} AS wanted
      JOIN events p ON p.event_id = wanted.value
      JOIN event_relations r ON r.relates_to_id = p.event_id AND r.rel_type = 'm.thread'
      JOIN events e ON e.event_nid = r.event_nid
      WHERE e.room_nid = p.room_nid AND e.position <= ${upTo} AND ${COUNTED}
      GROUP BY r.relates_to_id, e.sender
    ) AS t
    JOIN events latest ON latest.position = t.position
    LIMIT ${THREAD_SENDERS_PER_PAGE}`);
  return rows.map((row) => ({
    targetId: row.relates_to_id,
    sender: row.sender,
    count: Number(row.n),
    latestNid: row.event_nid,
    latestPosition: row.position,
  }));
}

/** Which relations of an event to list, in graph order. Bounds are inclusive. */
export interface RelationRange {
  readonly eventId: EventId;
  readonly roomNid: number;
  readonly relType: string | null;
  readonly eventType: string | null;
  /** 1 for events that relate to the event itself, more for those that relate to them. */
  readonly depth: number;
  readonly from: { readonly depth: number; readonly position: number };
  readonly to: { readonly depth: number; readonly position: number };
  readonly minPosition: number;
  readonly maxPosition: number;
  readonly backward: boolean;
  readonly limit: number;
}

/** Returns the events that relate to an event. */
export async function selectRelations(db: Db, range: RelationRange): Promise<TimelineRow[]> {
  const [low, high] = range.backward ? [range.to, range.from] : [range.from, range.to];
  const relType = range.relType === null ? sql`` : sql`AND related.rel_type = ${range.relType}`;
  const eventType = range.eventType === null ? sql`` : sql`AND e.type = ${range.eventType}`;
  const order = range.backward ? sql`e.depth DESC, e.position DESC` : sql`e.depth, e.position`;
  const related = range.depth === 1 ? direct(range.eventId) : indirect(range.eventId, range.depth);
  const rows = await db.all<{ event_nid: number; depth: number; position: number }>(sql`
    ${related}
    SELECT DISTINCT e.event_nid, e.depth, e.position FROM related
    JOIN events e ON e.event_nid = related.event_nid
    WHERE e.room_nid = ${range.roomNid} ${relType} ${eventType} AND ${COUNTED}
      AND (e.depth, e.position) >= (${low.depth}, ${low.position})
      AND (e.depth, e.position) <= (${high.depth}, ${high.position})
      AND e.position >= ${range.minPosition} AND e.position <= ${range.maxPosition}
    ORDER BY ${order}
    LIMIT ${range.limit}`);
  return rows.map((row) => ({ nid: row.event_nid, depth: row.depth, position: row.position }));
}

function direct(eventId: EventId): Sql {
  return sql`WITH related AS (SELECT event_nid, rel_type FROM event_relations WHERE relates_to_id = ${eventId})`;
}

function indirect(eventId: EventId, depth: number): Sql {
  return sql`
    WITH RECURSIVE related (event_nid, event_id, rel_type, level) AS (
      SELECT r.event_nid, x.event_id, r.rel_type, 1
      FROM event_relations r JOIN events x ON x.event_nid = r.event_nid
      WHERE r.relates_to_id = ${eventId}
      UNION
      SELECT r.event_nid, x.event_id, r.rel_type, related.level + 1
      FROM related
      JOIN event_relations r ON r.relates_to_id = related.event_id
      JOIN events x ON x.event_nid = r.event_nid
      WHERE related.level < ${depth}
    )`;
}

/** Tells whether a user has annotated an event with a key already. */
export async function hasAnnotation(
  db: Db,
  { targetId, sender, type, key }: { targetId: string; sender: UserId; type: string; key: string },
): Promise<boolean> {
  const row = await db.get<{ event_nid: number }>(sql`
    SELECT e.event_nid FROM event_relations r JOIN events e ON e.event_nid = r.event_nid
    WHERE r.relates_to_id = ${targetId} AND r.rel_type = 'm.annotation' AND r.aggregation_key = ${key}
      AND e.sender = ${sender} AND e.type = ${type} AND ${COUNTED}
    LIMIT 1`);
  return row !== null;
}
