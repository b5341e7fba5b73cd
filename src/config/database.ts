/** Options of the manual's sections "Caching", "Database" and "Logging". */
import { readPostgresArgs } from "./postgres_args.ts";
import {
  anything,
  boolean,
  duration,
  integer,
  mapped,
  Mismatch,
  noEffect,
  nullable,
  number,
  object,
  oneOf,
  option,
  record,
  type Schema,
  size,
  string,
  works,
} from "./schema.ts";

const AUTOTUNING = {
  max_cache_memory_usage: option(nullable(size), null),
  target_cache_memory_usage: option(nullable(size), null),
  min_cache_ttl: option(nullable(duration), null),
};

const CACHES = {
  global_factor: option(number, 0.5),
  per_cache_factors: option(record(number), {}),
  expire_caches: option(boolean, true),
  cache_entry_ttl: option(duration, "30m"),
  sync_response_cache_duration: option(duration, "2m"),
  cache_autotuning: option(object(AUTOTUNING), {}),
};

const DATABASE = {
  name: option(oneOf(["sqlite3", "psycopg2"]), "sqlite3"),
  args: option(record(anything), {}),
  txn_limit: option(integer(), 0),
  allow_unsafe_locale: option(boolean, false),
  statement_timeout: option(duration, "10m"),
  synchronous_commit: option(boolean, true),
};

/** Which database, and how to reach it. */
export interface DatabaseConfig {
  readonly name: "sqlite3" | "psycopg2";
  /** As written: for PostgreSQL `host`, `port`, `user`, `password`, `dbname` (or `database`), `sslmode`…. */
  readonly args: Readonly<Record<string, unknown>>;
  /** The file of SQLite (`:memory:` is none). Relative to the working directory. */
  readonly path: string;
  /** Connections of PostgreSQL: `cp_min` and `cp_max`. */
  readonly minConnections: number;
  readonly maxConnections: number;
  readonly allowUnsafeLocale: boolean;
  readonly statementTimeoutMs: number;
  readonly synchronousCommit: boolean;
}

const database: Schema<DatabaseConfig> = mapped(object(DATABASE), (given, at) => {
  const atArgs = { ...at, path: [...at.path, "args"] };
  const args = given.name === "psycopg2" ? readPostgresArgs(given.args, atArgs) : given.args;
  const read = (name: string, fallback: number) =>
    args[name] === undefined || args[name] === null
      ? fallback
      : integer({ min: 0, max: 1000 }).read(args[name], { ...at, path: [...at.path, "args", name] });
  const path = args.database ?? "homeserver.db";
  if (given.name === "sqlite3" && typeof path !== "string") {
    throw new Mismatch([...at.path, "args", "database"], "must be the path of a file");
  }
  return {
    name: given.name,
    args,
    path: String(path),
    minConnections: read("cp_min", 5),
    maxConnections: Math.max(1, read("cp_max", 10)),
    allowUnsafeLocale: given.allowUnsafeLocale,
    statementTimeoutMs: given.statementTimeout,
    synchronousCommit: given.synchronousCommit,
  };
});

/** The table of the section "Caching". */
export const CACHING_OPTIONS = {
  event_cache_size: option(
    size,
    "10K",
    works("Number of events kept in memory, at a cache factor of 0.5. It is a bound of 2.8 KiB for each."),
  ),
  caches: option(
    object(CACHES),
    {},
    works(
      "Sizes of caches: `global_factor`, and `per_cache_factors` for `events` (or `getEvent`), `rendered_events`, " +
        "`state_keys` and `state_nodes`. Entries do not expire here: nothing in these caches becomes outdated.",
    ),
  ),
};

/** The table of the section "Database". */
export const DATABASE_OPTIONS = {
  database: option(
    database,
    {},
    works(
      "The database: SQLite (`sqlite3`) or PostgreSQL (`psycopg2`). `args.password_path` names a file with the password.",
    ),
  ),
  databases: option(
    record(anything),
    {},
    noEffect("Several databases for the parts of the data.", "all data live in one database here"),
  ),
};

/** The table of the section "Logging". */
export const LOGGING_OPTIONS = {
  log_config: option(nullable(string), null, works("File that says what is logged, where and how.")),
};
