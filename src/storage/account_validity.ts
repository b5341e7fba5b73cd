/** Until when accounts may be used. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Until when an account may be used. */
export interface Validity {
  readonly userId: UserId;
  readonly expiresTs: number;
  /** When the link of the last mail renewed it; null where it has not. */
  readonly tokenUsedTs: number | null;
}

interface Row {
  readonly user_id: UserId;
  readonly expires_ts: number;
  readonly token_used_ts: number | null;
}

function toValidity({ user_id: userId, expires_ts: expiresTs, token_used_ts: tokenUsedTs }: Row): Validity {
  return { userId, expiresTs, tokenUsedTs };
}

/** Returns until when an account may be used; null where that is not limited. */
export async function selectValidity(db: Db, userId: UserId): Promise<Validity | null> {
  const row = await db.get<Row>(sql`
    SELECT user_id, expires_ts, token_used_ts FROM account_validity WHERE user_id = ${userId}`);
  return row === null ? null : toValidity(row);
}

/** Returns the account that a link renews, or null. */
export async function selectValidityByToken(db: Db, tokenHash: string): Promise<Validity | null> {
  const row = await db.get<Row>(sql`
    SELECT user_id, expires_ts, token_used_ts FROM account_validity WHERE token_hash = ${tokenHash}`);
  return row === null ? null : toValidity(row);
}

/** Sets until when an account may be used. Links sent before stay known, so that their pages can say what happened. */
export async function upsertValidity(
  tx: Tx,
  { userId, expiresTs, isMailSent, tokenUsedTs = null }: {
    userId: UserId;
    expiresTs: number;
    isMailSent: boolean;
    tokenUsedTs?: number | null;
  },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO account_validity (user_id, expires_ts, is_mail_sent, token_hash, token_used_ts)
    VALUES (${userId}, ${expiresTs}, ${isMailSent}, NULL, ${tokenUsedTs})
    ON CONFLICT (user_id) DO UPDATE SET expires_ts = excluded.expires_ts, is_mail_sent = excluded.is_mail_sent,
      token_used_ts = excluded.token_used_ts`);
}

/** Notes that a mail was sent with a link. */
export async function updateRenewalToken(
  tx: Tx,
  { userId, tokenHash }: { userId: UserId; tokenHash: string },
): Promise<void> {
  await tx.run(sql`
    UPDATE account_validity SET is_mail_sent = ${true}, token_hash = ${tokenHash}, token_used_ts = NULL
    WHERE user_id = ${userId}`);
}

/** Returns users whose accounts expire before a time and who were not told, at most `limit`. */
export async function selectExpiring(
  db: Db,
  { before, limit }: { before: number; limit: number },
): Promise<Validity[]> {
  const rows = await db.all<Row>(sql`
    SELECT user_id, expires_ts, token_used_ts FROM account_validity
    WHERE expires_ts < ${before} AND NOT is_mail_sent ORDER BY expires_ts LIMIT ${limit}`);
  return rows.map(toValidity);
}

/** Gives all accounts that have no limit yet the same one: users with a password or another way in, no guests. */
export async function insertMissingValidity(tx: Tx, expiresTs: number): Promise<number> {
  return await tx.run(sql`
    INSERT INTO account_validity (user_id, expires_ts, is_mail_sent, token_hash, token_used_ts)
    SELECT user_id, ${expiresTs}, ${false}, NULL, NULL FROM users
    WHERE NOT is_deactivated AND NOT is_guest AND appservice_id IS NULL
      AND NOT EXISTS (SELECT 1 FROM account_validity WHERE account_validity.user_id = users.user_id)`);
}

/** Removes the limit of an account. */
export async function deleteValidity(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM account_validity WHERE user_id = ${userId}`);
}
