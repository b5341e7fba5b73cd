/** Events by their position in the stream. */
import type { Db } from "./database.ts";
import { inList, numberTable, sql } from "./sql.ts";

/** Returns the numeric ids of the events at these positions, by position. */
export async function selectNidsAt(db: Db, positions: readonly number[]): Promise<Map<number, number>> {
  if (positions.length === 0) return new Map();
  const rows = await db.all<{ position: number; event_nid: number }>(sql`
    SELECT e.position, e.event_nid FROM ${numberTable(positions)} AS wanted
    JOIN events e ON e.position = wanted.value`);
  return new Map(rows.map((row) => [row.position, row.event_nid]));
}

/** Returns events of some rooms in `(after, upTo]` of the stream, oldest first. */
export async function selectEventsBetween(
  db: Db,
  { roomNids, after, upTo, limit }: { roomNids: readonly number[]; after: number; upTo: number; limit: number },
): Promise<{ nid: number; position: number }[]> {
  if (roomNids.length === 0 || after >= upTo) return [];
  const rows = await db.all<{ event_nid: number; position: number }>(sql`
    SELECT event_nid, position FROM events
    WHERE position > ${after} AND position <= ${upTo} AND ${inList(sql`room_nid`, roomNids)}
      AND NOT is_rejected AND NOT is_soft_failed
    ORDER BY position
    LIMIT ${limit}`);
  return rows.map((row) => ({ nid: row.event_nid, position: row.position }));
}
