/** A PostgreSQL database as it is at one moment, however long the reading takes. */
import type { Database } from "./database.ts";
import { DatabaseError } from "./database_error.ts";
import { PostgresConnection, type PostgresServer } from "./postgres_connection.ts";
import type { Sql } from "./sql.ts";

/** Opens a snapshot for reading. It holds one connection until it is closed. */
export async function openPostgresSnapshot(server: PostgresServer): Promise<Database> {
  const connection = await PostgresConnection.open(server);
  await connection.command("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  return {
    dialect: "postgres",
    all: async <Row>(query: Sql) => await connection.query(query) as unknown as Row[],
    get: async <Row>(query: Sql) => (await connection.query(query))[0] as Row | undefined ?? null,
    transaction: () => Promise.reject(new DatabaseError("driver", "A snapshot can only be read")),
    [Symbol.asyncDispose]: () => connection.close(),
  };
}
