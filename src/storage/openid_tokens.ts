/** Tokens by which other services ask who a user is. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Adds a token, and removes some that have expired. */
export async function insertOpenIdToken(
  tx: Tx,
  { tokenHash, userId, expiresTs, now }: { tokenHash: string; userId: UserId; expiresTs: number; now: number },
): Promise<void> {
  await tx.run(sql`
    DELETE FROM openid_tokens WHERE token_hash IN (
      SELECT token_hash FROM openid_tokens WHERE expires_ts <= ${now} ORDER BY expires_ts LIMIT 100)`);
  await tx.run(sql`
    INSERT INTO openid_tokens (token_hash, user_id, expires_ts) VALUES (${tokenHash}, ${userId}, ${expiresTs})`);
}

/** Returns whose token it is, or null when there is none that is valid at `now`. */
export async function selectOpenIdUser(
  db: Db,
  { tokenHash, now }: { tokenHash: string; now: number },
): Promise<UserId | null> {
  const row = await db.get<{ user_id: UserId }>(sql`
    SELECT user_id FROM openid_tokens WHERE token_hash = ${tokenHash} AND expires_ts > ${now}`);
  return row?.user_id ?? null;
}
