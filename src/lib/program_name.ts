/** The name the program was called by. */
import { basename } from "node:path";

/** Returns the name of the program or of the symbolic link it was started through. */
export function programName(): string {
  if (!Deno.build.standalone) return "synapse-ts";
  return basename(calledAs() ?? Deno.execPath()).replace(/\.exe$/i, "");
}

/** Reads the first argument of the process, which Deno does not show, where the system shows it. */
function calledAs(): string | null {
  try {
    return Deno.readTextFileSync("/proc/self/cmdline").split("\0")[0] || null;
  } catch {
    return null;
  }
}
