/** Proposals that administrators have switched on for single users. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns what is switched on for a user. */
export async function selectUserFeatures(db: Db, userId: UserId): Promise<string[]> {
  const rows = await db.all<{ feature: string }>(sql`
    SELECT feature FROM user_features WHERE user_id = ${userId} ORDER BY feature LIMIT 100`);
  return rows.map((row) => row.feature);
}

/** Switches a proposal on or off for a user. */
export async function updateUserFeature(
  tx: Tx,
  { userId, feature, isEnabled }: { userId: UserId; feature: string; isEnabled: boolean },
): Promise<void> {
  await tx.run(
    isEnabled
      ? sql`INSERT INTO user_features (user_id, feature) VALUES (${userId}, ${feature}) ON CONFLICT DO NOTHING`
      : sql`DELETE FROM user_features WHERE user_id = ${userId} AND feature = ${feature}`,
  );
}
