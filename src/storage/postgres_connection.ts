/**
 * One connection to PostgreSQL over npm:postgres, held for as long as it lives.
 *
 * The driver's own pool would run what is left of a transaction on a new connection after the old one broke, outside
 * of the transaction. So each connection here is a pool of one, reserved at once; when it breaks, everything on it
 * fails and it is thrown away.
 */
import { Buffer } from "node:buffer";
import postgres from "postgres";
import { assertStorableText, DatabaseError, postgresError } from "./database_error.ts";
import { isPlannedEachTime, renderSql, type Sql, SqlList, type SqlValue } from "./sql.ts";

/** Where the server is and who we are there. */
export interface PostgresServer {
  /** A host name, an address, or the folder of a unix socket. Several may be tried in turn. */
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  /** As libpq's `sslmode`; `require` does not verify the certificate. */
  readonly ssl?: "require" | "allow" | "prefer" | "verify-full" | false;
}

type Reserved = postgres.ReservedSql;
type Value = string | number | boolean | null | Uint8Array;

/** A statement that can be sent. */
export interface BoundStatement {
  readonly text: string;
  readonly values: Value[];
  readonly prepare: boolean;
}

/** Makes a statement ready to be sent. Throws for values that PostgreSQL cannot keep. */
export function bindStatement(query: Sql): BoundStatement {
  const { text, values } = renderSql(query, "postgres");
  return { text, values: bind(values), prepare: !isPlannedEachTime(query) };
}

/** A connection. All its methods throw `DatabaseError`. */
export class PostgresConnection {
  readonly #client: postgres.Sql;
  readonly #reserved: Reserved;
  #isLost = false;
  /** Fails the statements that wait for their answers. A promise to race them with would keep every answer in memory. */
  readonly #waiting = new Set<(error: DatabaseError) => void>();
  private constructor(client: postgres.Sql, { reserved, closed }: { reserved: Reserved; closed: Promise<void> }) {
    this.#client = client;
    this.#reserved = reserved;
    closed.then(() => {
      this.#isLost = true;
      for (const fail of this.#waiting) fail(lostError());
    });
  }

  static async open(server: PostgresServer): Promise<PostgresConnection> {
    const { promise: closed, resolve: onclose } = Promise.withResolvers<void>();
    const client = postgres({
      ...server,
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: 10,
      fetch_types: false,
      onnotice: () => {},
      onclose: () => onclose(),
      connection: { application_name: "synapse-ts" },
      types: TYPES,
    } as postgres.Options<Record<string, postgres.PostgresType>>);
    try {
      // With fetch_types off, the driver reserves open connections only. A pooling proxy refuses this as a parameter of
      // the connection's start.
      await client.unsafe("SET default_transaction_isolation = 'read committed'");
      return new PostgresConnection(client, { reserved: await client.reserve(), closed });
    } catch (error) {
      client.end({ timeout: 0 }).catch(() => {});
      throw postgresError(error);
    }
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** Statements sent and not yet answered. */
  get inFlight(): number {
    return this.#waiting.size;
  }

  /** Sends a statement behind those already sent. */
  async query(query: Sql): Promise<postgres.RowList<postgres.Row[]>> {
    return await this.send(bindStatement(query));
  }

  /** As `query`, for what is bound already. */
  send({ text, values, prepare }: BoundStatement): Promise<postgres.RowList<postgres.Row[]>> {
    return this.#send(() => this.#reserved.unsafe(text, values, { prepare }));
  }

  /** Sends a command without parameters, such as COMMIT. Resolves with the tag the server answers with. */
  async command(text: string): Promise<string> {
    return (await this.#send(() => this.#reserved.unsafe(text))).command;
  }

  async close(): Promise<void> {
    if (this.#isLost) return;
    this.#reserved.release();
    await this.#client.end({ timeout: 1 });
  }

  /** A failed write may tell of the loss before the driver does; nobody must be given this connection again. */
  #giveUp(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#client.end({ timeout: 0 }).catch(() => {});
  }

  async #send(
    start: () => postgres.PendingQuery<postgres.Row[]>,
  ): Promise<postgres.RowList<postgres.Row[]>> {
    if (this.#isLost) throw lostError();
    // First, for what cannot be sent must not be waited for.
    const sent = start();
    const { promise, resolve, reject } = Promise.withResolvers<postgres.RowList<postgres.Row[]>>();
    this.#waiting.add(reject);
    sent.then(resolve, reject);
    try {
      return await promise;
    } catch (cause) {
      const error = postgresError(cause);
      if (error.kind === "connection") this.#giveUp();
      throw error;
    } finally {
      this.#waiting.delete(reject);
    }
  }
}

function lostError(): DatabaseError {
  return new DatabaseError("connection", "PostgreSQL: the connection was lost");
}

const toNumber = (text: string): number => Number(text);

/** int8 and numeric (which sums of int8 are) as numbers, bytes as Uint8Array. */
const TYPES = {
  int8: { to: 20, from: [20, 1700], parse: toNumber, serialize: String },
  bytea: {
    to: 17,
    from: [17],
    parse(text: string): Uint8Array {
      const { buffer, byteOffset, byteLength } = Buffer.from(text.slice(2), "hex");
      return new Uint8Array(buffer, byteOffset, byteLength);
    },
    serialize(bytes: Uint8Array): string {
      return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
    },
  },
};

function bind(values: (SqlValue | SqlList)[]): Value[] {
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (typeof value === "string") assertStorableText(value);
    // The driver would find out only when it sends.
    else if (value === undefined) throw new DatabaseError("driver", "A value is undefined");
    else if (value instanceof SqlList) values[index] = arrayLiteral(value.items);
    else if (typeof value === "bigint") values[index] = value.toString();
  }
  return values as Value[];
}

/** An array in PostgreSQL's text form. */
function arrayLiteral(items: SqlList["items"]): string {
  return `{${items.map((item) => typeof item === "string" ? quoteItem(item) : item ?? "NULL").join(",")}}`;
}

function quoteItem(item: string): string {
  assertStorableText(item);
  return `"${item.replace(/["\\]/g, "\\$&")}"`;
}
