/** Files that commands write: never over an existing one, and secrets readable by owner and group only. */
import { dirname } from "node:path";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { UsageError } from "./command.ts";

/** Permissions of files with secrets. */
export const SECRET_MODE = 0o640;

/** Whether something exists at the path. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new StartupError(`Cannot look for ${path}: ${reasonOf(error)}`);
  }
}

/** Makes a file, and the folder it is in; throws when there is one already. */
export async function writeNewFile(path: string, { text, mode }: { text: string; mode: number }): Promise<void> {
  try {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(path, text, { createNew: true, mode });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw new StartupError(`${path} exists already`);
    throw new StartupError(`Cannot write ${path}: ${reasonOf(error)}`);
  }
}

/** Makes a folder unless it is there. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw new StartupError(`Cannot make the folder ${path}: ${reasonOf(error)}`);
  }
}

/** Throws `UsageError` for a file of the command line that cannot be opened, as Python's argparse does. */
export async function requireFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    try {
      (await Deno.open(path)).close();
    } catch (error) {
      throw new UsageError(`cannot open ${path}: ${reasonOf(error)}`);
    }
  }
}

/** Reads a text file; throws one sentence when it cannot. */
export async function readTextFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
}
