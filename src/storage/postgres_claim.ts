/**
 * The right of one process to work on a PostgreSQL database, held for as long as it lives.
 *
 * What a server has in memory holds only while nobody else writes, so a second one must not start. The right is an
 * advisory lock on a connection of its own: PostgreSQL lets go of it when the process ends in whatever way. When the
 * connection breaks but the process lives (PostgreSQL was restarted), nothing is written until the lock is taken again; a
 * mark in the database tells whether another process has had it meanwhile, and then nothing is written ever again.
 */
import { randomString } from "../lib/random.ts";
import type { Tx } from "./database.ts";
import { DatabaseError, DatabaseStartupError, postgresCode } from "./database_error.ts";
import { PostgresConnection, type PostgresServer } from "./postgres_connection.ts";
import { upsertServerMeta } from "./server_meta.ts";
import { raw, sql } from "./sql.ts";

/** How to claim a database. */
export interface PostgresClaimOptions {
  /** How long to wait for another process to end. */
  readonly waitMs: number;
  /** Told when another process has taken the database over: this one can do nothing more. */
  readonly onTakenOver?: () => void;
}

/** Any number that nothing else in this database locks. */
const SERVER_LOCK = 0x73797273;
const NAME = "process";
const RETAKE_WAIT_MS = 10_000;

/** A claim on a database. */
export class PostgresClaim implements AsyncDisposable {
  readonly #server: PostgresServer;
  readonly #options: PostgresClaimOptions;
  readonly #mark = randomString(20);
  #connection: PostgresConnection;
  #retaking: Promise<void> | null = null;
  #isMarked = false;
  #isTakenOver = false;

  private constructor(
    server: PostgresServer,
    { connection, options }: { connection: PostgresConnection; options: PostgresClaimOptions },
  ) {
    this.#server = server;
    this.#connection = connection;
    this.#options = options;
  }

  /** Takes the lock. Throws `DatabaseStartupError` when another process has it. */
  static async take(server: PostgresServer, options: PostgresClaimOptions): Promise<PostgresClaim> {
    const connection = await connectAndLock(server, options.waitMs);
    if (connection !== null) return new PostgresClaim(server, { connection, options });
    throw new DatabaseStartupError(
      `The PostgreSQL database ${server.database ?? ""} is in use by another process of this server: one process ` +
        "does all the work here, so there is nothing to start beside it",
    );
  }

  /** Leaves the mark by which this process knows that no other was there. Without it a lost lock stays lost. */
  async mark(tx: Tx): Promise<void> {
    await upsertServerMeta(tx, { name: NAME, value: this.#mark });
    tx.afterCommit(() => {
      this.#isMarked = true;
    });
  }

  /** Nothing to wait for while the lock is held; else takes it again. Throws `DatabaseError` when it cannot be had. */
  hold(): Promise<void> | undefined {
    if (!this.#connection.isLost && !this.#isTakenOver) return undefined;
    return this.#retaking ??= this.#retake().finally(() => {
      this.#retaking = null;
    });
  }

  /** Lets go of the lock. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#retaking?.catch(() => {});
    await this.#connection.close();
  }

  async #retake(): Promise<void> {
    if (this.#isTakenOver) throw takenOver();
    if (!this.#isMarked) throw new DatabaseError("connection", "PostgreSQL: the lock on the database was lost");
    const connection = await connectAndLock(this.#server, RETAKE_WAIT_MS);
    if (connection === null) throw new DatabaseError("connection", "PostgreSQL: another process holds the database");
    const [row] = await connection.query(sql`SELECT value FROM server_meta WHERE name = ${NAME}`);
    if (row?.value === this.#mark) {
      this.#connection = connection;
      return;
    }
    await connection.close();
    this.#isTakenOver = true;
    this.#options.onTakenOver?.();
    throw takenOver();
  }
}

/** Returns a connection that holds the lock, or null when another process has it for all that time. */
async function connectAndLock(server: PostgresServer, waitMs: number): Promise<PostgresConnection | null> {
  const connection = await PostgresConnection.open(server);
  try {
    // Else PostgreSQL would take a machine that has gone for two hours to be there still, and keep the lock for it.
    await connection.query(sql`
      SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false),
        set_config('lock_timeout', ${String(Math.max(1, waitMs))}, false)`);
    await connection.query(sql`SELECT pg_advisory_lock(${raw(String(SERVER_LOCK))}::BIGINT)`);
    return connection;
  } catch (error) {
    await connection.close();
    if (error instanceof DatabaseError && postgresCode(error.cause) === "55P03") return null;
    throw error;
  }
}

function takenOver(): DatabaseError {
  return new DatabaseError("connection", "PostgreSQL: another process has taken over the database");
}
