/** Redacted events whose stored JSON still has what the redaction took away. */
import type { Db, Tx } from "./database.ts";
import { type Sql, sql } from "./sql.ts";

/** A redacted event. */
export interface RedactedEvent {
  readonly nid: number;
  readonly roomVersion: string;
  readonly json: string;
}

/** How many of the index are looked at in one query. */
const LOOKED_AT = 500;

/** Returns events that were redacted before a time and are not pruned, those redacted first. */
export async function selectUnprunedEvents(
  db: Db,
  { before, limit }: { before: number; limit: number },
): Promise<RedactedEvent[]> {
  const rows = await db.all<{ event_nid: number; room_version: string; json: string }>(sql`
    SELECT candidates.event_nid, rooms.room_version, event_json.json
    FROM (SELECT event_nid, redacted_by_nid, room_nid FROM events
      WHERE redacted_by_nid IS NOT NULL AND NOT is_pruned
      ORDER BY redacted_by_nid LIMIT ${LOOKED_AT}) AS candidates
    JOIN events AS redactions ON redactions.event_nid = candidates.redacted_by_nid
    JOIN rooms ON rooms.room_nid = candidates.room_nid
    JOIN event_json ON event_json.event_nid = candidates.event_nid
    WHERE redactions.received_ts < ${before}
    ORDER BY candidates.redacted_by_nid LIMIT ${limit}`);
  return rows.map((row) => ({ nid: row.event_nid, roomVersion: row.room_version, json: row.json }));
}

/** Replaces the JSON of redacted events. */
export async function updatePrunedEvents(
  tx: Tx,
  events: readonly { readonly nid: number; readonly json: string }[],
): Promise<void> {
  const statements: Sql[] = events.flatMap(({ nid, json }) => [
    sql`UPDATE event_json SET json = ${json} WHERE event_nid = ${nid}`,
    sql`UPDATE events SET is_pruned = ${true} WHERE event_nid = ${nid}`,
  ]);
  await tx.runMany(statements);
}

/** Tells whether what a redaction took away of an event is deleted. */
export async function selectIsPruned(db: Db, eventNid: number): Promise<boolean> {
  const row = await db.get<{ is_pruned: boolean }>(sql`SELECT is_pruned FROM events WHERE event_nid = ${eventNid}`);
  return row?.is_pruned ?? true;
}
