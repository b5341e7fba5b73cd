/**
 * A copy of the whole database in one SQLite file, whatever the original is, and the way back.
 *
 * The copy is of one moment and takes nothing from a server that writes meanwhile: SQLite reads its log of changes as it
 * was at the start, PostgreSQL keeps a snapshot.
 */
import { backup as copySqlite, DatabaseSync } from "node:sqlite";
import type { Database } from "./database.ts";
import { DatabaseStartupError } from "./database_error.ts";
import { type DatabaseOptions, openDatabase } from "./open_database.ts";
import { openReader, selectSchema } from "./open_reader.ts";
import { portDatabase, type PortProgress } from "./port.ts";
import { sql } from "./sql.ts";

/** Writes the copy to a new file. */
export async function backUpDatabase(
  options: DatabaseOptions,
  { path, progress }: { path: string; progress: PortProgress },
): Promise<void> {
  // Says in a sentence what is wrong, where something is.
  await (await openReader(options))[Symbol.asyncDispose]();
  if ("sqlite" in options) {
    const source = new DatabaseSync(options.sqlite.path, { readOnly: true, timeout: 30_000 });
    try {
      // All pages in one step: between two steps a writer would make it begin again.
      await copySqlite(source, path, { rate: 2_147_483_647 });
    } finally {
      source.close();
    }
  } else {
    const { openPostgresSnapshot } = await import("./postgres_snapshot.ts");
    await using source = await openPostgresSnapshot(options.postgres.server);
    await using target = await openDatabase({ sqlite: { path } });
    await portDatabase({ source, target, batch: BATCH, progress });
  }
  // Nothing is written to it any more, and readers need no files beside it then.
  const copy = new DatabaseSync(path);
  copy.exec("PRAGMA journal_mode = DELETE");
  copy.close();
  await removeLock(path);
}

const BATCH = 1000;
/**
 * How far streams are moved on when a copy is restored: further than the lost server can have come, so that what it told
 * clients last is not ahead of what the restored one tells them.
 */
const STREAM_LEAP = 1_000_000_000;

/** Says what is wrong with a copy; null when it is whole. */
export function checkBackup(path: string): string | null {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const rows = db.prepare("PRAGMA integrity_check(5)").all() as { integrity_check: string }[];
    const problems = rows.map((row) => row.integrity_check).filter((text) => text !== "ok");
    return problems.length === 0 ? null : problems.join("; ");
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    db.close();
  }
}

/**
 * Makes a copy fit to be served from. Its file is changed: give it a copy of the copy.
 *
 * One-time keys are dropped, because the lost server may have given them out since: clients upload new ones when they
 * are told that there are none.
 */
export async function prepareRestored(path: string): Promise<{ oneTimeKeys: number }> {
  await using db = await openDatabase({ sqlite: { path } });
  const oneTimeKeys = await db.transaction(async (tx) => {
    await tx.run(sql`UPDATE stream_positions SET position = position + ${STREAM_LEAP} WHERE stream <> 'backfill'`);
    return await tx.run(sql`DELETE FROM one_time_keys`);
  });
  return { oneTimeKeys };
}

/** Puts a prepared copy in the place of the configuration's database, which must not be there or be empty. */
export async function restoreDatabase(
  options: DatabaseOptions,
  { path, progress }: { path: string; progress: PortProgress },
): Promise<void> {
  if ("sqlite" in options) {
    await removeLock(path);
    await Deno.link(path, options.sqlite.path).catch(async (error) => {
      if (error instanceof Deno.errors.AlreadyExists) {
        throw new DatabaseStartupError(`There is a database ${options.sqlite.path} already`);
      }
      await Deno.copyFile(path, options.sqlite.path);
    });
    return;
  }
  await using source: Database = await openReader({ sqlite: { path } });
  await using target = await openDatabase(options);
  await portDatabase({ source, target, batch: BATCH, progress });
}

/** Throws unless the place of the configuration's database is free. */
export async function assertRestorable(options: DatabaseOptions): Promise<void> {
  if ("sqlite" in options) {
    const isThere = await Deno.lstat(options.sqlite.path).then(() => true, () => false);
    if (isThere) throw new DatabaseStartupError(`There is a database ${options.sqlite.path} already`);
    return;
  }
  const { PostgresDatabase } = await import("./postgres_database.ts");
  await using db = new PostgresDatabase({ server: options.postgres.server, maxConnections: 2 });
  const schema = await selectSchema(db);
  const users = schema.length === 0 ? null : await db.get(sql`SELECT value FROM server_meta LIMIT 1`);
  if (users !== null) throw new DatabaseStartupError("The PostgreSQL database is not empty");
}

async function removeLock(path: string): Promise<void> {
  for (const suffix of [".lock", "-wal", "-shm"]) await Deno.remove(`${path}${suffix}`).catch(() => {});
}
