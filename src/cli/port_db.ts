/** `port-db`: moves the database from SQLite to PostgreSQL, or back. */
import { loadConfig } from "../config/load.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Database } from "../storage/database.ts";
import { databaseOptions } from "../storage/database_options.ts";
import { type DatabaseOptions, openDatabase } from "../storage/open_database.ts";
import { openReader } from "../storage/open_reader.ts";
import { portDatabase } from "../storage/port.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { ProgressBar } from "./progress_bar.ts";

const DEFAULT_BATCH = 1000;

/** The command. */
export const portDbCommand: Command = {
  name: "port-db",
  aliases: ["synapse_port_db"],
  summary: "Move the database from SQLite to PostgreSQL, or back, while the server is stopped.",
  flags: {
    "sqlite-database": { value: "FILE", doc: "The SQLite file." },
    "postgres-config": { value: "FILE", doc: "Configuration whose database is PostgreSQL." },
    "to-sqlite": { doc: "Go from PostgreSQL to a new SQLite file, in place of the other way." },
    "batch-size": { value: "ROWS", doc: "Rows a transaction (1000)." },
    curses: { doc: "Accepted as in Synapse; there is a progress bar anyway." },
    verbose: { short: "v", doc: "Accepted as in Synapse; no effect." },
  },
  run: portDb,
};

async function portDb(given: Given, context: CommandContext): Promise<number> {
  const sqlitePath = lastValue(given, "sqlite-database");
  const configPath = lastValue(given, "postgres-config");
  if (sqlitePath === null || configPath === null) {
    throw new UsageError("give --sqlite-database FILE and --postgres-config FILE");
  }
  const batch = Number(lastValue(given, "batch-size") ?? DEFAULT_BATCH);
  if (!Number.isInteger(batch) || batch < 1 || batch > 100_000) {
    throw new UsageError("--batch-size must be 1 to 100000");
  }
  const { config } = await loadConfig({ paths: [configPath], env: context.env, mayLackSecretFiles: true });
  if (config.database.name !== "psycopg2") throw new StartupError(`The database in ${configPath} is not PostgreSQL`);
  const postgres = databaseOptions(config.database);
  const sqlite: DatabaseOptions = { sqlite: { path: sqlitePath } };
  const isBack = hasFlag(given, "to-sqlite");
  // PostgreSQL tells nobody whether a server uses it; what it writes meanwhile is found when both sides are compared.
  await using source = isBack ? await openReader(postgres) : await openSource(sqlite);
  await using target = await openDatabase(isBack ? sqlite : postgres);
  return await run({ source, target, batch }, context);
}

/** Opens the SQLite file and claims it, so that no server can run on it; one of another version is refused. */
async function openSource(options: DatabaseOptions): Promise<Database> {
  await (await openReader(options))[Symbol.asyncDispose]();
  return await openDatabase(options);
}

async function run(
  { source, target, batch }: { source: Database; target: Database; batch: number },
  { terminal, clock }: CommandContext,
): Promise<number> {
  const bar = new ProgressBar({ terminal, clock, isDrawn: Deno.stderr.isTerminal() });
  const begun = clock.monotonic();
  const seen = new Set<string>();
  let isCopying = false;
  const result = await portDatabase({
    ...{ source, target, batch },
    progress: {
      begin(phase, total) {
        isCopying = phase === "copy";
        bar.begin(phase === "copy" ? "Copying  " : "Comparing", total);
      },
      rows(table, count) {
        // The first word of each table that is copied is what an earlier run has done.
        bar.add(count, { detail: table, isOld: isCopying && !seen.has(table) });
        seen.add(table);
      },
    },
  });
  bar.end();
  const seconds = ((clock.monotonic() - begun) / 1000).toFixed(1);
  terminal.out(`${result.rows} rows of ${result.tables} tables are the same on both sides (${seconds} s).\n`);
  terminal.out("The index of messages for searches is made anew when the server runs.\n");
  return 0;
}
