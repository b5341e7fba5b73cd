/** Which event is whose parent in threads of any depth (MSC2836), and what other servers say of children. */
import type { EventId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** An event and its parent. */
export interface ParentRow {
  readonly eventNid: number;
  readonly roomNid: number;
  readonly parentId: string;
  readonly relType: string;
}

/** A child of an event. */
export interface ChildRow {
  readonly nid: number;
  readonly eventId: EventId;
  readonly relType: string;
}

/** What another server said of an event's children. */
export interface ToldRow {
  /** By `rel_type`. */
  readonly counts: Readonly<Record<string, number>>;
  readonly hash: string;
  readonly isExplored: boolean;
}

/** Records the parents of events; what is known already stays. */
export async function insertParents(tx: Tx, rows: readonly ParentRow[]): Promise<void> {
  await tx.runMany(rows.map((row) =>
    sql`
    INSERT INTO event_parents (event_nid, room_nid, parent_id, rel_type)
    VALUES (${row.eventNid}, ${row.roomNid}, ${row.parentId}, ${row.relType}) ON CONFLICT DO NOTHING`
  ));
}

/** Returns the parent of an event, or null. */
export async function selectParent(db: Db, eventNid: number): Promise<EventId | null> {
  const [row] = await db.all<{ parent_id: EventId }>(
    sql`SELECT parent_id FROM event_parents WHERE event_nid = ${eventNid}`,
  );
  return row?.parent_id ?? null;
}

/** Returns the children of an event in its room, the oldest first. */
export async function selectChildren(
  db: Db,
  { eventId, roomNid, limit }: { eventId: EventId; roomNid: number; limit: number },
): Promise<ChildRow[]> {
  const rows = await db.all<{ event_nid: number; event_id: EventId; rel_type: string }>(sql`
    SELECT p.event_nid, e.event_id, p.rel_type FROM event_parents p
    JOIN events e ON e.event_nid = p.event_nid
    WHERE p.parent_id = ${eventId} AND p.room_nid = ${roomNid} AND NOT e.is_rejected AND NOT e.is_soft_failed
    ORDER BY e.origin_server_ts, e.event_id LIMIT ${limit}`);
  return rows.map((row) => ({ nid: row.event_nid, eventId: row.event_id, relType: row.rel_type }));
}

/** Records what another server said of an event's children, in place of what was said before. */
export async function upsertTold(tx: Tx, { eventNid, ...row }: ToldRow & { eventNid: number }): Promise<void> {
  await tx.run(sql`
    INSERT INTO event_children_told (event_nid, counts, children_hash, is_explored)
    VALUES (${eventNid}, ${JSON.stringify(row.counts)}, ${row.hash}, ${row.isExplored})
    ON CONFLICT (event_nid) DO UPDATE SET counts = excluded.counts, children_hash = excluded.children_hash,
      is_explored = excluded.is_explored`);
}

/** Returns what another server said of an event's children, or null. */
export async function selectTold(db: Db, eventNid: number): Promise<ToldRow | null> {
  const [row] = await db.all<{ counts: string; children_hash: string; is_explored: boolean | number }>(sql`
    SELECT counts, children_hash, is_explored FROM event_children_told WHERE event_nid = ${eventNid}`);
  if (row === undefined) return null;
  return { counts: JSON.parse(row.counts), hash: row.children_hash, isExplored: Boolean(row.is_explored) };
}
