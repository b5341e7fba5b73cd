/** `synctl`: starts, stops and restarts servers in the background, with the arguments and messages of Synapse's. */
import process from "node:process";
import { readRawConfig } from "../config/load.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Terminal } from "../lib/terminal.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { exists } from "./files.ts";
import { ownProgram, startDetached } from "./own_program.ts";

const MAIN_PROCESS = "synapse.app.homeserver";
const GREEN = "\x1b[1;32m";
const YELLOW = "\x1b[1;33m";
const RED = "\x1b[1;31m";
const NORMAL = "\x1b[m";
const POLL_MS = 200;

/** The command. */
export const synctlCommand: Command = {
  name: "synctl",
  aliases: [],
  summary: "Start, stop or restart the server in the background.",
  words: "start|stop|restart [CONFIG_FILE]",
  flags: {
    worker: { short: "w", value: "FILE", doc: "Only the process with this worker configuration." },
    "all-processes": { short: "a", value: "FOLDER", doc: "All processes with a worker configuration in this folder." },
    "no-daemonize": { doc: "Stay in the foreground." },
  },
  run: synctl,
};

/** One server process: what it is called, by what it is configured, and where its pid is. */
interface ServerProcess {
  readonly app: string;
  readonly configFiles: readonly string[];
  readonly pidFile: string;
}

async function synctl(given: Given, context: CommandContext): Promise<number> {
  const [action, configFile = "homeserver.yaml", ...rest] = given.words;
  if (action !== "start" && action !== "stop" && action !== "restart") {
    throw new UsageError("the action must be start, stop or restart");
  }
  if (rest.length > 0) throw new UsageError("give one configuration file at most");
  const { terminal } = context;
  const [worker, folder] = [lastValue(given, "worker"), lastValue(given, "all-processes")];
  const isDetached = !hasFlag(given, "no-daemonize");
  if (folder !== null && worker !== null) return refuse(terminal, 'Cannot use "--worker" with "--all-processes"');
  if (folder !== null && !isDetached) return refuse(terminal, 'Cannot use "--no-daemonize" with "--all-processes"');
  if (!await exists(configFile)) return refuse(terminal, missingConfig(configFile, context.program));
  const processes = await listProcesses(configFile, { worker, folder });
  if (action !== "start") await stopAll(processes, context);
  if (action === "stop") return 0;
  let code = 0;
  for (const one of processes) if (!await startOne(one, { isDetached, terminal })) code = 1;
  return code;
}

function missingConfig(configFile: string, program: string): string {
  const name = program === "synctl" ? "synapse-ts" : program;
  return `Config file ${configFile} does not exist.\nTo generate a config file, run:\n` +
    `    ${name} -c ${configFile} --generate-config --server-name=<server name> --report-stats=<yes/no>\n`;
}

async function listProcesses(
  configFile: string,
  { worker, folder }: { worker: string | null; folder: string | null },
): Promise<ServerProcess[]> {
  const { raw } = await readRawConfig([configFile]);
  const workerFiles = worker !== null ? [worker] : folder !== null ? await listYamlFiles(folder) : [];
  if (worker !== null && !await exists(worker)) throw new StartupError(`No worker config found at '${worker}'`);
  if (worker === null && folder === null) {
    return [{
      app: MAIN_PROCESS,
      configFiles: [configFile],
      pidFile: pidFileOf(raw, { option: "pid_file", file: configFile }),
    }];
  }
  const processes: ServerProcess[] = [];
  for (const file of workerFiles) {
    const { raw: own } = await readRawConfig([file]);
    const app = own.worker_app;
    if (typeof app !== "string") throw new StartupError(`${file} has no "worker_app"`);
    const isMain = app === MAIN_PROCESS;
    if (isMain && Object.keys(own).some((key) => key !== "worker_app" && key.startsWith("worker_"))) {
      throw new StartupError(`${file}: Main process cannot use worker_* config`);
    }
    const pidFile = isMain
      ? pidFileOf({ ...raw, ...own }, { option: "pid_file", file })
      : pidFileOf(own, { option: "worker_pid_file", file });
    processes.push({ app, configFiles: [configFile, file], pidFile });
  }
  return processes;
}

