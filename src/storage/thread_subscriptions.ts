/** Which threads users follow (MSC4306). */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { lockRow, sql } from "./sql.ts";

/** What a user said about a thread. */
export interface ThreadSubscription {
  readonly isSubscribed: boolean;
  readonly isAutomatic: boolean;
  /** Position in the events stream at which it was ended; 0 when it never was. */
  readonly endedAt: number;
}

/** A change for lists. */
export interface ThreadSubscriptionChange {
  readonly roomId: RoomId;
  readonly rootId: EventId;
  readonly position: number;
  readonly isSubscribed: boolean;
  readonly isAutomatic: boolean;
}

interface Key {
  readonly userId: UserId;
  readonly roomNid: number;
  readonly rootId: EventId;
}

/** Returns what a user said about a thread, or null. In a transaction the row is locked. */
export async function selectThreadSubscription(db: Db, key: Key): Promise<ThreadSubscription | null> {
  const row = await db.get<{ is_subscribed: boolean; is_automatic: boolean; ended_at: number }>(sql`
    SELECT is_subscribed, is_automatic, ended_at FROM thread_subscriptions
    WHERE user_id = ${key.userId} AND room_nid = ${key.roomNid} AND root_id = ${key.rootId} ${
    "run" in db ? lockRow() : sql``
  }`);
  return row && { isSubscribed: row.is_subscribed, isAutomatic: row.is_automatic, endedAt: row.ended_at };
}

/** Returns who follows a thread. */
export async function selectThreadFollowers(
  db: Db,
  { roomNid, rootId }: { roomNid: number; rootId: string },
): Promise<Set<UserId>> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM thread_subscriptions WHERE room_nid = ${roomNid} AND root_id = ${rootId} AND is_subscribed`);
  return new Set(rows.map((row) => row.user_id));
}

/** Writes what a user says about a thread. */
export async function upsertThreadSubscription(
  tx: Tx,
  { userId, roomNid, rootId, position, ...said }: Key & ThreadSubscription & { position: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO thread_subscriptions (user_id, room_nid, root_id, position, is_subscribed, is_automatic, ended_at)
    VALUES (${userId}, ${roomNid}, ${rootId}, ${position}, ${said.isSubscribed}, ${said.isAutomatic}, ${said.endedAt})
    ON CONFLICT (user_id, room_nid, root_id) DO UPDATE SET position = excluded.position,
      is_subscribed = excluded.is_subscribed, is_automatic = excluded.is_automatic, ended_at = excluded.ended_at`);
}

/** Returns a user's changes in `(after, upTo]` of the account_data stream, the latest first. */
export async function selectThreadSubscriptionChanges(
  db: Db,
  { userId, after, upTo, limit }: { userId: UserId; after: number; upTo: number; limit: number },
): Promise<ThreadSubscriptionChange[]> {
  const rows = await db.all<
    { room_id: RoomId; root_id: EventId; position: number; is_subscribed: boolean; is_automatic: boolean }
  >(sql`
    SELECT r.room_id, s.root_id, s.position, s.is_subscribed, s.is_automatic
    FROM thread_subscriptions s JOIN rooms r ON r.room_nid = s.room_nid
    WHERE s.user_id = ${userId} AND s.position > ${after} AND s.position <= ${upTo}
    ORDER BY s.position DESC
    LIMIT ${limit}`);
  return rows.map((row) => ({
    roomId: row.room_id,
    rootId: row.root_id,
    position: row.position,
    isSubscribed: row.is_subscribed,
    isAutomatic: row.is_automatic,
  }));
}
