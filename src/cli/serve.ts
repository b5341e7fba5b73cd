/** `serve`: runs the server until it is told to stop. */
import { loadConfig } from "../config/load.ts";
import { loadLogConfig } from "../config/log_config.ts";
import type { Config } from "../config/config.ts";
import { flushLogs, getLogger, type LogOutput, setLogRoutes } from "../lib/log.ts";
import { sentryOutput, withOutput } from "../lib/sentry.ts";
import { ServiceManager } from "../lib/service_manager.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Terminal } from "../lib/terminal.ts";
import { VERSION } from "../lib/version.ts";
import type { RunningServer } from "../server.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { makeMissingFiles } from "./missing_files.ts";
import { startDetached } from "./own_program.ts";
import { waitForStop } from "./signals.ts";

const STOP_LIMIT_MS = 9_000;
/** Set for the process that was started in the background, which must not do the same again. */
const IN_BACKGROUND = "SYNAPSE_TS_IN_BACKGROUND";

/** The command. */
export const serveCommand: Command = {
  name: "serve",
  aliases: ["synapse_homeserver", "run"],
  summary: "Run the server.",
  flags: {
    "config-path": {
      short: "c",
      value: "FILE",
      aliases: ["config"],
      doc: "Configuration, or a folder of *.yaml files; can be given more than once, later ones win.",
    },
    "config-directory": { value: "FOLDER", aliases: ["keys-directory"], doc: "Accepted as in Synapse; no effect." },
    "data-directory": { value: "FOLDER", doc: "Where a missing log configuration logs to (here)." },
    "generate-missing-and-run": { doc: "Accepted as in Synapse; it is always done." },
    daemonize: { short: "D", doc: "Go to the background once the server runs." },
    "print-pidfile": { doc: "Print the path of the pid file." },
    "no-redirect-stdio": { short: "n", doc: "Accepted as in Synapse; nothing is redirected." },
  },
  run: serve,
};

async function serve(given: Given, { terminal, env, clock }: CommandContext): Promise<number> {
  const paths = given.flags["config-path"];
  if (paths === undefined) {
    throw new UsageError("name a configuration by -c FILE; generate-config --server-name NAME makes one");
  }
  await makeMissingFiles(paths, {
    say: (line) => terminal.err(`${line}\n`),
    dataDirectory: lastValue(given, "data-directory") ?? ".",
  });
  const { config, warnings } = await loadConfig({ paths, env });
  if (hasFlag(given, "daemonize") || (config.server.daemonize && env(IN_BACKGROUND) === undefined)) {
    return await goToBackground(paths, { config, terminal });
  }
  for (const warning of warnings) terminal.err(`Warning: ${warning}\n`);
  const errorReports = openErrorReports(config);
  await applyLogConfig(config, { terminal, errorReports });
  if ((hasFlag(given, "print-pidfile") || config.server.printPidfile) && config.server.pidFile !== null) {
    terminal.out(`${config.server.pidFile}\n`);
  }
  using manager = new ServiceManager({ clock, env });
  try {
    return await runServer(config, { terminal, paths, manager, env, errorReports });
  } finally {
    await flushLogs();
  }
}

async function goToBackground(
  paths: readonly string[],
  { config, terminal }: { config: Config; terminal: Terminal },
): Promise<number> {
  if (config.server.pidFile === null) {
    throw new StartupError('To run in the background the server needs "pid_file", so that it can be stopped');
  }
  const args = ["serve", ...paths.flatMap((path) => ["-c", path])];
  const { exitCode, errors } = await startDetached(args, {
    ready: / serves .* on /,
    env: { [IN_BACKGROUND]: "1" },
  });
  terminal.err(errors);
  return exitCode ?? 0;
}

/** Where lines of the log go besides, and where warnings about its configuration go. */
interface LogPlaces {
  readonly terminal: Terminal;
  /** The option `sentry`; opened once, so that a reload loses nothing. */
  readonly errorReports: LogOutput | null;
}

function openErrorReports({ metrics: { sentry }, serverName }: Config): LogOutput | null {
  if (sentry === null || sentry.dsn === null) return null;
  return sentryOutput({ dsn: sentry.dsn, environment: sentry.environment, serverName });
}

