/** Runs commands of the source tree as real processes, in a folder of their own. */
import { join } from "node:path";

const ROOT = new URL("../../", import.meta.url).pathname;
const PERMISSIONS = ["net", "read", "write", "env", "sys", "run"].map((name) => `--allow-${name}`);

/** A command that runs longer is killed, so that a server that should have refused to start does not hold a test. */
const TIME_LIMIT_MS = 30_000;

/** What a command left. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder in which commands run; it goes with the test. */
export interface CommandFolder extends AsyncDisposable {
  readonly path: string;
  run(args: readonly string[], options?: { stdin?: string; env?: Record<string, string> }): Promise<CommandResult>;
  read(name: string): Promise<string>;
  write(name: string, text: string): Promise<string>;
  /** Permission bits of a file. */
  mode(name: string): Promise<number>;
  /** Names of the files in the folder, sorted. */
  list(): Promise<string[]>;
}

/** Makes an empty folder for commands. */
export async function commandFolder(): Promise<CommandFolder> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "synapse-ts-cli-" }));
  return {
    path,
    run: (args, options = {}) => runCommand(args, { cwd: path, ...options }),
    read: (name) => Deno.readTextFile(join(path, name)),
    async write(name, text) {
      await Deno.writeTextFile(join(path, name), text);
      return join(path, name);
    },
    mode: async (name) => ((await Deno.stat(join(path, name))).mode ?? 0) & 0o777,
    list: async () => (await Array.fromAsync(Deno.readDir(path), ({ name }) => name)).sort(),
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** The arguments by which Deno runs the program from the source tree. */
export function programArgs(args: readonly string[]): string[] {
  return ["run", "--no-check", "--config", join(ROOT, "deno.json"), ...PERMISSIONS, join(ROOT, "main.ts"), ...args];
}

async function runCommand(
  args: readonly string[],
  { cwd, stdin = "", env = {} }: { cwd: string; stdin?: string; env?: Record<string, string> },
): Promise<CommandResult> {
  const child = new Deno.Command(Deno.execPath(), {
    args: programArgs(args),
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), TIME_LIMIT_MS);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin)).catch(() => undefined);
  await writer.close().catch(() => undefined);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}
