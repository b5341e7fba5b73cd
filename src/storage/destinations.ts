/** Which servers fail, and when to try them again. */
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A server that failed the last time. Times are milliseconds. */
export interface DestinationFailure {
  readonly failingSinceTs: number;
  readonly lastFailureTs: number;
  readonly retryIntervalMs: number;
}

interface FailureRow {
  readonly failing_since_ts: number;
  readonly last_failure_ts: number;
  readonly retry_interval_ms: number;
}

/** Returns what is known of a failing server, or null when it works. */
export async function selectDestinationFailure(db: Db, destination: string): Promise<DestinationFailure | null> {
  const row = await db.get<FailureRow>(sql`
    SELECT failing_since_ts, last_failure_ts, retry_interval_ms FROM destinations
    WHERE destination = ${destination} AND failing_since_ts IS NOT NULL`);
  if (row === null) return null;
  return {
    failingSinceTs: row.failing_since_ts,
    lastFailureTs: row.last_failure_ts,
    retryIntervalMs: row.retry_interval_ms,
  };
}

/** Notes that a server fails. */
export async function upsertDestinationFailure(
  tx: Tx,
  { destination, failure }: { destination: string; failure: DestinationFailure },
): Promise<void> {
  const { failingSinceTs, lastFailureTs, retryIntervalMs } = failure;
  await tx.run(sql`
    INSERT INTO destinations (destination, failing_since_ts, last_failure_ts, retry_interval_ms)
    VALUES (${destination}, ${failingSinceTs}, ${lastFailureTs}, ${retryIntervalMs})
    ON CONFLICT (destination) DO UPDATE SET
      failing_since_ts = excluded.failing_since_ts,
      last_failure_ts = excluded.last_failure_ts,
      retry_interval_ms = excluded.retry_interval_ms`);
}

/** Notes that a server works again. */
export async function clearDestinationFailure(tx: Tx, destination: string): Promise<void> {
  await tx.run(sql`
    UPDATE destinations SET failing_since_ts = NULL, last_failure_ts = 0, retry_interval_ms = 0
    WHERE destination = ${destination}`);
}
