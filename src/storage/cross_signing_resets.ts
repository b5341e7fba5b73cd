/** Who may replace their cross-signing keys because the authentication service says so. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Lets a user replace their keys until `untilTs`. */
export async function upsertCrossSigningReset(
  tx: Tx,
  { userId, untilTs }: { userId: UserId; untilTs: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO cross_signing_resets (user_id, until_ts) VALUES (${userId}, ${untilTs})
    ON CONFLICT (user_id) DO UPDATE SET until_ts = excluded.until_ts`);
}

/** Tells whether a user may replace their keys at `now`. */
export async function selectMayReset(db: Db, { userId, now }: { userId: UserId; now: number }): Promise<boolean> {
  const row = await db.get<{ until_ts: number }>(sql`
    SELECT until_ts FROM cross_signing_resets WHERE user_id = ${userId} AND until_ts > ${now}`);
  return row !== null;
}

/** Lets a user replace their keys no more. */
export async function deleteCrossSigningReset(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM cross_signing_resets WHERE user_id = ${userId}`);
}
