/**
 * PostgreSQL: half of the connections carry transactions, one at a time each; the other half carry reads, many at a
 * time behind each other. Everything is READ COMMITTED: what must not race takes `lockRow` or a stream position.
 */
import type { Database, Tx } from "./database.ts";
import { DatabaseError, DatabaseStartupError, postgresCode, postgresError } from "./database_error.ts";
import { PostgresClaim, type PostgresClaimOptions } from "./postgres_claim.ts";
import { PostgresConnection, type PostgresServer } from "./postgres_connection.ts";
import { assertOwnSessions } from "./postgres_sessions.ts";
import { connectError, preparePostgres } from "./postgres_startup.ts";
import { runTransaction } from "./postgres_transaction.ts";
import type { Sql } from "./sql.ts";

const DEFAULT_MAX_CONNECTIONS = 10;
const MAX_ATTEMPTS = 6;
/** Reads wait behind each other on a connection up to this many before another connection is opened. */
const READS_PER_CONNECTION = 8;

/** How to reach the database. */
export interface PostgresOptions {
  readonly server: PostgresServer;
  /** Synapse's `cp_max`: connections at most. */
  readonly maxConnections?: number;
  /** Synapse's `allow_unsafe_locale`. */
  readonly allowUnsafeLocale?: boolean;
  /** Keeps other processes away, but for readers. */
  readonly claim?: PostgresClaimOptions;
}

/** Connects, checks the server and upgrades the schema. Throws `DatabaseStartupError`. */
export async function openPostgres(options: PostgresOptions): Promise<PostgresDatabase> {
  const { server, maxConnections = DEFAULT_MAX_CONNECTIONS, allowUnsafeLocale = false } = options;
  await explained(server, () => assertOwnSessions(server));
  // Before all else, so that nobody upgrades the schema below a running server.
  const { claim: claiming } = options;
  const claim = claiming === undefined ? null : await explained(server, () => PostgresClaim.take(server, claiming));
  const db = new PostgresDatabase({ server, maxConnections, claim });
  try {
    await preparePostgres(db, { server, allowUnsafeLocale });
    return db;
  } catch (error) {
    await db[Symbol.asyncDispose]();
    throw error;
  }
}

async function explained<T>(server: PostgresServer, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DatabaseStartupError ? error : connectError(server, error);
  }
}

/** A database on a PostgreSQL server. */
export class PostgresDatabase implements Database {
  readonly dialect = "postgres";
  readonly #server: PostgresServer;
  readonly #claim: PostgresClaim | null;
  readonly #writers: WriterPool;
  readonly #maxReaders: number;
  #readers: Promise<PostgresConnection>[] = [];
  #openReaders: PostgresConnection[] = [];
  #isClosed = false;

  constructor(
    { server, maxConnections, claim = null }: {
      server: PostgresServer;
      maxConnections: number;
      /** Ends with the database. */
      claim?: PostgresClaim | null;
    },
  ) {
    this.#server = server;
    this.#claim = claim;
    this.#maxReaders = Math.max(1, Math.floor(maxConnections / 2));
    this.#writers = new WriterPool(server, { max: Math.max(1, maxConnections - this.#maxReaders) });
  }

  /** Leaves the mark of a server that claims the database, in the transaction in which it becomes its own. */
  async markClaim(tx: Tx): Promise<void> {
    await this.#claim?.mark(tx);
  }

  async all<Row>(query: Sql): Promise<Row[]> {
    return await this.#read(query) as unknown as Row[];
  }

  async get<Row>(query: Sql): Promise<Row | null> {
    const rows = await this.#read(query);
    return rows[0] as Row | undefined ?? null;
  }

