/** What relates to an event, to be redacted with it. */
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns events of the same room that relate to an event directly, by their numeric ids above `after`. */
export async function selectRelatedEvents(
  db: Db,
  { eventId, after, limit }: { eventId: EventId; after: number; limit: number },
): Promise<{ nid: number; eventId: EventId; relType: string }[]> {
  const rows = await db.all<{ event_nid: number; event_id: EventId; rel_type: string }>(sql`
    SELECT r.event_nid, e.event_id, r.rel_type FROM event_relations r
    JOIN events e ON e.event_nid = r.event_nid
    JOIN events p ON p.event_id = r.relates_to_id
    WHERE r.relates_to_id = ${eventId} AND r.event_nid > ${after} AND e.room_nid = p.room_nid
      AND e.redacted_by_nid IS NULL
    ORDER BY r.event_nid LIMIT ${limit}`);
  return rows.map((row) => ({ nid: row.event_nid, eventId: row.event_id, relType: row.rel_type }));
}
