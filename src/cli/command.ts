/**
 * What a command is. Each has its own file, which exports a `Command`; `commands.ts` lists them.
 *
 * Flags are a table, from which both the parser and the help come.
 */
import { parseArgs } from "node:util";
import { nearestName } from "../config/schema.ts";
import type { Clock } from "../lib/clock.ts";
import type { Terminal } from "../lib/terminal.ts";

/** One flag of a command. */
export interface Flag {
  readonly short?: string;
  /** Name of the value in the help; a flag without one is a switch. */
  readonly value?: string;
  readonly doc: string;
  /** Other spellings, such as Synapse's with underscores. */
  readonly aliases?: readonly string[];
  readonly choices?: readonly string[];
}

/** The flags of a command by name, without the dashes. */
export type Flags = Readonly<Record<string, Flag>>;

/** What was given on the command line. */
export interface Given {
  /** All values of each flag in order; a switch that is on is `["true"]`. */
  readonly flags: Readonly<Record<string, readonly string[]>>;
  readonly words: readonly string[];
}

/** What a command works with. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly clock: Clock;
  /** Reads an environment variable. */
  readonly env: (name: string) => string | undefined;
  /** How the program was called, for messages: `synapse-ts`. */
  readonly program: string;
}

/** One command of the program. */
export interface Command {
  readonly name: string;
  /** Other names, such as those of Synapse's scripts. */
  readonly aliases: readonly string[];
  /** One line for the list of commands. */
  readonly summary: string;
  /** What may follow the flags, for the help. */
  readonly words?: string;
  readonly flags: Flags;
  /** Does the work and returns the exit code. */
  run(given: Given, context: CommandContext): Promise<number>;
}

/** A command line that cannot be followed: printed with a pointer to the help, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Parses what follows the name of a command; throws `UsageError`. */
export function parseCommandLine(command: Command, args: readonly string[]): Given {
  const names = new Map<string, string>();
  for (const [name, { aliases = [] }] of Object.entries(command.flags)) {
    for (const spelling of [name, ...aliases]) names.set(spelling, name);
  }
  const options: Record<string, { type: "string" | "boolean"; short?: string; multiple: true }> = {};
  for (const [spelling, name] of names) {
    const { value, short } = command.flags[name] ?? {};
    const type = value === undefined ? "boolean" : "string";
    options[spelling] = { type, multiple: true, ...(short === undefined || spelling !== name ? {} : { short }) };
  }
  const { values, positionals } = parseStrictly(args, { options, names: [...names.keys()] });
  if (command.words === undefined && positionals.length > 0) {
    throw new UsageError(`unexpected ${JSON.stringify(positionals[0])}`);
  }
  const flags: Record<string, string[]> = {};
  for (const [spelling, value] of Object.entries(values)) {
    const name = names.get(spelling) ?? spelling;
    flags[name] = [...flags[name] ?? [], ...[value].flat().map(String)];
  }
  checkChoices(command, flags);
  return { flags, words: positionals };
}

function parseStrictly(
  args: readonly string[],
  { options, names }: {
    options: Record<string, { type: "string" | "boolean"; short?: string; multiple: true }>;
    names: readonly string[];
  },
): { values: Record<string, unknown>; positionals: string[] } {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(explain(error, names));
  }
}

function explain(error: unknown, names: readonly string[]): string {
  const message = error instanceof Error ? error.message : String(error);
  const unknown = /Unknown option '(-+)([^'=]*)'/.exec(message);
  if (unknown !== null) {
    const nearest = nearestName(unknown[2] ?? "", names);
    return `there is no option ${unknown[1]}${unknown[2]}${nearest === null ? "" : `; did you mean --${nearest}?`}`;
  }
  const missing = /Option '(?:-\w, )?(--[\w-]+)[^']*' argument/.exec(message);
  if (missing !== null) return `option ${missing[1]} needs a value`;
  const dashed = /Option '(-\w|--[\w-]+)' argument is ambiguous/.exec(message)?.[1];
  if (dashed !== undefined) {
    const joined = dashed.startsWith("--") ? `${dashed}=VALUE` : `${dashed}VALUE`;
    return `option ${dashed} needs a value; one that begins with a dash is given as ${joined}`;
  }
  return message.split(/[.\n]/)[0] ?? message;
}

function checkChoices(command: Command, flags: Readonly<Record<string, readonly string[]>>): void {
  for (const [name, values] of Object.entries(flags)) {
    const choices = command.flags[name]?.choices;
    const wrong = choices === undefined ? undefined : values.find((value) => !choices.includes(value));
    if (wrong !== undefined) {
      throw new UsageError(`option --${name} is ${JSON.stringify(wrong)} but must be ${choices?.join(" or ")}`);
    }
  }
}

/** Returns the last value of a flag, or null when it was not given. */
export function lastValue({ flags }: Given, name: string): string | null {
  return flags[name]?.at(-1) ?? null;
}

/** Whether a switch was given. */
export function hasFlag({ flags }: Given, name: string): boolean {
  return flags[name] !== undefined;
}

/** Returns the help of a command. */
export function helpText(command: Command, program: string): string {
  const rows = Object.entries(command.flags).map(([name, flag]) => [flagText(name, flag), flag.doc] as const);
  const all = [...rows, ["-h, --help", "Show this help."] as const];
  const width = Math.max(...all.map(([left]) => left.length));
  const words = command.words === undefined ? "" : ` ${command.words}`;
  const also = command.aliases.length === 0 ? "" : `\nAlso called ${command.aliases.join(", ")}.\n`;
  return `Usage: ${program} ${command.name} [OPTION…]${words}\n\n${command.summary}\n${also}\nOptions:\n` +
    all.map(([left, doc]) => `  ${left.padEnd(width)}  ${doc}\n`).join("");
}

function flagText(name: string, { short, value }: Flag): string {
  const dashes = `${short === undefined ? "    " : `-${short}, `}--${name}`;
  return value === undefined ? dashes : `${dashes} ${value}`;
}
