/** Users who were active lately, and accounts that wait for approval. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns how many users were active since `after`. */
export async function countActiveUsers(db: Db, after: number): Promise<number> {
  const row = await db.get<{ count: number }>(sql`
    SELECT COUNT(*) AS count FROM monthly_active_users WHERE last_active_ts > ${after}`);
  return Number(row?.count ?? 0);
}

const DAY_MS = 86_400_000;
const MAX_SERVICES = 1_000;

/** Returns how many users were seen within a day. */
export async function countDailyUsers(db: Db, now: number): Promise<number> {
  const row = await db.get<{ count: number }>(sql`
    SELECT COUNT(DISTINCT user_id) AS count FROM user_ips WHERE last_seen_ts > ${now - DAY_MS}`);
  return Number(row?.count ?? 0);
}

/** Returns how many users were active within thirty days, by the application service that they belong to. */
export async function countMonthlyUsersByService(
  db: Db,
  now: number,
): Promise<{ appserviceId: string | null; count: number }[]> {
  const rows = await db.all<{ appservice_id: string | null; count: number }>(sql`
    SELECT u.appservice_id, COUNT(*) AS count
    FROM monthly_active_users m JOIN users u ON u.user_id = m.user_id
    WHERE m.last_active_ts > ${now - 30 * DAY_MS}
    GROUP BY u.appservice_id
    LIMIT ${MAX_SERVICES}`);
  return rows.map(({ appservice_id: appserviceId, count }) => ({ appserviceId, count: Number(count) }));
}

/** Tells whether a user was active since `after`. */
export async function selectIsActive(db: Db, { userId, after }: { userId: UserId; after: number }): Promise<boolean> {
  const row = await db.get<{ user_id: string }>(sql`
    SELECT user_id FROM monthly_active_users WHERE user_id = ${userId} AND last_active_ts > ${after}`);
  return row !== null;
}

/** Notes that a user is active. */
export async function upsertActiveUser(tx: Tx, { userId, now }: { userId: UserId; now: number }): Promise<void> {
  await tx.run(sql`
    INSERT INTO monthly_active_users (user_id, last_active_ts) VALUES (${userId}, ${now})
    ON CONFLICT (user_id) DO UPDATE SET last_active_ts = excluded.last_active_ts`);
}

/** Removes users who were last active before. */
export async function deleteInactiveUsers(tx: Tx, before: number): Promise<void> {
  await tx.run(sql`DELETE FROM monthly_active_users WHERE last_active_ts <= ${before}`);
}

/** Removes a user, whose account is closed. */
export async function deleteActiveUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM monthly_active_users WHERE user_id = ${userId}`);
}

/** Tells whether an account waits for approval. */
export async function selectIsUnapproved(db: Db, userId: UserId): Promise<boolean> {
  return await db.get(sql`SELECT user_id FROM unapproved_users WHERE user_id = ${userId}`) !== null;
}

/** Lets an account wait for approval. */
export async function insertUnapproved(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`INSERT INTO unapproved_users (user_id) VALUES (${userId}) ON CONFLICT (user_id) DO NOTHING`);
}

/** Approves an account. */
export async function deleteUnapproved(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM unapproved_users WHERE user_id = ${userId}`);
}
