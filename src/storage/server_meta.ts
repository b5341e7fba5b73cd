/** What the server knows about itself. */
import type { Db, Tx } from "./database.ts";
import { DatabaseStartupError } from "./database_error.ts";
import { sql } from "./sql.ts";

/** Stands in the table while the database is being filled from another. */
export const PORT_MARK = "port_in_progress";

/** Returns the value stored under `name`, or null. */
export async function selectServerMeta(db: Db, name: string): Promise<string | null> {
  const row = await db.get<{ value: string }>(sql`SELECT value FROM server_meta WHERE name = ${name}`);
  return row?.value ?? null;
}

/** Stores `value` under `name`. */
export async function upsertServerMeta(tx: Tx, { name, value }: { name: string; value: string }): Promise<void> {
  await tx.run(sql`
    INSERT INTO server_meta (name, value) VALUES (${name}, ${value})
    ON CONFLICT (name) DO UPDATE SET value = excluded.value`);
}

/** Binds the database to `serverName`. Throws `DatabaseStartupError` when it is another server's. */
export async function claimServerName(tx: Tx, serverName: string): Promise<void> {
  if (await selectServerMeta(tx, PORT_MARK) !== null) {
    throw new DatabaseStartupError("The database is not complete: port-db was interrupted; run it again");
  }
  await tx.run(sql`
    INSERT INTO server_meta (name, value) VALUES ('server_name', ${serverName}) ON CONFLICT (name) DO NOTHING`);
  const owner = await selectServerMeta(tx, "server_name");
  if (owner !== null && owner !== serverName) {
    throw new DatabaseStartupError(`The database belongs to the server ${owner}, not to ${serverName}`);
  }
}
