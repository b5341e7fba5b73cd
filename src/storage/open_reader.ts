/**
 * Opens a database for reading only, beside a server that may be running on it.
 *
 * Nothing is upgraded or claimed: a database with another schema than this program's is refused.
 */
import type { Database } from "./database.ts";
import { DatabaseError, DatabaseStartupError } from "./database_error.ts";
import { refuseOthers } from "./migrate.ts";
import { MIGRATIONS } from "./migrations.ts";
import type { DatabaseOptions } from "./open_database.ts";
import type { PostgresOptions } from "./postgres_database.ts";
import { type Sql, sql } from "./sql.ts";
import { SqliteConnection } from "./sqlite_connection.ts";

/** Opens the database; `transaction` is refused. Throws `DatabaseStartupError`. */
export async function openReader(options: DatabaseOptions): Promise<Database> {
  const db = "sqlite" in options ? await openSqliteReader(options.sqlite.path) : await connect(options.postgres);
  try {
    await assertSchema(db);
    return db;
  } catch (error) {
    await db[Symbol.asyncDispose]();
    throw error;
  }
}

/** Returns the steps of the schema that a database has, in order; none for an empty one. */
export async function selectSchema(db: Database): Promise<string[]> {
  const table = await db.get<{ count: number }>(
    db.dialect === "sqlite"
      ? sql`SELECT COUNT(*) AS count FROM sqlite_master WHERE name = 'schema_migrations'`
      : sql`SELECT COUNT(*) AS count FROM pg_tables WHERE tablename = 'schema_migrations'
          AND schemaname = current_schema()`,
  );
  if (table?.count === 0) return [];
  return (await db.all<{ name: string }>(sql`SELECT name FROM schema_migrations ORDER BY name`)).map(({ name }) =>
    name
  );
}

async function assertSchema(db: Database): Promise<void> {
  const applied = new Set(await selectSchema(db));
  if (applied.size === 0) {
    await refuseOthers(db);
    throw new DatabaseStartupError("The database is empty: no server has run on it");
  }
  if (MIGRATIONS.some(({ name }) => !applied.has(name)) || applied.size !== MIGRATIONS.length) {
    throw new DatabaseStartupError("The database has the schema of another version of this program");
  }
}

async function openSqliteReader(path: string): Promise<Database> {
  try {
    await Deno.stat(path);
  } catch {
    throw new DatabaseStartupError(`There is no database ${path}`);
  }
  let connection: SqliteConnection;
  try {
    connection = new SqliteConnection(path, { readOnly: true, synchronous: "FULL" });
  } catch (error) {
    throw new DatabaseStartupError(
      `The database ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  return {
    dialect: "sqlite",
    // deno-lint-ignore require-await -- throws as a rejection, as the other dialect does
    all: async <Row>(query: Sql) => connection.all<Row>(query),
    // deno-lint-ignore require-await -- throws as a rejection
    get: async <Row>(query: Sql) => connection.get<Row>(query),
    transaction: refuse,
    [Symbol.asyncDispose]() {
      connection.close();
      return Promise.resolve();
    },
  };
}

async function connect(options: PostgresOptions): Promise<Database> {
  const { PostgresDatabase } = await import("./postgres_database.ts");
  const db = new PostgresDatabase({ server: options.server, maxConnections: options.maxConnections ?? 2 });
  return {
    dialect: "postgres",
    all: <Row>(query: Sql) => db.all<Row>(query),
    get: <Row>(query: Sql) => db.get<Row>(query),
    transaction: refuse,
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}

function refuse(): Promise<never> {
  return Promise.reject(new DatabaseError("driver", "The database was opened for reading only"));
}
