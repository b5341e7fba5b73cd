/**
 * Runs Complement against this server and keeps the result in tests/complement.tsv: `make complement`.
 *
 *   run.ts [--run REGEX] [--timeout 30m] [--keep] [--verbose] [PACKAGE …]
 *
 * Packages are those of Complement, `./tests/csapi` and `./tests` when none is named. COMPLEMENT_DIR is a checkout of
 * github.com/matrix-org/complement, COMPLEMENT_SHIM the Docker stand-in (../shared/complement/docker-shim.mjs).
 * Needs root (mount namespaces), Go and openssl. Exit code 1 when a test passed before and does not now.
 */
import { parseArgs } from "node:util";
import { endChildrenOnSignals, RunningProcess } from "../harness/process.ts";
import { countTopLevel, formatStanding, mergeStanding, parseGoTest, parseStanding } from "./standing.ts";

const STANDING_FILE = "tests/complement.tsv";
const DEFAULT_PACKAGES: readonly string[] = ["./tests/csapi", "./tests"];
const SOCKET_TIMEOUT_MS = 10_000;

interface Settings {
  readonly packages: readonly string[];
  readonly run: string | undefined;
  readonly timeout: string;
  readonly keep: boolean;
  readonly verbose: boolean;
}

function readSettings(): Settings {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      run: { type: "string" },
      timeout: { type: "string", default: "40m" },
      keep: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
  return { ...values, run: values.run, packages: positionals.length > 0 ? positionals : DEFAULT_PACKAGES };
}

async function requirePath(path: string, hint: string): Promise<string> {
  return await Deno.realPath(path).catch(() => {
    throw new Error(`${path} does not exist: ${hint}`);
  });
}

/** Starts the stand-in for Docker and resolves once its socket is there. */
async function startShim(folder: string, keep: boolean): Promise<RunningProcess> {
  const shim = Deno.env.get("COMPLEMENT_SHIM") ?? "../shared/complement/docker-shim.mjs";
  const start = await requirePath("tests/complement/start.sh", "run from the project's root");
  const script = await requirePath(shim, "set COMPLEMENT_SHIM");
  const socket = `${folder}/docker.sock`;
  // Without `exec` the stand-in waits for a shell that ends at once when it is told to stop, and then starts the next
  // server, or copies the data, while this one is still ending.
  const args = [script, "--socket", socket, "--image", `hs=exec ${start}`, "--root", `${folder}/containers`];
  const running = new RunningProcess("node", { args: keep ? [...args, "--keep"] : args });
  const end = performance.now() + SOCKET_TIMEOUT_MS;
  while (!await Deno.stat(socket).then(() => true, () => false)) {
    if (performance.now() > end) throw new Error(`the Docker stand-in did not start: ${running.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return running;
}

/** Runs `go test -json` and returns its lines, printing the outcome of each top-level test as it ends. */
async function goTest(settings: Settings, folder: string): Promise<string[]> {
  const dir = Deno.env.get("COMPLEMENT_DIR") ?? "../tmp/complement";
  const cwd = await requirePath(dir, "set COMPLEMENT_DIR to a checkout of github.com/matrix-org/complement");
  // One package at a time: the packages of one run would share the machine and the stand-in.
  const args = ["test", "-json", "-count=1", "-vet=off", "-p=1", `-timeout=${settings.timeout}`];
  if (settings.run !== undefined) args.push(`-run=${settings.run}`);
  const command = new Deno.Command("go", {
    args: [...args, ...settings.packages],
    cwd,
    env: {
      DOCKER_HOST: `unix://${folder}/docker.sock`,
      // Complement keeps its CA there: runs side by side would put theirs in the place of each other's.
      TMPDIR: folder,
      COMPLEMENT_BASE_IMAGE: "hs",
      COMPLEMENT_ENABLE_DIRTY_RUNS: "1",
      COMPLEMENT_SPAWN_HS_TIMEOUT_SECS: "60",
      COMPLEMENT_HOSTNAME_RUNNING_COMPLEMENT: "host.docker.internal",
    },
    stdout: "piped",
    stderr: "inherit",
  });
  const lines: string[] = [];
  const child = command.spawn();
  const decoded = child.stdout.pipeThrough(new TextDecoderStream());
  let rest = "";
  for await (const chunk of decoded) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      printEvent(line, settings.verbose);
      lines.push(line);
    }
  }
  await child.status;
  return lines;
}

function printEvent(line: string, verbose: boolean): void {
  if (!line.startsWith("{")) return console.log(line);
  const { Action, Test, Elapsed, Output } = JSON.parse(line);
  if (verbose && Action === "output") console.log(String(Output).trimEnd());
  // Messages of the build and of the package itself belong to no test.
  else if (Test === undefined && (Action === "build-output" || Action === "output")) {
    console.log(String(Output).trimEnd());
  } else if (/^(pass|fail|skip)$/.test(Action) && Test !== undefined && !Test.includes("/")) {
    console.log(`${Action} ${Test} (${Elapsed} s)`);
  }
}

async function main(): Promise<number> {
  endChildrenOnSignals();
  const settings = readSettings();
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-complement-" });
  let lines: string[];
  const shim = await startShim(folder, settings.keep);
  try {
    lines = await goTest(settings, folder);
  } finally {
    await shim.stop();
    if (settings.keep) console.log(`The servers' folders are in ${folder}/containers`);
    else await Deno.remove(folder, { recursive: true });
  }
  const today = new Date().toISOString().slice(0, 10);
  const before = parseStanding(await Deno.readTextFile(STANDING_FILE).catch(() => ""));
  const results = parseGoTest(lines, today);
  const { standing, regressions, gains } = mergeStanding(before, results);
  if (results.size === 0) throw new Error("no test ran");
  await Deno.writeTextFile(STANDING_FILE, formatStanding(standing));
  for (const result of results.values()) {
    if (result.outcome === "fail") console.log(`failed: ${result.package} ${result.test}`);
  }
  for (const { package: name, test } of gains) console.log(`gained: ${name} ${test}`);
  for (const { package: name, test } of regressions) console.log(`REGRESSION: ${name} ${test}`);
  console.log(["", "This run:", ...countTopLevel(results), "", "Standing:", ...countTopLevel(standing)].join("\n"));
  return regressions.length;
}

try {
  Deno.exit(await main() === 0 ? 0 : 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
