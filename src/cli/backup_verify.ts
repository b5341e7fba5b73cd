/** Checks a snapshot: whether its files are what was written, the database is whole, and the media are all there. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Terminal } from "../lib/terminal.ts";
import { contentPath } from "../media/blob_paths.ts";
import type { ServerName } from "../protocol/ids.ts";
import { checkBackup } from "../storage/database_backup.ts";
import { listAllMedia } from "../storage/media_listing.ts";
import { openReader } from "../storage/open_reader.ts";
import { DATABASE_FILE, hashFile, type Snapshot } from "./backup_folder.ts";

const SHOWN = 20;

/** Says what is wrong with a snapshot, and returns the exit code. */
export async function verifyBackup(
  folder: string,
  { snapshot, terminal }: { snapshot: Snapshot; terminal: Terminal },
): Promise<number> {
  const problems = [...await checkFiles(snapshot), ...await checkDatabase(snapshot)];
  const media = problems.length > 0 ? null : await checkMedia(folder, snapshot);
  problems.push(...media?.problems ?? []);
  for (const problem of problems.slice(0, SHOWN)) terminal.err(`${problem}\n`);
  if (problems.length > SHOWN) terminal.err(`… and ${problems.length - SHOWN} more\n`);
  if (problems.length > 0) {
    terminal.out(`Backup ${snapshot.name} is NOT usable as it is: ${problems.length} problems.\n`);
    return 1;
  }
  terminal.out(`Backup ${snapshot.name} is whole: database, ${snapshot.manifest.files.length} files, `);
  terminal.out(`${media?.count ?? 0} files of media.\n`);
  return 0;
}

async function checkFiles({ path, manifest }: Snapshot): Promise<string[]> {
  const problems: string[] = [];
  const expected = [
    { name: DATABASE_FILE, path: "the database", sha256: manifest.databaseSha256 },
    ...manifest.files,
  ];
  for (const file of expected) {
    const sha256 = await hashFile(join(path, file.name)).catch(() => null);
    if (sha256 === null) problems.push(`${file.name} (${file.path}) is missing`);
    else if (sha256 !== file.sha256) problems.push(`${file.name} (${file.path}) has been changed`);
  }
  return problems;
}

async function checkDatabase({ path }: Snapshot): Promise<string[]> {
  const problem = await Promise.resolve().then(() => checkBackup(join(path, DATABASE_FILE))).catch(String);
  return problem === null ? [] : [`The database is damaged: ${problem}`];
}

async function checkMedia(
  folder: string,
  { path, manifest }: Snapshot,
): Promise<{ count: number; problems: string[] }> {
  await using db = await openReader({ sqlite: { path: join(path, DATABASE_FILE) } });
  const problems: string[] = [];
  let count = 0;
  for await (const media of listAllMedia(db)) {
    const file = join(folder, "media", contentPath(media, manifest.serverName as ServerName));
    const name = `mxc://${media.origin}/${media.mediaId}`;
    const sha256 = await base64Hash(file).catch(() => null);
    // What came from elsewhere is deleted at any time, and fetched again.
    const isCopy = media.isUrlCache || media.origin !== manifest.serverName;
    if (sha256 === null && isCopy) continue;
    if (sha256 === null) problems.push(`The file of ${name} is missing`);
    else if (media.sha256 !== null && media.sha256 !== sha256) problems.push(`The file of ${name} has been changed`);
    count++;
  }
  return { count, problems };
}

async function base64Hash(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const chunk of file.readable) hash.update(chunk);
  return hash.digest("base64url");
}
