/** Filters that clients have stored. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns the text of a filter, or null. */
export async function selectFilter(
  db: Db,
  { userId, filterId }: { userId: UserId; filterId: number },
): Promise<string | null> {
  const row = await db.get<{ json: string }>(
    sql`SELECT json FROM filters WHERE user_id = ${userId} AND filter_id = ${filterId}`,
  );
  return row?.json ?? null;
}

/** Returns the id under which a user has a filter with this hash, or null. */
export async function selectFilterByHash(
  db: Db,
  { userId, hash }: { userId: UserId; hash: string },
): Promise<number | null> {
  const row = await db.get<{ filter_id: number }>(
    sql`SELECT filter_id FROM filters WHERE user_id = ${userId} AND hash = ${hash}`,
  );
  return row?.filter_id ?? null;
}

/** Returns how many filters a user has: also the next id. */
export async function countFilters(db: Db, userId: UserId): Promise<number> {
  const row = await db.get<{ next: number }>(
    sql`SELECT COALESCE(MAX(filter_id) + 1, 0) AS next FROM filters WHERE user_id = ${userId}`,
  );
  return row?.next ?? 0;
}

/** Stores a filter; returns false when the id or the hash is taken. */
export async function insertFilter(
  tx: Tx,
  { userId, filterId, hash, json }: { userId: UserId; filterId: number; hash: string; json: string },
): Promise<boolean> {
  const inserted = await tx.run(sql`
    INSERT INTO filters (user_id, filter_id, hash, json) VALUES (${userId}, ${filterId}, ${hash}, ${json})
    ON CONFLICT DO NOTHING`);
  return inserted > 0;
}
