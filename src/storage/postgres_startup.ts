/** What must hold before the server works on a PostgreSQL database. */
import type { Database } from "./database.ts";
import { DatabaseError, DatabaseStartupError, postgresCode } from "./database_error.ts";
import { migrate } from "./migrate.ts";
import { PostgresConnection, type PostgresServer } from "./postgres_connection.ts";
import { sql } from "./sql.ts";

const MIN_VERSION = 13_00_00;
/** Any number that nothing else in this database locks. */
const UPGRADE_LOCK = 0x73796e61;

/** What a server and a database of it are. */
export interface Facts {
  version: number;
  encoding: string;
  collation: string;
  ctype: string;
}

/** Checks the server and brings the schema up to date while holding the upgrade lock. Throws `DatabaseStartupError`. */
export async function preparePostgres(
  db: Database,
  { server, allowUnsafeLocale }: { server: PostgresServer; allowUnsafeLocale: boolean },
): Promise<void> {
  let guard: PostgresConnection;
  try {
    guard = await PostgresConnection.open(server);
  } catch (error) {
    throw connectError(server, error);
  }
  try {
    const [facts] = await guard.query(sql`
      SELECT current_setting('server_version_num')::INT AS version, pg_encoding_to_char(encoding) AS encoding,
        datcollate AS collation, datctype AS ctype
      FROM pg_database WHERE datname = current_database()`) as unknown as Facts[];
    if (facts !== undefined) assertFacts(facts, { allowUnsafeLocale });
    await guard.query(sql`SELECT pg_advisory_lock(${UPGRADE_LOCK}::BIGINT)`);
    await migrate(db);
  } finally {
    await guard.close();
  }
}

/** Throws `DatabaseStartupError` for a database that text would be compared or kept wrongly in, and for an old server. */
export function assertFacts({ version, encoding, collation, ctype }: Facts, { allowUnsafeLocale }: {
  allowUnsafeLocale: boolean;
}): void {
  if (version < MIN_VERSION) {
    throw new DatabaseStartupError(`PostgreSQL ${Math.floor(version / 10_000)} is too old: 13 is the oldest supported`);
  }
  if (encoding !== "UTF8") {
    throw new DatabaseStartupError(`Database has incorrect encoding: '${encoding}' instead of 'UTF8'`);
  }
  if (allowUnsafeLocale) return;
  const wrong: string[] = [];
  if (collation !== "C") wrong.push(`'COLLATE' is set to '${collation}' and not 'C'`);
  if (ctype !== "C") wrong.push(`'CTYPE' is set to '${ctype}' and not 'C'`);
  if (wrong.length > 0) {
    throw new DatabaseStartupError(
      `Database has incorrect collation: ${
        wrong.join(", ")
      }; recreate it with --locale=C --template=template0, or set allow_unsafe_locale`,
    );
  }
}

/** Says why PostgreSQL cannot be used. */
export function connectError(
  { host = "localhost", database = "" }: PostgresServer,
  error: unknown,
): DatabaseStartupError {
  const cause = error instanceof DatabaseError ? error.cause : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = postgresCode(cause);
  if (code === "3D000") {
    return new DatabaseStartupError(`The PostgreSQL database ${database} does not exist`, { cause });
  }
  if (code.startsWith("28")) {
    return new DatabaseStartupError(`PostgreSQL at ${host} refuses the login: ${message}`, { cause });
  }
  return new DatabaseStartupError(`PostgreSQL at ${host} cannot be reached: ${message}`, { cause });
}
