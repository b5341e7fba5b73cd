/** What a database holds, to tell whether requests changed anything. */
import { listTables } from "../../src/storage/catalog.ts";
import type { Database } from "../../src/storage/database.ts";
import { raw, sql } from "../../src/storage/sql.ts";

/**
 * What the server writes at times of its own choosing: what it makes of older events, and who was seen when. Who proved
 * who they are has done so, however wrong the rest of the request is.
 */
const OWN_TIME = new Set([
  ...["consumer_cursors", "member_names", "monthly_active_users", "open_rooms", "presence", "room_notifications"],
  ...["stream_positions", "uia_sessions", "user_directory", "user_directory_words", "user_ips", "user_notifications"],
]);

/** Returns what the tables hold, by name. */
export async function readTables(db: Database): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { name } of await listTables(db)) {
    if (OWN_TIME.has(name)) continue;
    const rows = await db.all(sql`SELECT * FROM ${raw(name)}`);
    found.set(name, rows.map((row) => describeRow(row)).sort().join("\n"));
  }
  return found;
}

function describeRow(row: unknown): string {
  return JSON.stringify(row, (key, value) => {
    if (key.startsWith("last_seen") || key === "validated_ts") return undefined;
    return typeof value === "bigint" ? String(value) : value;
  });
}
