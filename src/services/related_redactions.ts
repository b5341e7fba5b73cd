/** Redactions that take what relates to the event along (MSC3912): edits, reactions, replies in a thread. */
import { MatrixError } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { selectRelatedEvents } from "../storage/related_events.ts";

const PAGE = 100;

/**
 * Redacts, by `redact`, every event that relates to one directly and by one of the types (null for any). What the user
 * may not redact stays.
 */
export async function redactRelated(
  db: Database,
  { eventId, relTypes, redact }: {
    eventId: EventId;
    relTypes: ReadonlySet<string> | null;
    redact: (eventId: EventId) => Promise<unknown>;
  },
): Promise<void> {
  let after = 0;
  while (true) {
    const rows = await selectRelatedEvents(db, { eventId, after, limit: PAGE });
    for (const row of rows) {
      after = row.nid;
      if (relTypes !== null && !relTypes.has(row.relType)) continue;
      try {
        await redact(row.eventId);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
      }
    }
    if (rows.length < PAGE) return;
  }
}
