/** What the database has of a room. */
import type { Database } from "../../src/storage/database.ts";
import { perDialect, raw, sql } from "../../src/storage/sql.ts";

/** Tables that may speak of a room that is gone. */
const KEPT = new Set(["blocked_rooms", "reports", "room_keys"]);

/** Returns the tables that have rows of a room. */
export async function tablesOfRoom(
  db: Database,
  { roomNid, roomId }: { roomNid: number; roomId: string },
): Promise<string[]> {
  const columns = await db.all<{ table_name: string; column_name: string }>(perDialect({
    sqlite: sql`
      SELECT m.name AS table_name, p.name AS column_name FROM sqlite_master m JOIN pragma_table_info(m.name) p
      WHERE m.type = 'table' AND p.name IN ('room_nid', 'room_id')`,
    postgres: sql`
      SELECT table_name, column_name FROM information_schema.columns
      WHERE table_schema = current_schema() AND column_name IN ('room_nid', 'room_id')`,
  }));
  const found: string[] = [];
  for (const { table_name: table, column_name: column } of columns) {
    const rows = column === "room_nid"
      ? await db.all(sql`SELECT 1 AS one FROM ${raw(table)} WHERE room_nid = ${roomNid} LIMIT 1`)
      : await db.all(sql`SELECT 1 AS one FROM ${raw(table)} WHERE room_id = ${roomId} LIMIT 1`);
    if (rows.length > 0 && !KEPT.has(table)) found.push(table);
  }
  return found;
}
