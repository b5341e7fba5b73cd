/** The last presence of each user, as kept across restarts. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Presence as stored. */
export interface StoredPresence {
  readonly userId: UserId;
  readonly state: string;
  readonly statusMsg: string | null;
  readonly lastActiveTs: number;
}

/** Writes a user's presence. */
export async function upsertPresence(tx: Tx, presence: StoredPresence): Promise<void> {
  await tx.run(sql`
    INSERT INTO presence (user_id, state, status_msg, last_active_ts)
    VALUES (${presence.userId}, ${presence.state}, ${presence.statusMsg}, ${presence.lastActiveTs})
    ON CONFLICT (user_id) DO UPDATE SET
      state = excluded.state, status_msg = excluded.status_msg, last_active_ts = excluded.last_active_ts`);
}

/** Returns the users who were not offline, at most `limit`. */
export async function selectPresentUsers(db: Db, limit: number): Promise<StoredPresence[]> {
  const rows = await db.all<{ user_id: UserId; state: string; status_msg: string | null; last_active_ts: number }>(sql`
    SELECT user_id, state, status_msg, last_active_ts FROM presence WHERE state <> 'offline' LIMIT ${limit}`);
  return rows.map((row) => ({
    userId: row.user_id,
    state: row.state,
    statusMsg: row.status_msg,
    lastActiveTs: row.last_active_ts,
  }));
}

/** Returns a user's presence, or null when none was ever set. */
export async function selectPresence(db: Db, userId: UserId): Promise<StoredPresence | null> {
  const row = await db.get<{ state: string; status_msg: string | null; last_active_ts: number }>(sql`
    SELECT state, status_msg, last_active_ts FROM presence WHERE user_id = ${userId}`);
  return row && { userId, state: row.state, statusMsg: row.status_msg, lastActiveTs: row.last_active_ts };
}
