/** `generate-config`: writes what a new server needs, and never over what is there. */
import { basename, dirname, resolve } from "node:path";
import { explainServerName } from "../config/checks.ts";
import { type Command, type CommandContext, type Given, hasFlag, lastValue, UsageError } from "./command.ts";
import { exists, makeFolder, SECRET_MODE, writeNewFile } from "./files.ts";
import { configText, type NewConfig } from "./generated_files.ts";
import { makeMissingFiles } from "./missing_files.ts";

/** The command. */
export const generateConfigCommand: Command = {
  name: "generate-config",
  aliases: ["generate_config"],
  summary: "Write a configuration, a signing key and a log configuration for a new server.",
  flags: {
    "server-name": {
      short: "H",
      value: "NAME",
      doc: "Domain part of user ids, such as example.org; it can never be changed.",
    },
    "config-path": { short: "c", value: "FILE", doc: "The configuration to write (homeserver.yaml)." },
    "config-directory": {
      value: "FOLDER",
      aliases: ["keys-directory", "config-dir"],
      doc: "Where the signing key and the log configuration go (beside FILE).",
    },
    "data-directory": { value: "FOLDER", aliases: ["data-dir"], doc: "Where database, media and log go (here)." },
    "report-stats": {
      value: "yes|no",
      choices: ["yes", "no"],
      doc: "Accepted as in Synapse; this server reports nothing (no).",
    },
    "open-private-ports": { doc: "Listen on all addresses, not only on this machine's own." },
    "enable-metrics": { doc: "Serve metrics on port 19090." },
    "enable-registration": { doc: "Let anyone register, without verification: for trials." },
    "no-secrets-in-config": { doc: "Put secrets into files of their own." },
    "generate-config": { doc: "Accepted as in Synapse." },
    "generate-keys": {
      aliases: ["generate-missing-configs"],
      doc: "Only make files that an existing configuration names.",
    },
  },
  run: generateConfig,
};

async function generateConfig(given: Given, { terminal }: CommandContext): Promise<number> {
  const say = (line: string) => terminal.out(`${line}\n`);
  const paths = given.flags["config-path"] ?? ["homeserver.yaml"];
  const dataDirectory = resolve(lastValue(given, "data-directory") ?? ".");
  if (hasFlag(given, "generate-keys")) {
    await makeMissingFiles(paths, { say, dataDirectory });
    return 0;
  }
  const [configPath = "", ...others] = paths;
  if (others.length > 0) throw new UsageError("--config-path can be given only once here");
  if (await exists(configPath)) {
    say(`Config file '${configPath}' already exists. Generating any missing config files.`);
    await makeMissingFiles([configPath], { say, dataDirectory });
    return 0;
  }
  const config = newConfig(given, { configPath, dataDirectory });
  say(`Generating config file ${configPath}`);
  await makeFolder(dataDirectory);
  await writeNewFile(configPath, { text: configText(config), mode: SECRET_MODE });
  await makeMissingFiles([configPath], { say, dataDirectory });
  say(
    `A config file has been generated in '${basename(configPath) === configPath ? configPath : resolve(configPath)}' ` +
      `for server name '${config.serverName}'. Please review this file and customise it to your needs.`,
  );
  return 0;
}

function newConfig(
  given: Given,
  { configPath, dataDirectory }: { configPath: string; dataDirectory: string },
): NewConfig {
  const serverName = lastValue(given, "server-name");
  if (serverName === null) throw new UsageError("--server-name is missing: the domain part of user ids");
  const wrong = explainServerName(serverName) ?? (/[A-Z]/.test(serverName) ? "it has capital letters" : null);
  if (wrong !== null) throw new UsageError(`${JSON.stringify(serverName)} is not a valid server name: ${wrong}`);
  return {
    serverName,
    configDirectory: resolve(lastValue(given, "config-directory") ?? dirname(configPath)),
    dataDirectory,
    reportStats: lastValue(given, "report-stats") === "yes",
    openPrivatePorts: hasFlag(given, "open-private-ports"),
    enableMetrics: hasFlag(given, "enable-metrics"),
    enableRegistration: hasFlag(given, "enable-registration"),
    secretsInFiles: hasFlag(given, "no-secrets-in-config"),
  };
}
