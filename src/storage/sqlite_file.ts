/**
 * The database file: who may use it, and what a person is told when it cannot be opened.
 *
 * A process that serves a file holds a lock on `FILE.lock`, which the operating system lets go when the process ends
 * in whatever way, so two servers cannot serve one file and no stale lock has to be removed by hand. SQLite takes that
 * lock too, as an exclusive transaction: Deno's own `tryLock` came after the oldest version that this runs on.
 */
import { DatabaseSync } from "node:sqlite";
import { reasonOf } from "../lib/reason.ts";
import { DatabaseStartupError } from "./database_error.ts";
import { SqliteConnection, type SqliteConnectionOptions } from "./sqlite_connection.ts";

const FILE_MODE = 0o640;

/** The right to use a file, held until `release`. */
export interface SqliteClaim {
  open(options: SqliteConnectionOptions): SqliteConnection;
  release(): void;
}

/**
 * Claims the file for this process, waiting up to `waitMs` for another process to end. Throws `DatabaseStartupError` when another has it or
 * it cannot be written.
 */
export function claimSqliteFile(path: string, { waitMs = 0 }: { waitMs?: number } = {}): SqliteClaim {
  if (path === ":memory:" || path === "") {
    throw new DatabaseStartupError("A database in memory is not supported: name a file");
  }
  const lock = takeLock(path, waitMs);
  return {
    open(options: SqliteConnectionOptions): SqliteConnection {
      try {
        return new SqliteConnection(path, options);
      } catch (error) {
        throw startupError(path, error);
      }
    },
    release(): void {
      lock.close();
    },
  };
}

function takeLock(path: string, waitMs: number): DatabaseSync {
  try {
    Deno.openSync(`${path}.lock`, { create: true, write: true, mode: 0o600 }).close();
    // With the hashes of passwords in it: SQLite would let everybody read a new file, and gives its log the same mode.
    Deno.openSync(path, { create: true, write: true, mode: FILE_MODE }).close();
    const lock = new DatabaseSync(`${path}.lock`, { timeout: waitMs });
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    throw startupError(path, error);
  }
}

function startupError(path: string, error: unknown): DatabaseStartupError {
  return new DatabaseStartupError(`${reason(path, error)}`, { cause: error });
}

function reason(path: string, error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return `The folder of the database ${path} does not exist`;
  if (error instanceof Deno.errors.PermissionDenied) return `The database ${path} cannot be written: permission denied`;
  const message = error instanceof Error ? error.message : String(error);
  if (/not a database/.test(message)) return `The file ${path} is not an SQLite database`;
  if (/readonly|read-only/i.test(message)) return `The database ${path} cannot be written: it is read-only`;
  if (/locked/.test(message)) return `The database ${path} is in use by another process`;
  return `The database ${path} cannot be opened: ${reasonOf(error)}`;
}
