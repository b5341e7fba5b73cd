/**
 * What a folder of backups holds.
 *
 *     media/…                      files of the media store; they never change, so all snapshots share them
 *     snapshots/TIME/manifest.json what the snapshot is of
 *     snapshots/TIME/homeserver.db the database, in one SQLite file
 *     snapshots/TIME/files/N       configuration, keys and secrets; the manifest has their paths
 */
import { createHash } from "node:crypto";
import { dirname, join, relative } from "node:path";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";

/** One file of a configuration. */
export interface SavedFile {
  /** Within the snapshot. */
  readonly name: string;
  /** Where it was. */
  readonly path: string;
  readonly mode: number;
  readonly sha256: string;
}

/** What a snapshot is of. */
export interface Manifest {
  readonly format: 1;
  readonly version: string;
  readonly serverName: string;
  readonly createdTs: number;
  readonly dialect: "sqlite" | "postgres";
  readonly databaseSha256: string;
  /** The files that `-c` named, in order. */
  readonly configFiles: readonly string[];
  readonly files: readonly SavedFile[];
}

/** A snapshot in the folder. */
export interface Snapshot {
  readonly path: string;
  readonly name: string;
  readonly manifest: Manifest;
}

/** The name of the database in a snapshot. */
export const DATABASE_FILE = "homeserver.db";
const TIME = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z$/;

/** Returns the snapshots of a folder, oldest first. */
export async function listSnapshots(folder: string): Promise<Snapshot[]> {
  const root = join(folder, "snapshots");
  const entries = await Array.fromAsync(Deno.readDir(root)).catch(() => []);
  const names = entries.map(({ name }) => name).filter((name) => TIME.test(name)).sort();
  return await Promise.all(names.map(async (name) => {
    const path = join(root, name);
    return { path, name, manifest: await readManifest(join(path, "manifest.json")) };
  }));
}

/** Returns one snapshot by name, or the last; throws when there is none. */
export async function findSnapshot(folder: string, name: string | null): Promise<Snapshot> {
  const snapshots = await listSnapshots(folder);
  const found = name === null ? snapshots.at(-1) : snapshots.find((snapshot) => snapshot.name === name);
  if (found === undefined) {
    throw new StartupError(`There is no ${name === null ? "backup" : `snapshot ${name}`} in ${folder}`);
  }
  return found;
}

async function readManifest(path: string): Promise<Manifest> {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    throw new StartupError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
  if (manifest.format !== 1) throw new StartupError(`${path} is of a newer version of this program`);
  return manifest;
}

/** Returns the SHA-256 of a file, in hexadecimal. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("hex");
}

/** Makes what was written to a file durable. */
export async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  await file.sync();
}

/** Copies the files below `from` that are not below `to` yet; returns how many, and their bytes. */
export async function copyNewFiles(
  from: string,
  { to, skip }: { to: string; skip: ReadonlySet<string> },
): Promise<{ files: number; bytes: number }> {
  let [files, bytes] = [0, 0];
  for await (const path of walk(from, skip)) {
    const target = join(to, relative(from, path));
    const source = await Deno.stat(path).catch(() => null);
    // Deleted since the folder was listed: the server does that.
    if (source === null) continue;
    const present = await Deno.stat(target).catch(() => null);
    if (present?.size === source.size) continue;
    await Deno.mkdir(dirname(target), { recursive: true, mode: 0o700 });
    const partial = `${target}.partial`;
    try {
      await Deno.copyFile(path, partial);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      throw error;
    }
    await Deno.rename(partial, target);
    files++;
    bytes += source.size;
  }
  return { files, bytes };
}

async function* walk(folder: string, skip: ReadonlySet<string>): AsyncIterableIterator<string> {
  const entries = await Array.fromAsync(Deno.readDir(folder)).catch(() => []);
  for (const { name, isFile, isDirectory } of entries) {
    if (skip.has(name)) continue;
    const path = join(folder, name);
    if (isDirectory) yield* walk(path, NOTHING);
    else if (isFile && !name.endsWith(".partial")) yield path;
  }
}

const NOTHING: ReadonlySet<string> = new Set();
