/**
 * Whether a connection to PostgreSQL is a session of its own.
 *
 * A pooling proxy may give the session behind a connection to somebody else after each transaction (PgBouncer's
 * `pool_mode = transaction`). The lock by which one process holds the database would then be anybody's.
 */
import { DatabaseError, DatabaseStartupError } from "./database_error.ts";
import { PostgresConnection, type PostgresServer } from "./postgres_connection.ts";
import { plannedPerDialect, sql } from "./sql.ts";

const SESSION = sql`SELECT pg_backend_pid() AS pid`;
/** Planned each time means not prepared: a shared session may have, or lack, what another connection prepared. */
const UNPREPARED = plannedPerDialect({ sqlite: SESSION, postgres: SESSION });

/** Throws `DatabaseStartupError` when connections share sessions. */
export async function assertOwnSessions(server: PostgresServer): Promise<void> {
  const connection = await PostgresConnection.open(server);
  const other = await PostgresConnection.open(server).catch(async (error) => {
    await connection.close();
    throw error;
  });
  try {
    const before = await sessionOf(connection);
    // A transaction keeps its session: where sessions are shared, this one has taken that of the first connection, or the
    // first will be given the next of a round.
    const isShared = await begin(other) || await sessionOf(other) === before || await sessionOf(connection) !== before;
    if (isShared) throw sharedError(server);
  } finally {
    await Promise.all([connection.close(), other.close()]);
  }
}

/** Begins a transaction; returns true where there are none because each statement gets a session. */
async function begin(connection: PostgresConnection): Promise<boolean> {
  try {
    await connection.command("BEGIN");
    return false;
  } catch (error) {
    if (error instanceof DatabaseError && error.kind === "connection") return true;
    throw error;
  }
}

async function sessionOf(connection: PostgresConnection): Promise<number> {
  const [row] = await connection.query(UNPREPARED);
  return Number(row?.pid);
}

function sharedError({ host = "localhost", port = 5432 }: PostgresServer): DatabaseStartupError {
  return new DatabaseStartupError(
    `At ${host} port ${port} a pooling proxy stands before PostgreSQL and gives each transaction another session, but ` +
      "this server holds its lock on the database in a session: set PgBouncer's pool_mode to session, or connect to " +
      "PostgreSQL itself",
  );
}
