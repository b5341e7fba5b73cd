/** What went wrong in the database, in the terms callers can act on. */

/**
 * - `conflict`: a row with that key exists already
 * - `constraint`: another constraint (foreign key, NOT NULL, CHECK) refused the row
 * - `busy`: another process holds a lock, or the transaction lost a race and may be repeated
 * - `full`: no space left, or the disk refuses writes
 * - `connection`: the server of the database cannot be reached
 * - `text`: a text holds what neither database can keep; who wrote the text is at fault
 * - `driver`: anything else
 */
export type DatabaseErrorKind = "conflict" | "constraint" | "busy" | "full" | "connection" | "text" | "driver";

/** A failure of the database. `cause` is the driver's error. */
export class DatabaseError extends Error {
  override readonly name = "DatabaseError";
  readonly kind: DatabaseErrorKind;

  constructor(kind: DatabaseErrorKind, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.kind = kind;
  }
}

const OF_THE_ROWS: ReadonlySet<DatabaseErrorKind> = new Set(["conflict", "constraint", "text"]);

/** Tells whether an error is due to what was to be written, so that writing it again would fail again. */
export function isDueToRows(error: unknown): boolean {
  return error instanceof DatabaseError && OF_THE_ROWS.has(error.kind);
}

/** Why the server cannot start on this database: one sentence for the person who starts it. */
export class DatabaseStartupError extends Error {
  override readonly name = "DatabaseStartupError";
}

/**
 * Throws unless both databases keep the text as it is. PostgreSQL has no NUL, and half of a surrogate pair has no UTF-8,
 * so that one text would become another on its way.
 */
export function assertStorableText(text: string): void {
  if (!text.includes("\0") && text.isWellFormed()) return;
  throw new DatabaseError("text", "A text holds a NUL character or half of a surrogate pair");
}

const SQLITE_KINDS: readonly (readonly [RegExp, DatabaseErrorKind])[] = [
  [/UNIQUE constraint failed|PRIMARY KEY/, "conflict"],
  [/constraint failed/, "constraint"],
  [/database (table )?is locked|database is busy/, "busy"],
  [/database or disk is full|disk I\/O error|readonly database/, "full"],
];

/** Wraps an error of node:sqlite, which tells its kinds apart by message only. */
export function sqliteError(cause: unknown): DatabaseError {
  if (cause instanceof DatabaseError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  const kind = SQLITE_KINDS.find(([pattern]) => pattern.test(message))?.[1] ?? "driver";
  return new DatabaseError(kind, `SQLite: ${message}`, { cause });
}

/** Wraps an error of npm:postgres by its SQLSTATE. */
export function postgresError(cause: unknown): DatabaseError {
  if (cause instanceof DatabaseError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new DatabaseError(postgresKind(postgresCode(cause)), `PostgreSQL: ${message}`, { cause });
}

/** Returns the SQLSTATE or the driver's own code, or an empty string. */
export function postgresCode(cause: unknown): string {
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return "";
  return typeof cause.code === "string" ? cause.code : "";
}

function postgresKind(code: string): DatabaseErrorKind {
  if (code === "23505") return "conflict";
  if (code.startsWith("23")) return "constraint";
  if (code === "40001" || code === "40P01" || code === "55P03") return "busy";
  if (code === "53100") return "full";
  if (
    code.startsWith("08") || code.startsWith("57P") ||
    /^(CONNECTION_|CONNECT_TIMEOUT|ECONN|ENOTFOUND|ENOENT|EPIPE|ETIMEDOUT|EHOSTUNREACH)/.test(code)
  ) {
    return "connection";
  }
  return "driver";
}