async function applyLogConfig(config: Config, { terminal, errorReports }: LogPlaces): Promise<void> {
  const { routes, warnings } = await loadLogConfig(config.logConfigPath);
  for (const warning of warnings) terminal.err(`Warning: ${warning}\n`);
  await setLogRoutes(errorReports === null ? routes : withOutput(routes, errorReports));
}

async function runServer(
  config: Config,
  { terminal, paths, manager, env, errorReports }: Pick<CommandContext, "env"> & LogPlaces & {
    paths: readonly string[];
    manager: ServiceManager;
  },
): Promise<number> {
  const log = getLogger("synapse.app");
  let running: RunningServer | null = null;
  // Before the start, so that a signal in the midst of it stops the server in order too.
  const stopped = waitForStop({
    onReload: async () => {
      await manager.reloading();
      await reload({ paths, env, terminal, errorReports, server: running });
      await manager.reloaded();
    },
  });
  const server = await start(config);
  running = server;
  await writePidFile(config.server.pidFile, terminal);
  log.info("Server started", { version: VERSION, server_name: config.serverName });
  announce(config, { terminal, addresses: server.addresses, paths });
  await manager.ready();
  const signal = await Promise.race([stopped, server.takenOver.then(() => null)]);
  if (signal === null) {
    log.error("Another process has taken over the database: this one ends");
    return 1;
  }
  await manager.stopping();
  log.info("Server stopping", { signal });
  const isStopped = await Promise.race([
    server.stop().then(() => true),
    new Promise<boolean>((resolve) => setTimeout(() => resolve(false), STOP_LIMIT_MS)),
  ]);
  if (!isStopped) log.warn("Not everything stopped in time", { limit_ms: STOP_LIMIT_MS });
  await removePidFile(config.server.pidFile);
  log.info("Server stopped");
  return 0;
}

/** Takes over what a running server can; a configuration that is wrong changes nothing. */
async function reload(
  { paths, env, terminal, errorReports, server }: Pick<CommandContext, "env"> & LogPlaces & {
    paths: readonly string[];
    server: RunningServer | null;
  },
): Promise<void> {
  const log = getLogger("synapse.app");
  try {
    const { config } = await loadConfig({ paths, env });
    await applyLogConfig(config, { terminal, errorReports });
    await server?.reload(config);
    log.info("Configuration reloaded");
  } catch (error) {
    log.error("The configuration cannot be reloaded; the one before stays in force", { error });
  }
}

async function start(config: Config): Promise<RunningServer> {
  // Loaded here, so that the other commands start without the whole server.
  const { startServer } = await import("../server.ts");
  try {
    return await startServer(config);
  } catch (error) {
    throw asStartupError(error);
  }
}

function asStartupError(error: unknown): unknown {
  if (error instanceof StartupError || !(error instanceof Error)) return error;
  if (error.name.endsWith("StartupError")) return new StartupError(error.message);
  return new StartupError(`Cannot start: ${reasonOf(error)}`);
}

function announce(
  config: Config,
  { terminal, addresses, paths }: { terminal: Terminal; addresses: readonly string[]; paths: readonly string[] },
): void {
  terminal.out(`synapse-ts ${VERSION} serves ${config.serverName} on ${addresses.join(", ") || "no address"}\n`);
  const files = paths.map((path) => `-c ${path}`).join(" ");
  if (config.registration.registrationSharedSecret !== null) {
    terminal.out(`To register a user: synapse-ts register-user ${files}\n`);
  }
}

async function writePidFile(path: string | null, terminal: Terminal): Promise<void> {
  if (path === null) return;
  try {
    await Deno.writeTextFile(path, `${Deno.pid}\n`);
  } catch (error) {
    terminal.err(`Warning: cannot write the pid file ${path}: ${reasonOf(error)}\n`);
  }
}

async function removePidFile(path: string | null): Promise<void> {
  if (path === null) return;
  const text = await Deno.readTextFile(path).catch(() => "");
  if (text.trim() === String(Deno.pid)) await Deno.remove(path).catch(() => undefined);
}
