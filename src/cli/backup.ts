/** `backup`: copies database, media, keys and configuration into a folder while the server runs. */
import { join, resolve } from "node:path";
import type { Config } from "../config/config.ts";
import { readRawConfig } from "../config/load.ts";
import { listConfigFiles } from "../config/source.ts";
import { VERSION } from "../lib/version.ts";
import { TEMPORARY_FOLDER } from "../media/disk_store.ts";
import { backUpDatabase } from "../storage/database_backup.ts";
import { databaseOptions } from "../storage/database_options.ts";
import {
  copyNewFiles,
  DATABASE_FILE,
  findSnapshot,
  hashFile,
  listSnapshots,
  type Manifest,
  type SavedFile,
  syncFile,
} from "./backup_folder.ts";
import { verifyBackup } from "./backup_verify.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { CONFIG_FLAG, configOf, configPaths } from "./config_flag.ts";
import { makeFolder } from "./files.ts";
import { ProgressBar } from "./progress_bar.ts";

/** Configuration files are smaller; what is larger is named by an option for another reason. */
const MAX_SAVED_BYTES = 4 * 1024 * 1024;

/** The command. */
export const backupCommand: Command = {
  name: "backup",
  aliases: [],
  summary: "Copy database, media, keys and configuration into a folder while the server runs.",
  words: "FOLDER",
  flags: {
    "config-path": CONFIG_FLAG,
    keep: { value: "NUMBER", doc: "Delete older snapshots than the last so many (none)." },
    verify: { doc: "Check the new snapshot: hashes, the database's structure, every file of media." },
    "verify-only": { doc: "Make no snapshot; check the last one." },
  },
  run: backup,
};

async function backup(given: Given, context: CommandContext): Promise<number> {
  const [folder, ...rest] = given.words;
  if (folder === undefined || rest.length > 0) throw new UsageError("name the folder for backups");
  const keep = Number(lastValue(given, "keep") ?? Infinity);
  if (!(keep >= 1)) throw new UsageError("--keep must be 1 or more");
  const { terminal } = context;
  if (!hasFlag(given, "verify-only")) {
    const config = await configOf(given, context);
    const name = await makeSnapshot(folder, { config, paths: configPaths(given), context });
    for (const old of (await listSnapshots(folder)).slice(0, -keep)) await Deno.remove(old.path, { recursive: true });
    terminal.out(`Backup ${name} is complete.\n`);
  }
  if (!hasFlag(given, "verify") && !hasFlag(given, "verify-only")) return 0;
  return await verifyBackup(folder, { snapshot: await findSnapshot(folder, null), terminal });
}

interface SnapshotTask {
  readonly config: Config;
  readonly paths: readonly string[];
  readonly context: CommandContext;
}

async function makeSnapshot(folder: string, { config, paths, context }: SnapshotTask): Promise<string> {
  const { terminal, clock } = context;
  await makeFolder(join(folder, "snapshots"));
  await Deno.chmod(folder, 0o700);
  const name = await freeName(folder, clock.now());
  const partial = join(folder, "snapshots", `.${name}.partial`);
  await Deno.mkdir(join(partial, "files"), { recursive: true, mode: 0o700 });
  try {
    await saveDatabase(partial, { config, context });
    // After the database: what it names is in the store before it is named.
    const { files, bytes } = await copyNewFiles(resolve(config.media.mediaStorePath), {
      to: join(folder, "media"),
      skip: new Set([TEMPORARY_FOLDER]),
    });
    terminal.err(`Media: ${files} new files, ${bytes} bytes\n`);
    if (config.media.mediaStorageProviders.length > 0) {
      terminal.err("Warning: what is in media_storage_providers only is not part of the backup\n");
    }
    await saveManifest(partial, { config, paths, context });
    await Deno.rename(partial, join(folder, "snapshots", name));
    return name;
  } catch (error) {
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    throw error;
  }
}

/** Names sort by time. */
async function freeName(folder: string, now: number): Promise<string> {
  const taken = new Set((await listSnapshots(folder)).map((snapshot) => snapshot.name));
  for (let time = now;; time++) {
    const name = new Date(time).toISOString().replaceAll(/[:.]/g, "-");
    if (!taken.has(name)) return name;
  }
}

async function saveDatabase(
  partial: string,
  { config, context }: { config: Config; context: CommandContext },
): Promise<void> {
  const { terminal, clock } = context;
  const path = join(partial, DATABASE_FILE);
  const bar = new ProgressBar({ terminal, clock, isDrawn: Deno.stderr.isTerminal() });
  await backUpDatabase(databaseOptions(config.database), {
    path,
    progress: {
      begin: (phase, total) => bar.begin(phase === "copy" ? "Database" : "Checking", total),
      rows: (table, count) => bar.add(count, { detail: table }),
    },
  });
  bar.end();
  await Deno.chmod(path, 0o600);
  await syncFile(path);
  terminal.err(`Database: ${(await Deno.stat(path)).size} bytes\n`);
}

async function saveManifest(partial: string, { config, paths, context }: SnapshotTask): Promise<void> {
  const configFiles = await listConfigFiles(paths, () => {});
  const { raw } = await readRawConfig(paths);
  const named = [...configFiles, config.signingKeyPath, ...namedFiles(raw)];
  const files: SavedFile[] = [];
  for (const path of new Set(named.map((file) => resolve(file)))) {
    const info = await Deno.stat(path).catch(() => null);
    if (info === null || !info.isFile || info.size > MAX_SAVED_BYTES) continue;
    const name = join("files", String(files.length + 1));
    await Deno.copyFile(path, join(partial, name));
    await Deno.chmod(join(partial, name), 0o600);
    const sha256 = await hashFile(join(partial, name));
    files.push({ name, path, mode: (info.mode ?? 0o600) & 0o777, sha256 });
  }
  const manifest: Manifest = {
    format: 1,
    version: VERSION,
    serverName: config.serverName,
    createdTs: context.clock.now(),
    dialect: config.database.name === "sqlite3" ? "sqlite" : "postgres",
    databaseSha256: await hashFile(join(partial, DATABASE_FILE)),
    configFiles: configFiles.map((file) => resolve(file)),
    files,
  };
  const path = join(partial, "manifest.json");
  await Deno.writeTextFile(path, `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
  await syncFile(path);
}

/** Options that name a file end so, or are these. */
const FILE_OPTION = /_(?:path|file)$|^log_config$|^app_service_config_files$|_ca_list$/;
const NO_FILE_TO_SAVE: ReadonlySet<string> = new Set(["pid_file", "worker_pid_file", "media_store_path"]);

function namedFiles(value: unknown, key = ""): string[] {
  if (typeof value === "string") return FILE_OPTION.test(key) && !NO_FILE_TO_SAVE.has(key) ? [value] : [];
  if (Array.isArray(value)) return value.flatMap((item) => namedFiles(item, key));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => namedFiles(inner, name));
}
