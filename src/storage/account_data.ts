/** Account data, global and per room. `roomId` is the empty string for what is global. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** One piece of account data; `content` is the text of a JSON object. */
export interface AccountDataRow {
  readonly roomId: string;
  readonly type: string;
  readonly content: string;
}

interface Row {
  readonly room_id: string;
  readonly type: string;
  readonly content: string;
}

function toAccountData(row: Row): AccountDataRow {
  return { roomId: row.room_id, type: row.type, content: row.content };
}

/** Writes one piece at `position`. */
export async function upsertAccountData(
  tx: Tx,
  { userId, roomId, type, content, position }: AccountDataRow & { userId: UserId; position: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO account_data (user_id, room_id, type, content, position)
    VALUES (${userId}, ${roomId}, ${type}, ${content}, ${position})
    ON CONFLICT (user_id, room_id, type) DO UPDATE SET content = excluded.content, position = excluded.position`);
}

/** Returns the content of one piece, or null. */
export async function selectAccountData(
  db: Db,
  { userId, roomId, type }: { userId: UserId; roomId: string; type: string },
): Promise<string | null> {
  const row = await db.get<{ content: string }>(sql`
    SELECT content FROM account_data WHERE user_id = ${userId} AND room_id = ${roomId} AND type = ${type}`);
  return row?.content ?? null;
}

/**
 * Returns what changed in `(after, upTo]`; with `after` 0 that is everything but what was deleted. Bounded by what one
 * user may store.
 */
export async function selectAccountDataBetween(
  db: Db,
  { userId, after, upTo }: { userId: UserId; after: number; upTo: number },
): Promise<AccountDataRow[]> {
  const rows = await db.all<Row>(sql`
    SELECT room_id, type, content FROM account_data
    WHERE user_id = ${userId} AND position > ${after} AND position <= ${upTo}
      ${after === 0 ? sql`AND content <> '{}'` : sql``}
    ORDER BY position`);
  return rows.map(toAccountData);
}

/** Returns all pieces of some rooms; the empty id stands for what is global. */
export async function selectAccountDataOfRooms(
  db: Db,
  { userId, roomIds }: { userId: UserId; roomIds: readonly string[] },
): Promise<AccountDataRow[]> {
  if (roomIds.length === 0) return [];
  const rows = await db.all<Row>(sql`
    SELECT room_id, type, content FROM account_data
    WHERE user_id = ${userId} AND content <> '{}' AND ${inList(sql`room_id`, roomIds)}`);
  return rows.map(toAccountData);
}

/** Returns the pieces of one type of all rooms. Bounded by what one user may store. */
export async function selectAccountDataOfType(
  db: Db,
  { userId, type }: { userId: UserId; type: string },
): Promise<AccountDataRow[]> {
  const rows = await db.all<Row>(sql`
    SELECT room_id, type, content FROM account_data WHERE user_id = ${userId} AND type = ${type}`);
  return rows.map(toAccountData);
}

/** Returns the number of pieces a user has stored. */
export async function countAccountData(db: Db, userId: UserId): Promise<number> {
  const row = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM account_data WHERE user_id = ${userId}`);
  return row?.n ?? 0;
}

/** Deletes all of a user's account data, as an erasure asks. */
export async function deleteAccountDataOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM account_data WHERE user_id = ${userId}`);
}

/** Returns every user's list of ignored users, as JSON text. */
export async function selectIgnoreLists(db: Db): Promise<{ userId: UserId; content: string }[]> {
  const rows = await db.all<{ user_id: UserId; content: string }>(sql`
    SELECT user_id, content FROM account_data WHERE type = 'm.ignored_user_list' AND room_id = '' LIMIT 10000000`);
  return rows.map((row) => ({ userId: row.user_id, content: row.content }));
}

/** Returns the account data of one type, outside of rooms, of all users. */
export async function selectAccountDataOfAll(db: Db, type: string): Promise<{ userId: UserId; content: string }[]> {
  const rows = await db.all<{ user_id: UserId; content: string }>(sql`
    SELECT user_id, content FROM account_data WHERE type = ${type} AND room_id = '' LIMIT 10000000`);
  return rows.map((row) => ({ userId: row.user_id, content: row.content }));
}
