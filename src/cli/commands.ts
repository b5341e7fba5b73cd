/** The list of commands, and how a command line finds its command. To add a command, add its file to the list. */
import { nearestName } from "../config/schema.ts";
import { StartupError } from "../lib/startup_error.ts";
import { Interrupted } from "../lib/terminal.ts";
import { VERSION } from "../lib/version.ts";
import { type Command, type CommandContext, helpText, parseCommandLine, UsageError } from "./command.ts";
import { backupCommand } from "./backup.ts";
import { configCommand } from "./config.ts";
import { diskCommand } from "./disk.ts";
import { doctorCommand } from "./doctor.ts";
import { exportDataCommand } from "./export_data.ts";
import { exportSigningKeyCommand } from "./export_signing_key.ts";
import { generateConfigCommand } from "./generate_config.ts";
import { generateLogConfigCommand } from "./generate_log_config.ts";
import { generateSigningKeyCommand } from "./generate_signing_key.ts";
import { hashPasswordCommand } from "./hash_password.ts";
import { MEDIA_CHILD, mediaChild } from "./media_child.ts";
import { portDbCommand } from "./port_db.ts";
import { registerUserCommand } from "./register_user.ts";
import { restoreCommand } from "./restore.ts";
import { reviewRecentSignupsCommand } from "./review_recent_signups.ts";
import { serveCommand } from "./serve.ts";
import { synctlCommand } from "./synctl.ts";
import { updateDatabaseCommand } from "./update_database.ts";

const COMMANDS: readonly Command[] = [
  generateConfigCommand,
  serveCommand,
  configCommand,
  registerUserCommand,
  hashPasswordCommand,
  generateSigningKeyCommand,
  exportSigningKeyCommand,
  generateLogConfigCommand,
  synctlCommand,
  updateDatabaseCommand,
  reviewRecentSignupsCommand,
  exportDataCommand,
  portDbCommand,
  backupCommand,
  restoreCommand,
  doctorCommand,
  diskCommand,
];

/** Switches by which Synapse's one program is told to generate in place of serving. */
const GENERATE_SWITCHES: readonly string[] = ["--generate-config", "--generate-keys", "--generate-missing-configs"];

/**
 * Runs the command that `args` name and returns the exit code.
 *
 * The program's own name may be a command too, so that a symbolic link `hash_password` works. Without a command the flags
 * are those of Synapse's program: `--generate-config …` generates, everything else serves.
 */
export async function runCli(args: readonly string[], context: CommandContext): Promise<number> {
  const { terminal } = context;
  try {
    return await dispatch(args, context);
  } catch (error) {
    if (error instanceof UsageError) {
      const stop = error.message.endsWith("?") ? "" : ".";
      terminal.err(`${context.program}: ${error.message}${stop} See ${context.program} --help.\n`);
      return 2;
    }
    if (error instanceof Interrupted) return 130;
    terminal.err(`${sentence(error)}\n`);
    return 1;
  }
}

async function dispatch(args: readonly string[], context: CommandContext): Promise<number> {
  if (args[0] === MEDIA_CHILD) return await mediaChild();
  const linked = findCommand(context.program);
  if (linked !== null) return await runCommand(linked, { args, context });
  const [first] = args;
  if (first === undefined || first === "help" || first === "--help" || first === "-h") return help(args, context);
  if (first === "version" || first === "--version" || first === "-V") {
    context.terminal.out(`synapse-ts ${VERSION}\n`);
    return 0;
  }
  if (first.startsWith("-")) {
    const generates = args.some((arg) => GENERATE_SWITCHES.includes(arg));
    return await runCommand(generates ? generateConfigCommand : serveCommand, { args, context });
  }
  const command = findCommand(first);
  if (command === null) throw new UsageError(unknownCommand(first));
  return await runCommand(command, { args: args.slice(1), context });
}

async function runCommand(
  command: Command,
  { args, context }: { args: readonly string[]; context: CommandContext },
): Promise<number> {
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  if (own.includes("--help") || own.includes("-h")) {
    context.terminal.out(helpText(command, findCommand(context.program) === null ? context.program : "synapse-ts"));
    return 0;
  }
  return await command.run(parseCommandLine(command, args), context);
}

function findCommand(name: string): Command | null {
  return COMMANDS.find((command) => command.name === name || command.aliases.includes(name)) ?? null;
}

function unknownCommand(name: string): string {
  const names = COMMANDS.flatMap((command) => [command.name, ...command.aliases]);
  const nearest = nearestName(name, [...names, "help", "version"]);
  return `there is no command ${JSON.stringify(name)}${nearest === null ? "" : `; did you mean "${nearest}"?`}`;
}

function help([, name]: readonly string[], { terminal, program }: CommandContext): number {
  if (name !== undefined) {
    const command = findCommand(name);
    if (command === null) throw new UsageError(unknownCommand(name));
    terminal.out(helpText(command, program));
    return 0;
  }
  const width = Math.max(...COMMANDS.map((command) => command.name.length));
  const rows = COMMANDS.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}\n`).join("");
  terminal.out(
    `synapse-ts ${VERSION}: a Matrix homeserver\n\nUsage: ${program} COMMAND [OPTION…]\n\nCommands:\n${rows}` +
      `  ${"version".padEnd(width)}  Show the version.\n\nMore about one: ${program} COMMAND --help\n`,
  );
  return 0;
}

/** Returns what went wrong without a stack trace. */
function sentence(error: unknown): string {
  if (error instanceof StartupError) return error.message;
  if (!(error instanceof Error)) return String(error);
  return error.message.split("\n")[0] || error.name;
}
