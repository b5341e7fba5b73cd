/**
 * Positions in the streams that are in the database.
 *
 * A transaction takes its positions by updating the stream's row, which stays locked until it ends: whoever takes the
 * next position does so after that, so positions become visible in order and without gaps. Take them as late as
 * possible, because other processes wait. Taking several streams in one fixed order keeps two transactions from
 * waiting for each other.
 */
import type { Db, Tx } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import { sql } from "./sql.ts";

/** Every stream, in the order in which a transaction takes positions. */
export const STREAM_ORDER = [
  "events",
  "backfill",
  "receipts",
  "account_data",
  "to_device",
  "device_lists",
  "push_rules",
  "presence",
  "federation",
  "caches",
] as const;

/** The name of a stream with a row in the database. `backfill` counts how far below zero backfilled events go. */
export type DurableStream = typeof STREAM_ORDER[number];

const lastTaken = new WeakMap<Tx, number>();

/**
 * Takes `count` positions and returns the FIRST of them. A transaction may take from a stream again, but not from one
 * that comes before the last one it took from.
 */
// deno-lint-ignore synapse-ts/max-positional -- three plain words that every writer says
export async function advanceStream(tx: Tx, stream: DurableStream, count = 1): Promise<number> {
  const rank = STREAM_ORDER.indexOf(stream);
  const last = lastTaken.get(tx) ?? 0;
  if (rank < last) throw new DatabaseError("driver", `Stream ${stream} must be taken before ${STREAM_ORDER[last]}`);
  lastTaken.set(tx, rank);
  const row = await tx.get<{ position: number }>(sql`
    UPDATE stream_positions SET position = position + ${count} WHERE stream = ${stream} RETURNING position`);
  if (row === null) throw new DatabaseError("driver", `Stream ${stream} has no row`);
  return row.position - count + 1;
}

/** Takes `count` positions for backfilled events and returns the first: each next one is lower by one. */
export async function advanceBackfill(tx: Tx, count: number): Promise<number> {
  return -await advanceStream(tx, "backfill", count);
}

/** Returns the last position given out in each stream. */
export async function selectStreamPositions(db: Db): Promise<Map<DurableStream, number>> {
  const rows = await db.all<{ stream: DurableStream; position: number }>(
    sql`SELECT stream, position FROM stream_positions`,
  );
  return new Map(rows.map(({ stream, position }) => [stream, position]));
}
