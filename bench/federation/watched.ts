/** The server as anybody runs it, but with watch.ts in it. */
import { V8_FLAGS } from "../../packaging/v8_flags.ts";
import { ownProgram, type Program } from "../servers.ts";

/** How to run it. The watch needs to read `/proc`. */
export function watchedProgram(): Program {
  const own = ownProgram(undefined);
  const root = new URL("../..", import.meta.url).pathname;
  const watch = new URL("watch.ts", import.meta.url).pathname;
  const flags = ["run", "--no-check", "-A", V8_FLAGS, "--config", `${root}deno.json`, "--preload", watch];
  return { ...own, serve: [...flags, `${root}main.ts`, "serve"] };
}

/** Returns the most memory that a process has held since its start. */
export function peakMb(pid: number): number {
  const [, kib] = /VmHWM:\s+(\d+) kB/.exec(Deno.readTextFileSync(`/proc/${pid}/status`)) ?? [];
  return Number(kib) / 1024;
}
