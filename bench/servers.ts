/**
 * Starts the servers of a comparison, each on an empty SQLite database of its own, with rate limits off and cheap
 * password hashing (accounts are made by the hundred and are not what is measured).
 */
import { freePort } from "../tests/harness/ports.ts";
import { V8_FLAGS } from "../packaging/v8_flags.ts";
import { RunningProcess, runProcess } from "../tests/harness/process.ts";

const START_TIMEOUT_MS = 120_000;
/** The name of the measured server. */
export const SERVER_NAME = "bench.localhost";
/** By which load.mjs registers its users. */
export const REGISTRATION_SECRET = "bench-registration-secret";

/** How to run one server; `args` precede the configuration flags. */
export interface Program {
  readonly name: string;
  readonly command: string;
  /** Arguments that make it write homeserver.yaml into the working folder. */
  readonly generate: readonly string[];
  readonly serve: readonly string[];
}

/** A server that answers. */
export interface Server {
  readonly url: string;
  readonly process: RunningProcess;
  /** From starting the program to its first answer. */
  readonly startMs: number;
}

/** This server, from the sources or from an executable. */
export function ownProgram(executable: string | undefined): Program {
  const root = new URL("..", import.meta.url).pathname;
  const permissions = ["net", "read", "write", "env", "sys", "run"].map((name) => `--allow-${name}`);
  const source = ["run", "--no-check", V8_FLAGS, "--config", `${root}deno.json`, ...permissions, `${root}main.ts`];
  const before = executable === undefined ? source : [];
  return {
    name: "synapse-ts",
    command: executable === undefined ? Deno.execPath() : Deno.realPathSync(executable),
    generate: [...before, "generate-config", "--server-name", SERVER_NAME, "--report-stats", "no"],
    serve: [...before, "serve"],
  };
}

/** Synapse from a Python virtual environment. */
export function synapseProgram(venv: string): Program {
  const start = ["-m", "synapse.app.homeserver"];
  const generate = ["--generate-config", "--server-name", SERVER_NAME, "--report-stats", "no", "-c", "homeserver.yaml"];
  return {
    name: "Synapse",
    command: `${Deno.realPathSync(venv)}/bin/python`,
    generate: [...start, ...generate],
    serve: start,
  };
}

/** Makes an empty folder with the program's own configuration and ours over it. Returns the port to listen on. */
export async function prepare(
  program: Program,
  { folder, config = {} }: { folder: string; config?: Readonly<Record<string, unknown>> },
): Promise<number> {
  const { code, stdout, stderr } = await runProcess(program.command, { args: program.generate, cwd: folder });
  if (code !== 0) throw new Error(`${program.name} did not write its configuration:\n${stdout}${stderr}`);
  const port = freePort();
  const over = {
    listeners: [{
      port,
      type: "http",
      tls: false,
      bind_addresses: ["127.0.0.1"],
      resources: [{ names: ["client"] }],
    }],
    registration_shared_secret: REGISTRATION_SECRET,
    bcrypt_rounds: 4,
    trusted_key_servers: [],
    ...config,
  };
  await Deno.writeTextFile(`${folder}/over.yaml`, JSON.stringify(over));
  await Deno.copyFile(new URL("../tests/fixtures/no_rate_limits.yaml", import.meta.url), `${folder}/no_limits.yaml`);
  return port;
}

/** Starts the program in its prepared folder and waits for its first answer. */
export async function start(
  program: Program,
  { folder, port, address = "127.0.0.1" }: { folder: string; port: number; address?: string },
): Promise<Server> {
  const files = ["homeserver.yaml", "over.yaml", "no_limits.yaml"].flatMap((name) => ["-c", name]);
  const url = `http://${address}:${port}`;
  const started = performance.now();
  const process = new RunningProcess(program.command, {
    args: [...program.serve, ...files],
    cwd: folder,
    ownGroup: true,
  });
  let hasEnded = false;
  process.exited.catch(() => null).finally(() => hasEnded = true);
  for (;;) {
    const answer = await fetch(`${url}/_matrix/client/versions`).then(
      (response) => response.body?.cancel(),
      () => false,
    );
    const startMs = performance.now() - started;
    if (answer !== false) return { url, process, startMs };
    if (hasEnded || startMs > START_TIMEOUT_MS) {
      await process.kill();
      throw new Error(`${program.name} did not start:\n${process.stdout}${process.stderr}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Returns the process ids of a server: the program and all it started. */
export async function processIds(server: Server): Promise<number[]> {
  const { stdout } = await runProcess("ps", { args: ["-o", "pid=", "-g", String(server.process.pid)] });
  return stdout.trim().split(/\s+/).map(Number).filter((pid) => pid > 0);
}

/** Returns the resident memory of the processes, in MB. Asks `ps`: Deno reads nothing of /proc without all permissions. */
export async function residentMb(pids: readonly number[]): Promise<number> {
  const { stdout } = await runProcess("ps", { args: ["-o", "rss=", "-p", pids.join(",")] });
  const kib = stdout.trim().split(/\s+/).map(Number);
  const total = kib.reduce((sum, each) => sum + each, 0) / 1024;
  if (!(total > 0)) throw new Error(`ps does not know the processes ${pids.join(", ")}`);
  return total;
}
