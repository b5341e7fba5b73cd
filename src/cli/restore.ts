/** `restore`: puts a backup back, never over something that is there. */
import { dirname, join, resolve } from "node:path";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Terminal } from "../lib/terminal.ts";
import { assertRestorable, prepareRestored, restoreDatabase } from "../storage/database_backup.ts";
import { databaseOptions } from "../storage/database_options.ts";
import {
  copyNewFiles,
  DATABASE_FILE,
  findSnapshot,
  hashFile,
  type SavedFile,
  type Snapshot,
  syncFile,
} from "./backup_folder.ts";
import { type Command, type CommandContext, type Given, lastValue, UsageError } from "./command.ts";
import { exists, makeFolder } from "./files.ts";
import { ProgressBar } from "./progress_bar.ts";

/** The command. */
export const restoreCommand: Command = {
  name: "restore",
  aliases: [],
  summary: "Put a backup back where nothing is.",
  words: "FOLDER",
  flags: {
    "config-path": {
      short: "c",
      value: "FILE",
      aliases: ["config"],
      doc: "Use this configuration, and restore only database, media and signing key to where it says.",
    },
    snapshot: { value: "NAME", doc: "Which snapshot (the last)." },
  },
  run: restore,
};

async function restore(given: Given, context: CommandContext): Promise<number> {
  const [folder, ...rest] = given.words;
  if (folder === undefined || rest.length > 0) throw new UsageError("name the folder of backups");
  const snapshot = await findSnapshot(folder, lastValue(given, "snapshot"));
  const own = given.flags["config-path"];
  if (own === undefined) await restoreFiles(snapshot, { files: snapshot.manifest.files, terminal: context.terminal });
  const paths = own ?? snapshot.manifest.configFiles;
  const { config } = await loadConfig({ paths, env: context.env });
  if (config.serverName !== snapshot.manifest.serverName) {
    throw new StartupError(
      `The backup is of ${snapshot.manifest.serverName}, the configuration is of ${config.serverName}`,
    );
  }
  await assertRestorable(databaseOptions(config.database));
  if (own !== undefined) await restoreSigningKey(snapshot, { config, terminal: context.terminal });
  const store = resolve(config.media.mediaStorePath);
  const { files } = await copyNewFiles(join(folder, "media"), { to: store, skip: new Set() });
  context.terminal.err(`Media: ${files} files\n`);
  await restoreRows(snapshot, { config, context });
  context.terminal.out(`Backup ${snapshot.name} of ${config.serverName} is restored.\n`);
  return 0;
}

/** Puts files back; one that is there already must be the same. Nothing is written before all have been looked at. */
async function restoreFiles(
  { path: folder }: Snapshot,
  { files, terminal }: { files: readonly SavedFile[]; terminal: Terminal },
): Promise<void> {
  const missing: SavedFile[] = [];
  for (const file of files) {
    if (!await exists(file.path)) missing.push(file);
    else if (await hashFile(file.path) !== file.sha256) {
      throw new StartupError(`${file.path} is there and is not the same; move it away, or give -c to use it`);
    }
  }
  for (const { name, path, mode } of missing) {
    await makeFolder(dirname(path));
    await Deno.copyFile(join(folder, name), path);
    await Deno.chmod(path, mode);
    await syncFile(path);
    terminal.err(`Restored ${path}\n`);
  }
}

async function restoreSigningKey(
  snapshot: Snapshot,
  { config, terminal }: { config: Config; terminal: Terminal },
): Promise<void> {
  if (config.signingKeys.signingKey !== null || await exists(config.signingKeyPath)) return;
  const saved = snapshot.manifest.files.find(({ path }) => path.endsWith(".signing.key"));
  if (saved === undefined) return;
  await restoreFiles(snapshot, { files: [{ ...saved, path: resolve(config.signingKeyPath) }], terminal });
}

/** The database last: a server that is started too early finds none, and makes an empty one only where it is a file. */
async function restoreRows(
  snapshot: Snapshot,
  { config, context: { terminal, clock } }: { config: Config; context: CommandContext },
): Promise<void> {
  const options = databaseOptions(config.database);
  const target = "sqlite" in options ? resolve(options.sqlite.path) : join(await Deno.makeTempDir(), DATABASE_FILE);
  await makeFolder(dirname(target));
  const working = `${target}.restoring`;
  const bar = new ProgressBar({ terminal, clock, isDrawn: Deno.stderr.isTerminal() });
  try {
    await Deno.remove(working).catch(() => {});
    await Deno.copyFile(join(snapshot.path, DATABASE_FILE), working);
    const { oneTimeKeys } = await prepareRestored(working);
    await syncFile(working);
    await restoreDatabase(options, {
      path: working,
      progress: {
        begin: (phase, total) => bar.begin(phase === "copy" ? "Database" : "Checking", total),
        rows: (table, count) => bar.add(count, { detail: table }),
      },
    });
    bar.end();
    terminal.err(
      `${oneTimeKeys} one-time keys were dropped, so that none is given out twice; clients upload new ones.\n`,
    );
  } finally {
    for (const suffix of ["", ".lock", "-wal", "-shm"]) await Deno.remove(`${working}${suffix}`).catch(() => {});
    if (!("sqlite" in options)) await Deno.remove(dirname(target), { recursive: true }).catch(() => {});
  }
}
