/** The threads of rooms, with when each was last written in. Kept with every event of a thread. */
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A thread by its root. */
export interface ThreadRow {
  readonly rootId: EventId;
  readonly latestPosition: number;
}

/** Notes that an event was written in a thread. */
export async function upsertThread(
  tx: Tx,
  { roomNid, rootId, position }: { roomNid: number; rootId: string; position: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO threads (room_nid, root_id, latest_position) VALUES (${roomNid}, ${rootId}, ${position})
    ON CONFLICT (room_nid, root_id) DO UPDATE SET latest_position =
      CASE WHEN excluded.latest_position > threads.latest_position THEN excluded.latest_position
        ELSE threads.latest_position END`);
}

/** Finds out anew when a thread was last written in, after an event of it was redacted. */
export async function refreshThread(tx: Tx, { roomNid, rootId }: { roomNid: number; rootId: string }): Promise<void> {
  const row = await tx.get<{ position: number | null }>(sql`
    SELECT MAX(e.position) AS position FROM event_relations r
    JOIN events e ON e.event_nid = r.event_nid
    WHERE r.relates_to_id = ${rootId} AND r.rel_type = 'm.thread' AND e.room_nid = ${roomNid}
      AND e.redacted_by_nid IS NULL AND NOT e.is_rejected AND NOT e.is_soft_failed`);
  if (row === null || row.position === null) {
    await tx.run(sql`DELETE FROM threads WHERE room_nid = ${roomNid} AND root_id = ${rootId}`);
  } else {
    await tx.run(sql`
      UPDATE threads SET latest_position = ${row.position} WHERE room_nid = ${roomNid} AND root_id = ${rootId}`);
  }
}

/** Returns threads of a room in `[from, before)` by when they were last written in, the latest first. */
export async function selectThreads(
  db: Db,
  { roomNid, before, participant, limit }: {
    roomNid: number;
    before: number;
    /** Only threads that this user began or wrote in; null for all. */
    participant: UserId | null;
    limit: number;
  },
): Promise<ThreadRow[]> {
  const only = participant === null ? sql`` : sql`AND (
    EXISTS (SELECT 1 FROM events p WHERE p.event_id = t.root_id AND p.sender = ${participant})
    OR EXISTS (
      SELECT 1 FROM event_relations r JOIN events e ON e.event_nid = r.event_nid
      WHERE r.relates_to_id = t.root_id AND r.rel_type = 'm.thread' AND e.sender = ${participant}
        AND e.redacted_by_nid IS NULL))`;
  const rows = await db.all<{ root_id: EventId; latest_position: number }>(sql`
    SELECT t.root_id, t.latest_position FROM threads t
    WHERE t.room_nid = ${roomNid} AND t.latest_position < ${before} ${only}
    ORDER BY t.latest_position DESC
    LIMIT ${limit}`);
  return rows.map((row) => ({ rootId: row.root_id, latestPosition: row.latest_position }));
}
