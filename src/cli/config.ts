/** `config`: checks a configuration, or shows what one of its options is, without starting the server. */
import { listOptions } from "../config/options.ts";
import { type ConfigError, loadConfig } from "../config/load.ts";
import { isMap } from "../config/schema.ts";
import { StartupError } from "../lib/startup_error.ts";
import { CONFIG_FLAG, configPaths } from "./config_flag.ts";
import { type Command, type CommandContext, type Given, UsageError } from "./command.ts";

/** The command. */
export const configCommand: Command = {
  name: "config",
  aliases: ["synapse.config"],
  summary: "Check a configuration, or show an option of it.",
  words: "[check | read KEY]",
  flags: {
    "config-path": CONFIG_FLAG,
  },
  run: runConfig,
};

async function runConfig(given: Given, { terminal, env }: CommandContext): Promise<number> {
  const [verb = "check", key, ...rest] = given.words;
  const isRead = verb === "read";
  if (!isRead && verb !== "check") throw new UsageError(`config can check or read, not ${JSON.stringify(verb)}`);
  if (rest.length > 0 || (!isRead && key !== undefined)) throw new UsageError("there are too many words");
  if (isRead && key === undefined) throw new UsageError("name the option to read");
  const paths = configPaths(given);
  let loaded;
  try {
    loaded = await loadConfig({ paths, env });
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    const problems = (error as Partial<ConfigError>).problems?.length ?? 1;
    terminal.err(`\n${error.message}\n`);
    if (problems > 1) terminal.err(`\n${problems} problems.\n`);
    return 1;
  }
  for (const warning of loaded.warnings) terminal.err(`Warning: ${warning}\n`);
  terminal.out("Config parses OK!\n");
  if (key === undefined) return 0;
  const value = readKey(loaded.given, key.split("."));
  if (value === undefined) {
    terminal.out(`\nNo '${key}' key could be found in the provided configuration file.\n`);
    return 1;
  }
  terminal.out(`\n${key}: ${typeof value === "string" ? value : JSON.stringify(value)}\n`);
  return 0;
}

/**
 * Returns the value of an option as the file would have it, with defaults put in; `undefined` for what is no option.
 *
 * A key may start with a section, as Synapse's do: `server.server_name`.
 */
function readKey(given: Readonly<Record<string, unknown>>, key: readonly string[]): unknown {
  const [first = "", ...rest] = key;
  const options = listOptions();
  const option = options.find(({ name }) => name === first);
  if (option === undefined) {
    const isSection = rest.length > 0 && options.some(({ section }) => section === first);
    return isSection ? readKey(given, rest) : undefined;
  }
  const defaults: Record<string, unknown> = {};
  for (const part of option.parts) if (!part.name.includes(".")) defaults[part.name] = part.fallback ?? null;
  const whole = given[first] ?? option.fallback ?? null;
  const filled = isMap(whole) && option.kind === "map" && option.parts.length > 0 ? { ...defaults, ...whole } : whole;
  let value: unknown = filled;
  for (const [index, name] of rest.entries()) {
    const inner = Array.isArray(value) ? value[Number(name)] : isMap(value) ? value[name] : undefined;
    const path = rest.slice(0, index + 1).join(".");
    value = inner ?? option.parts.find((part) => part.name === path)?.fallback;
    if (value === undefined) return undefined;
  }
  return value;
}
