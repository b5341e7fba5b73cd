/** How far the consumers of streams have come. */
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns the position up to which a consumer is done; null before its first step. */
export async function selectCursor(db: Db, consumer: string): Promise<number | null> {
  const row = await db.get<{ position: number }>(sql`
    SELECT position FROM consumer_cursors WHERE consumer = ${consumer}`);
  return row?.position ?? null;
}

/** Notes how far a consumer has come: in the transaction that holds its work. */
export async function upsertCursor(
  tx: Tx,
  { consumer, position }: { consumer: string; position: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO consumer_cursors (consumer, position) VALUES (${consumer}, ${position})
    ON CONFLICT (consumer) DO UPDATE SET position = excluded.position`);
}
