/** Opens the database that the configuration names, at the schema of this program. */
import type { Database } from "./database.ts";
import { migrate } from "./migrate.ts";
import type { PostgresDatabase, PostgresOptions } from "./postgres_database.ts";
import { claimServerName } from "./server_meta.ts";
import { openSqlite, type SqliteOptions } from "./sqlite_database.ts";

/** Which database, and where. */
export type DatabaseOptions = { readonly sqlite: SqliteOptions } | { readonly postgres: PostgresOptions };

/**
 * Opens and upgrades the database. With `serverName` the database becomes that server's, or is refused when it belongs
 * to another. Throws `DatabaseStartupError` with one sentence for the person who starts the server.
 */
export async function openDatabase(
  options: DatabaseOptions,
  { serverName }: { serverName?: string } = {},
): Promise<Database> {
  const db = "sqlite" in options ? openSqlite(options.sqlite) : await connectPostgres(options.postgres);
  try {
    if ("sqlite" in options) await migrate(db);
    if (serverName !== undefined) {
      await db.transaction(async (tx) => {
        await claimServerName(tx, serverName);
        if ("markClaim" in db) await db.markClaim(tx);
      });
    }
    return db;
  } catch (error) {
    await db[Symbol.asyncDispose]();
    throw error;
  }
}

/** Loads the driver only when it is used: it costs memory. */
async function connectPostgres(options: PostgresOptions): Promise<PostgresDatabase> {
  const { openPostgres } = await import("./postgres_database.ts");
  return await openPostgres(options);
}
