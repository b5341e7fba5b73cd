/** Starts this program once more: in the background, or as a helper beside the server. */
import { spawn } from "node:child_process";
import process from "node:process";

/** How to start this program with other arguments: the executable itself, or Deno with the sources. */
export function ownProgram(args: readonly string[]): { readonly program: string; readonly args: readonly string[] } {
  const program = Deno.execPath();
  if (Deno.build.standalone) return { program, args };
  const main = new URL(Deno.mainModule).pathname;
  const permissions = ["net", "read", "write", "env", "sys", "run"].map((name) => `--allow-${name}`);
  return { program, args: ["run", "--quiet", "--no-check", ...permissions, main, ...args] };
}

/** What a start in the background came to. */
export interface DetachedStart {
  /** Null once it runs; else what it ended with. */
  readonly exitCode: number | null;
  readonly errors: string;
}

/**
 * Starts this program in a session of its own, and resolves when it has said `ready` or has ended.
 *
 * It keeps running when this process ends; what it writes to its console from then on goes nowhere.
 */
export function startDetached(
  args: readonly string[],
  { ready, env }: { ready: RegExp; env: Readonly<Record<string, string>> },
): Promise<DetachedStart> {
  const own = ownProgram(args);
  const child = spawn(own.program, [...own.args], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  return new Promise((resolve, reject) => {
    let output = "";
    let errors = "";
    child.once("error", reject);
    child.stderr.on("data", (chunk) => errors = (errors + String(chunk)).slice(-65_536));
    child.stdout.on("data", (chunk) => {
      output = (output + String(chunk)).slice(-65_536);
      if (!ready.test(output)) return;
      child.unref();
      resolve({ exitCode: null, errors });
    });
    child.once("close", (code) => resolve({ exitCode: code ?? 1, errors }));
  });
}
