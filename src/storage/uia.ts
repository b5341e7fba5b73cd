/** Sessions of user-interactive authentication. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A session. `request`, `completed` and `outcome` are the texts of JSON objects. */
export interface UiaSessionRow {
  readonly sessionId: string;
  readonly action: string;
  readonly userId: UserId | null;
  readonly request: string;
  readonly completed: string;
  readonly outcome: string | null;
  readonly lastUsedTs: number;
}

/** Returns a session used after `after`, or null. */
export async function selectUiaSession(
  db: Db,
  { sessionId, after }: { sessionId: string; after: number },
): Promise<UiaSessionRow | null> {
  const row = await db.get<{
    session_id: string;
    action: string;
    user_id: string | null;
    request: string;
    completed: string;
    outcome: string | null;
    last_used_ts: number;
  }>(sql`
    SELECT session_id, action, user_id, request, completed, outcome, last_used_ts
    FROM uia_sessions
    WHERE session_id = ${sessionId} AND last_used_ts > ${after}`);
  if (row === null) return null;
  return {
    sessionId: row.session_id,
    action: row.action,
    userId: row.user_id as UserId | null,
    request: row.request,
    completed: row.completed,
    outcome: row.outcome,
    lastUsedTs: row.last_used_ts,
  };
}

/** Writes a session: what has been asked and proven in it. */
export async function upsertUiaSession(tx: Tx, session: UiaSessionRow): Promise<void> {
  await tx.run(sql`
    INSERT INTO uia_sessions (session_id, action, user_id, request, completed, outcome, last_used_ts)
    VALUES (${session.sessionId}, ${session.action}, ${session.userId}, ${session.request}, ${session.completed},
      ${session.outcome}, ${session.lastUsedTs})
    ON CONFLICT (session_id) DO UPDATE
    SET request = excluded.request, completed = excluded.completed, last_used_ts = excluded.last_used_ts`);
}

/** Writes what a session's request came to. */
export async function updateUiaOutcome(
  tx: Tx,
  { sessionId, outcome }: { sessionId: string; outcome: string },
): Promise<void> {
  await tx.run(sql`UPDATE uia_sessions SET outcome = ${outcome} WHERE session_id = ${sessionId}`);
}

/** Removes sessions not used since `before`, at most 1,000, and returns their completed stages. */
export async function deleteOldUiaSessions(tx: Tx, before: number): Promise<UiaSessionEnd[]> {
  const rows = await tx.all<{ completed: string; outcome: string | null }>(sql`
    DELETE FROM uia_sessions WHERE session_id IN (
      SELECT session_id FROM uia_sessions WHERE last_used_ts < ${before} ORDER BY last_used_ts LIMIT 1000)
    RETURNING completed, outcome`);
  return rows;
}

/** What an expired session had come to. */
export interface UiaSessionEnd {
  readonly completed: string;
  readonly outcome: string | null;
}
