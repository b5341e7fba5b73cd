/** What other servers have sent already: answers to their transactions, and the messages to devices in them. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

const MAX_SHARING_USERS = 100_000;

/** Returns the answer to a transaction that was received before, or null. */
export async function selectReceivedTransaction(
  db: Db,
  { origin, txnId }: { origin: string; txnId: string },
): Promise<string | null> {
  const row = await db.get<{ response: string }>(sql`
    SELECT response FROM received_transactions WHERE origin = ${origin} AND txn_id = ${txnId}`);
  return row?.response ?? null;
}

/** Keeps the answer to a transaction. */
export async function insertReceivedTransaction(
  tx: Tx,
  { origin, txnId, response, receivedTs }: { origin: string; txnId: string; response: string; receivedTs: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO received_transactions (origin, txn_id, response, received_ts)
    VALUES (${origin}, ${txnId}, ${response}, ${receivedTs})
    ON CONFLICT DO NOTHING`);
}

/** Notes a message to devices; false when it was received before. */
export async function insertReceivedToDevice(
  tx: Tx,
  { origin, messageId, receivedTs }: { origin: string; messageId: string; receivedTs: number },
): Promise<boolean> {
  return await tx.run(sql`
    INSERT INTO received_to_device (origin, message_id, received_ts) VALUES (${origin}, ${messageId}, ${receivedTs})
    ON CONFLICT DO NOTHING`) > 0;
}

/** Forgets what was received before a time, so long ago that it is not sent again. */
export async function deleteReceivedBefore(tx: Tx, beforeTs: number): Promise<void> {
  await tx.run(sql`DELETE FROM received_transactions WHERE received_ts < ${beforeTs}`);
  await tx.run(sql`DELETE FROM received_to_device WHERE received_ts < ${beforeTs}`);
}

/** Returns the local users joined to a room that a user of another server is joined to. */
export async function selectLocalUsersInRoomsOf(db: Db, userId: UserId): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT DISTINCT m.user_id FROM current_state theirs
    JOIN local_memberships m ON m.room_nid = theirs.room_nid AND m.membership = 'join'
    WHERE theirs.state_key = ${userId} AND theirs.membership = 'join'
    LIMIT ${MAX_SHARING_USERS}`);
  return rows.map((row) => row.user_id);
}

/** Returns those of some users who are in a room with anybody here. */
export async function filterUsersInOurRooms(db: Db, userIds: readonly UserId[]): Promise<Set<UserId>> {
  if (userIds.length === 0) return new Set();
  const rows = await db.all<{ state_key: UserId }>(sql`
    SELECT DISTINCT theirs.state_key FROM current_state theirs
    WHERE ${inList(sql`theirs.state_key`, userIds)} AND theirs.membership = 'join' AND EXISTS (
      SELECT 1 FROM local_memberships m WHERE m.room_nid = theirs.room_nid AND m.membership = 'join'
    )
    LIMIT ${userIds.length}`);
  return new Set(rows.map((row) => row.state_key));
}