  async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    for (let attempt = 1;; attempt++) {
      await this.#claim?.hold();
      const connection = await this.#writers.acquire();
      try {
        return await runTransaction(connection, work);
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || !isRetriable(error)) throw error;
      } finally {
        this.#writers.release(connection);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#writers.close();
    const readers = await Promise.allSettled(this.#readers);
    await Promise.all(readers.map((reader) => reader.status === "fulfilled" ? reader.value.close() : null));
    // Last: from here on another process may write.
    await this.#claim?.[Symbol.asyncDispose]();
  }

  /** Reads are repeated when the connection breaks under them; all of them may have broken at once. */
  async #read(query: Sql): Promise<Awaited<ReturnType<PostgresConnection["query"]>>> {
    for (let attempt = 0;; attempt++) {
      try {
        return await (await this.#reader()).query(query);
      } catch (error) {
        const isBroken = error instanceof DatabaseError && error.kind === "connection";
        if (!isBroken || this.#isClosed || attempt >= this.#maxReaders) throw error;
      }
    }
  }

  #reader(): PostgresConnection | Promise<PostgresConnection> {
    if (this.#isClosed) throw new DatabaseError("connection", "The database is closed");
    let best: PostgresConnection | null = null;
    for (const reader of this.#openReaders) {
      if (!reader.isLost && (best === null || reader.inFlight < best.inFlight)) best = reader;
    }
    if (best !== null && best.inFlight < READS_PER_CONNECTION) return best;
    if (this.#openReaders.some(({ isLost }) => isLost)) this.#dropLostReaders();
    if (this.#readers.length < this.#maxReaders) return this.#openReader();
    return best ?? Promise.any(this.#readers);
  }

  #openReader(): Promise<PostgresConnection> {
    const opening = PostgresConnection.open(this.#server);
    this.#readers.push(opening);
    opening.then((reader) => this.#openReaders.push(reader), () => {
      this.#readers = this.#readers.filter((other) => other !== opening);
    });
    return opening;
  }

  #dropLostReaders(): void {
    const lost = this.#openReaders.filter(({ isLost }) => isLost).length;
    this.#openReaders = this.#openReaders.filter(({ isLost }) => !isLost);
    const opening = this.#readers.length - lost - this.#openReaders.length;
    this.#readers = [
      ...this.#openReaders.map((reader) => Promise.resolve(reader)),
      ...opening > 0 ? this.#readers.slice(-opening) : [],
    ];
  }
}

function isRetriable(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false;
  const code = postgresCode(error.cause);
  return code === "40001" || code === "40P01";
}

class WriterPool {
  readonly #server: PostgresServer;
  readonly #max: number;
  readonly #idle: PostgresConnection[] = [];
  readonly #waiting: ((connection: PostgresConnection | null) => void)[] = [];
  #count = 0;
  #closing: (() => void) | null = null;

  constructor(server: PostgresServer, { max }: { max: number }) {
    this.#server = server;
    this.#max = max;
  }

  async acquire(): Promise<PostgresConnection> {
    for (;;) {
      if (this.#closing !== null) throw new DatabaseError("connection", "The database is closed");
      const idle = this.#idle.pop();
      if (idle !== undefined && !idle.isLost) return idle;
      if (idle !== undefined) this.#count--;
      else if (this.#count < this.#max) return await this.#open();
      else {
        const given = await new Promise<PostgresConnection | null>((resolve) => this.#waiting.push(resolve));
        if (given !== null) return given;
      }
    }
  }

  release(connection: PostgresConnection): void {
    const next = this.#waiting.shift();
    if (connection.isLost) {
      this.#count--;
      next?.(null);
    } else if (next !== undefined) next(connection);
    else this.#idle.push(connection);
    if (this.#idle.length === this.#count) this.#closing?.();
  }

  /** Waits for the transactions that run, then closes every connection. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#closing = resolve;
      if (this.#idle.length === this.#count) resolve();
    });
    await Promise.all(this.#idle.map((connection) => connection.close()));
  }

  async #open(): Promise<PostgresConnection> {
    this.#count++;
    try {
      return await PostgresConnection.open(this.#server);
    } catch (error) {
      this.#count--;
      this.#waiting.shift()?.(null);
      throw postgresError(error);
    }
  }
}
