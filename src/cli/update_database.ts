/** `update-database`: brings the database to the schema of this program without starting the server. */
import { loadConfig } from "../config/load.ts";
import { databaseOptions } from "../storage/database_options.ts";
import { MIGRATIONS } from "../storage/migrations.ts";
import { openDatabase } from "../storage/open_database.ts";
import { selectSchema } from "../storage/open_reader.ts";
import { type Command, type CommandContext, type Given, hasFlag, UsageError } from "./command.ts";

/** The command. */
export const updateDatabaseCommand: Command = {
  name: "update-database",
  aliases: ["update_synapse_database"],
  summary: "Upgrade the database without starting the server.",
  flags: {
    "database-config": {
      short: "c",
      value: "FILE",
      aliases: ["config-path"],
      doc: "Configuration that names the database, or a folder of *.yaml files; can be given more than once.",
    },
    "run-background-updates": { doc: "Accepted as in Synapse; an upgrade is always complete." },
    verbose: { short: "v", doc: "List the steps of the schema." },
  },
  run: updateDatabase,
};

async function updateDatabase(given: Given, { terminal, env }: CommandContext): Promise<number> {
  const paths = given.flags["database-config"];
  if (paths === undefined) throw new UsageError("name the configuration by -c FILE");
  const { config } = await loadConfig({ paths, env, mayLackSecretFiles: true });
  await using db = await openDatabase(databaseOptions(config.database), { serverName: config.serverName });
  const applied = await selectSchema(db);
  if (hasFlag(given, "verbose")) { for (const name of applied) terminal.out(`${name}\n`); }
  terminal.out(`The database is at schema ${MIGRATIONS.at(-1)?.name ?? "0"} (${applied.length} steps)\n`);
  return 0;
}
