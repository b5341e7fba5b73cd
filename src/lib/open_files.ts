/** How many files this process has open and may have. */

/** Counts of file descriptors. */
export interface OpenFiles {
  readonly open: number;
  readonly max: number;
}

/** Of the parent, which is this process. The count leaves out nothing: `ls` and `wc` are processes of their own. */
const SCRIPT = 'ls "/proc/$PPID/fd" | wc -l; sed -n "s/^Max open files *\\([0-9]*\\).*/\\1/p" "/proc/$PPID/limits"';

let pending: Promise<OpenFiles | null> | null = null;

/**
 * Counts them, on Linux; null elsewhere, and where there is no shell.
 *
 * Deno closes /proc to a program with named permissions, its own part of it too, whatever paths are allowed. So a shell
 * looks. Calls at the same time share one look.
 */
export function countOpenFiles(): Promise<OpenFiles | null> {
  if (Deno.build.os !== "linux") return Promise.resolve(null);
  pending ??= look().finally(() => pending = null);
  return pending;
}

async function look(): Promise<OpenFiles | null> {
  try {
    const { stdout } = await new Deno.Command("/bin/sh", {
      args: ["-c", SCRIPT],
      stdin: "null",
      stderr: "null",
    }).output();
    const [open, max] = new TextDecoder().decode(stdout).trim().split(/\s+/).map(Number);
    return open !== undefined && max !== undefined && open > 0 && max > 0 ? { open, max } : null;
  } catch {
    return null;
  }
}
