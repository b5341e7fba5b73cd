/** Brings a database to the schema of this program, and refuses one that is ahead of it. */
import type { Database } from "./database.ts";
import { DatabaseStartupError } from "./database_error.ts";
import { type Migration, MIGRATIONS } from "./migrations.ts";
import { perDialect, Sql, sql } from "./sql.ts";
import { splitStatements } from "./split_statements.ts";

/**
 * Applies the steps that are missing, each in a transaction of its own. On PostgreSQL the caller holds the advisory
 * lock for upgrades. Throws `DatabaseStartupError` when the database has steps this program does not know, or is
 * another program's, before anything is written.
 */
export async function migrate(db: Database, migrations: readonly Migration[] = MIGRATIONS): Promise<void> {
  await refuseOthers(db);
  await db.transaction(async (tx) => {
    await tx.run(sql`CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT NOT NULL PRIMARY KEY)`);
  });
  const rows = await db.all<{ name: string }>(sql`SELECT name FROM schema_migrations ORDER BY name`);
  const applied = new Set(rows.map(({ name }) => name));
  const known = new Set(migrations.map(({ name }) => name));
  const newer = [...applied].filter((name) => !known.has(name));
  if (newer.length > 0) {
    throw new DatabaseStartupError(
      `The database has a newer schema than this program knows (${newer.join(", ")}); use the newer program`,
    );
  }
  for (const migration of migrations) {
    if (!applied.has(migration.name)) await apply(db, migration);
  }
}

/** Throws `DatabaseStartupError` when there are tables and none of ours. */
export async function refuseOthers(db: Database): Promise<void> {
  const tables = await db.get<{ total: number; ours: number; synapse: number }>(perDialect({
    sqlite: sql`SELECT COUNT(*) AS total, COUNT(CASE WHEN name = 'schema_migrations' THEN 1 END) AS ours,
        COUNT(CASE WHEN name = 'applied_schema_deltas' THEN 1 END) AS synapse
      FROM sqlite_master WHERE type = 'table'`,
    postgres: sql`SELECT COUNT(*) AS total, COUNT(CASE WHEN tablename = 'schema_migrations' THEN 1 END) AS ours,
        COUNT(CASE WHEN tablename = 'applied_schema_deltas' THEN 1 END) AS synapse
      FROM pg_tables WHERE schemaname = current_schema()`,
  }));
  if (tables === null || tables === undefined || tables.total === 0 || tables.ours > 0) return;
  throw new DatabaseStartupError(
    tables.synapse > 0
      ? "The database is Synapse's, which this server cannot use; give it an empty one (docs/migrating-from-synapse.md)"
      : "The database has tables of another program; give this server an empty one",
  );
}

async function apply(db: Database, { name, text }: Migration): Promise<void> {
  const script = typeof text === "string" ? text : text[db.dialect];
  const statements = splitStatements(db.dialect === "sqlite" ? forSqlite(script) : script);
  await db.transaction(async (tx) => {
    for (const statement of statements) await tx.run(new Sql([statement], []));
    await tx.run(sql`INSERT INTO schema_migrations (name) VALUES (${name})`);
  });
}

/**
 * A single BIGINT key becomes the row's own number, which SQLite does for the word INTEGER only and which saves a tree
 * for each table. `/*sqlite: WITHOUT ROWID *\/` stores a table of small rows in the tree of its key.
 */
function forSqlite(script: string): string {
  return script
    .replace(/\bBIGINT NOT NULL PRIMARY KEY\b/g, "INTEGER NOT NULL PRIMARY KEY")
    .replace(/\/\*sqlite: (.*?) \*\//g, "$1");
}
