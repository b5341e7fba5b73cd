/** What users reported to the administrators. */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Tx } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import { sql } from "./sql.ts";

/** A report of an event, a room, or a user; what it is not of is null. */
export interface Report {
  readonly receivedTs: number;
  readonly reporter: UserId;
  readonly roomId: RoomId | null;
  readonly eventId: EventId | null;
  readonly reportedUser: UserId | null;
  readonly reason: string | null;
  readonly score: number | null;
}

/** Adds a report and returns its number: they are counted without gaps. */
export async function insertReport(tx: Tx, report: Report): Promise<number> {
  const row = await tx.get<{ report_id: number }>(sql`
    UPDATE id_blocks SET next_id = next_id + 1 WHERE sequence = 'report' RETURNING next_id - 1 AS report_id`);
  if (row === null) throw new DatabaseError("driver", "There is no sequence of reports");
  await tx.run(sql`
    INSERT INTO reports (report_id, received_ts, reporter, room_id, event_id, reported_user, reason, score)
    VALUES (${row.report_id}, ${report.receivedTs}, ${report.reporter}, ${report.roomId}, ${report.eventId},
      ${report.reportedUser}, ${report.reason}, ${report.score})`);
  return row.report_id;
}
