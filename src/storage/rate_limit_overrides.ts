/** Limits of their own that administrators give to users. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A user's own limit on sending. */
export interface RateLimitOverride {
  readonly userId: UserId;
  /** 0 for no limits at all. */
  readonly messagesPerSecond: number;
  readonly burstCount: number;
}

interface Row {
  user_id: UserId;
  messages_per_second: number;
  burst_count: number;
}

function toOverride(row: Row): RateLimitOverride {
  return { userId: row.user_id, messagesPerSecond: row.messages_per_second, burstCount: row.burst_count };
}

/** Returns a user's own limit, or null. */
export async function selectRateLimitOverride(db: Db, userId: UserId): Promise<RateLimitOverride | null> {
  const row = await db.get<Row>(sql`
    SELECT user_id, messages_per_second, burst_count FROM rate_limit_overrides WHERE user_id = ${userId}`);
  return row === null ? null : toOverride(row);
}

/** Returns users' own limits, by user id after one. */
export async function selectRateLimitOverrides(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<RateLimitOverride[]> {
  const rows = await db.all<Row>(sql`
    SELECT user_id, messages_per_second, burst_count FROM rate_limit_overrides
    WHERE user_id > ${after} ORDER BY user_id LIMIT ${limit}`);
  return rows.map(toOverride);
}

/** Gives a user a limit of their own. */
export async function upsertRateLimitOverride(
  tx: Tx,
  { userId, messagesPerSecond, burstCount }: RateLimitOverride,
): Promise<void> {
  await tx.run(sql`
    INSERT INTO rate_limit_overrides (user_id, messages_per_second, burst_count)
    VALUES (${userId}, ${messagesPerSecond}, ${burstCount})
    ON CONFLICT (user_id) DO UPDATE
    SET messages_per_second = excluded.messages_per_second, burst_count = excluded.burst_count`);
}

/** Takes a user's own limit back. */
export async function deleteRateLimitOverride(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM rate_limit_overrides WHERE user_id = ${userId}`);
}
