/** The events of a room in which media may be named. */
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns the JSON of events of a room, newest first, before a position; and where the next page begins. */
export async function selectEventTexts(
  db: Db,
  { roomNid, before, limit }: { roomNid: number; before: number; limit: number },
): Promise<{ texts: string[]; next: number | null }> {
  const rows = await db.all<{ position: number; json: string }>(sql`
    SELECT e.position, j.json FROM events e JOIN event_json j ON j.event_nid = e.event_nid
    WHERE e.room_nid = ${roomNid} AND e.position < ${before}
    ORDER BY e.position DESC LIMIT ${limit}`);
  return { texts: rows.map(({ json }) => json), next: rows.length < limit ? null : rows.at(-1)?.position ?? null };
}
