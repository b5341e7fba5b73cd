/** The name the program was called by. */
import { basename } from "node:path";
import process from "node:process";

/** Returns the name of the program, or of the symbolic link it was started through. */
export function programName(): string {
  return Deno.build.standalone ? basename(process.argv0).replace(/\.exe$/i, "") : "synapse-ts";
}
