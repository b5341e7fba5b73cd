/** Events of others that we pass on, because their servers are not in the room yet or do not know who is. */
import type { EventId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** Notes that an event is to be passed on once it is in its room. */
export async function insertRelayedEvent(tx: Tx, eventId: EventId): Promise<void> {
  await tx.run(sql`INSERT INTO relayed_events (event_id) VALUES (${eventId}) ON CONFLICT DO NOTHING`);
}

/** Returns which of these events are to be passed on. */
export async function selectRelayedEvents(db: Db, eventIds: readonly EventId[]): Promise<EventId[]> {
  if (eventIds.length === 0) return [];
  const rows = await db.all<{ event_id: EventId }>(sql`
    SELECT event_id FROM relayed_events WHERE ${inList(sql`event_id`, eventIds)}`);
  return rows.map((row) => row.event_id);
}
