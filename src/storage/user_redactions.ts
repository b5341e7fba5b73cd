/** Kicks and bans that redact what their target has said (MSC4293). */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** One that is not done yet. */
export interface UserRedaction {
  readonly redactionNid: number;
  readonly roomNid: number;
  /** Position of the last event that is still to be looked at. */
  readonly upTo: number;
}

/** Notes one that is to be done. */
export async function insertUserRedaction(tx: Tx, { redactionNid, roomNid, upTo }: UserRedaction): Promise<void> {
  await tx.run(sql`
    INSERT INTO user_redactions (redaction_nid, room_nid, up_to) VALUES (${redactionNid}, ${roomNid}, ${upTo})
    ON CONFLICT (redaction_nid) DO UPDATE SET up_to = excluded.up_to`);
}

/** Returns those that are not done, at most 100. */
export async function selectUserRedactions(db: Db): Promise<UserRedaction[]> {
  const rows = await db.all<{ redaction_nid: number; room_nid: number; up_to: number }>(sql`
    SELECT redaction_nid, room_nid, up_to FROM user_redactions ORDER BY redaction_nid LIMIT 100`);
  return rows.map((row) => ({ redactionNid: row.redaction_nid, roomNid: row.room_nid, upTo: row.up_to }));
}

/** Notes how far one is; null when it is done. */
export async function updateUserRedaction(
  tx: Tx,
  { redactionNid, upTo }: { redactionNid: number; upTo: number | null },
): Promise<void> {
  await tx.run(
    upTo === null
      ? sql`DELETE FROM user_redactions WHERE redaction_nid = ${redactionNid}`
      : sql`UPDATE user_redactions SET up_to = ${upTo} WHERE redaction_nid = ${redactionNid}`,
  );
}

/** Returns the position of the last of `limit` events of a room, going back from `upTo` to `after`; null for none. */
export async function selectSpanStart(
  db: Db,
  { roomNid, after, upTo, limit }: { roomNid: number; after: number; upTo: number; limit: number },
): Promise<number | null> {
  const row = await db.get<{ start: number | null }>(sql`
    SELECT MIN(position) AS start FROM (
      SELECT position FROM events
      WHERE room_nid = ${roomNid} AND position > ${after} AND position <= ${upTo}
      ORDER BY position DESC LIMIT ${limit}) AS span`);
  return row?.start ?? null;
}

/** Redacts what a user has sent between two positions of a room; returns the events by their numeric ids. */
export async function redactEventsOfUser(
  tx: Tx,
  { roomNid, userId, redactionNid, from, upTo }: {
    roomNid: number;
    userId: UserId;
    redactionNid: number;
    from: number;
    upTo: number;
  },
): Promise<number[]> {
  const rows = await tx.all<{ event_nid: number }>(sql`
    UPDATE events SET redacted_by_nid = ${redactionNid}
    WHERE room_nid = ${roomNid} AND position >= ${from} AND position <= ${upTo} AND sender = ${userId}
      AND redacted_by_nid IS NULL AND type <> 'm.room.create'
    RETURNING event_nid`);
  const nids = rows.map((row) => row.event_nid);
  if (nids.length > 0) await tx.run(sql`DELETE FROM event_relations WHERE ${inList(sql`event_nid`, nids)}`);
  return nids;
}
