/**
 * What Linux tells of this process and the machine, in /proc and /sys.
 *
 * Deno closes both to a program with named permissions, its own part of them too, whatever paths are allowed. So a shell
 * looks, whose parent is this process. Elsewhere than on Linux, and where there is no shell, nothing is known.
 */

/** Counts of file descriptors. */
export interface OpenFiles {
  readonly open: number;
  readonly max: number;
}

/** The count leaves out nothing: `ls` and `wc` are processes of their own. */
const COUNT = 'ls "/proc/$PPID/fd" | wc -l; sed -n "s/^Max open files *\\([0-9]*\\).*/\\1/p" "/proc/$PPID/limits"';
const READ = 'exec cat "$1"';

let counting: Promise<OpenFiles | null> | null = null;

/** Counts what this process has open and may have; null where nothing is known. Calls at the same time share one look. */
export function countOpenFiles(): Promise<OpenFiles | null> {
  counting ??= look(COUNT).then(parseCounts).finally(() => counting = null);
  return counting;
}

/** Reads a file; empty where there is none. Of `/proc/self` it is what the reader has, which inherits the limits. */
export function readSystemFile(path: string): Promise<string> {
  return look(READ, path);
}

function parseCounts(text: string): OpenFiles | null {
  const [open, max] = text.trim().split(/\s+/).map(Number);
  return open !== undefined && max !== undefined && open > 0 && max > 0 ? { open, max } : null;
}

async function look(script: string, ...args: readonly string[]): Promise<string> {
  if (Deno.build.os !== "linux") return "";
  try {
    const { stdout } = await new Deno.Command("/bin/sh", {
      args: ["-c", script, "sh", ...args],
      stdin: "null",
      stderr: "null",
    }).output();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}
