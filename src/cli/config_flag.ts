/** The flag by which most commands are told the configuration. */
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { type CommandContext, type Flag, type Given, UsageError } from "./command.ts";

/** `-c FILE`. */
export const CONFIG_FLAG: Flag = {
  short: "c",
  value: "FILE",
  aliases: ["config"],
  doc: "Configuration, or a folder of *.yaml files; can be given more than once, later ones win.",
};

/** Loads the configuration that `--config-path` names. Warnings are for the server and not shown. */
export async function configOf(given: Given, { env }: Pick<CommandContext, "env">): Promise<Config> {
  return (await loadConfig({ paths: configPaths(given), env })).config;
}

/** Returns what `--config-path` names. */
export function configPaths({ flags }: Given): readonly string[] {
  const paths = flags["config-path"];
  if (paths === undefined) throw new UsageError("name a configuration by -c FILE");
  return paths;
}