async function listYamlFiles(folder: string): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(folder));
    return entries.filter(({ name }) => name.endsWith(".yaml")).map(({ name }) => `${folder}/${name}`).sort();
  } catch {
    throw new StartupError(`No worker config directory found at '${folder}'`);
  }
}

function pidFileOf(
  raw: Readonly<Record<string, unknown>>,
  { option, file }: { option: string; file: string },
): string {
  const path = raw[option];
  if (typeof path !== "string") {
    throw new StartupError(`${file} has no "${option}", by which a running server is found`);
  }
  return path;
}

async function stopAll(processes: readonly ServerProcess[], { terminal, clock }: CommandContext): Promise<void> {
  const stopped: number[] = [];
  for (const one of processes) {
    const pid = await stopOne(one, terminal);
    if (pid !== null) stopped.push(pid);
  }
  if (stopped.length === 0) return;
  terminal.out("Waiting for processes to exit...\n");
  for (const pid of stopped) while (await isRunning(pid)) await clock.sleep(POLL_MS);
  terminal.out("All processes exited\n");
}

async function stopOne({ app, pidFile }: ServerProcess, terminal: Terminal): Promise<number | null> {
  const pid = await readPid(pidFile);
  if (pid === null) {
    const hint = "The process might be managed by another controller (e.g. systemd)";
    say(terminal, { text: `No running worker of ${app} found (from ${pidFile})\n${hint}`, colour: YELLOW });
    return null;
  }
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if ((error as { code?: string }).code !== "ESRCH") {
      throw new StartupError(`Cannot stop ${app}: Operation not permitted`);
    }
    say(terminal, { text: `${app} not running`, colour: YELLOW });
    return null;
  }
  say(terminal, { text: `stopped ${app}`, colour: GREEN });
  return pid;
}

async function startOne(
  { app, configFiles, pidFile }: ServerProcess,
  { isDetached, terminal }: { isDetached: boolean; terminal: Terminal },
): Promise<boolean> {
  const pid = await readPid(pidFile);
  if (pid !== null && await isRunning(pid)) {
    terminal.out(`${app} already running\n`);
    return true;
  }
  const args = ["serve", ...configFiles.flatMap((file) => ["-c", file])];
  const code = isDetached ? await startInBackground(args, terminal) : await runInForeground(args);
  const name = `${app}(${configFiles.join(",")})`;
  if (code === 0) {
    say(terminal, { text: `started ${name}`, colour: GREEN });
    return true;
  }
  const hint = isDetached ? ", or run synctl with --no-daemonize" : "";
  say(terminal, {
    text: `${name} failed to start (exit code: ${code}). Check the log file${hint}.`,
    colour: RED,
    isError: true,
  });
  return false;
}

async function startInBackground(args: readonly string[], terminal: Terminal): Promise<number> {
  // It ends by itself as soon as the server runs.
  const { exitCode, errors } = await startDetached([...args, "--daemonize"], { ready: /(?!)/, env: {} });
  terminal.err(errors);
  return exitCode ?? 0;
}

async function runInForeground(args: readonly string[]): Promise<number> {
  const own = ownProgram(args);
  const child = new Deno.Command(own.program, { args: [...own.args] }).spawn();
  return (await child.status).code;
}

async function readPid(path: string): Promise<number | null> {
  const text = await Deno.readTextFile(path).catch(() => "");
  return /^\s*\d+\s*$/.test(text) ? Number(text) : null;
}

/** Whether a process is there and no zombie: in a container nobody may collect those. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
  return !status.includes("zombie");
}

function refuse(terminal: Terminal, text: string): number {
  terminal.err(`${text}\n`);
  return 1;
}

function say(
  terminal: Terminal,
  { text, colour, isError = false }: { text: string; colour: string; isError?: boolean },
): void {
  const isColoured = (isError ? Deno.stderr : Deno.stdout).isTerminal();
  const line = isColoured ? `${colour}${text}${NORMAL}\n` : `${text}\n`;
  if (isError) terminal.err(line);
  else terminal.out(line);
}
