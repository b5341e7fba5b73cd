/** An operator's folder: a configuration file for the database of a test, and commands run in it. */
import { join } from "node:path";
import { stringify } from "yaml";
import { type CommandFolder, commandFolder } from "../cli/command_line.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { SERVER_NAME } from "../harness/server.ts";

/** A folder with `homeserver.yaml`. */
export interface OperatorFolder extends CommandFolder {
  /** Options with which a `TestServer` keeps its media where the configuration file says. */
  readonly serverConfig: Readonly<Record<string, unknown>>;
}

/** The option `database` for a test's database. */
export function databaseOption({ options }: TestDatabase): Record<string, unknown> {
  if ("sqlite" in options) return { name: "sqlite3", args: { database: options.sqlite.path } };
  return { name: "psycopg2", args: { ...options.postgres.server, cp_max: 4 } };
}

/** Makes a folder whose configuration names the database. */
export async function operatorFolder(
  database: TestDatabase,
  config: Readonly<Record<string, unknown>> = {},
): Promise<OperatorFolder> {
  const folder = await commandFolder();
  const mediaStore = join(folder.path, "media_store");
  const options = {
    server_name: SERVER_NAME,
    report_stats: false,
    database: databaseOption(database),
    media_store_path: mediaStore,
    ...config,
  };
  await folder.write("homeserver.yaml", stringify(options));
  return { ...folder, serverConfig: { media_store_path: mediaStore } };
}
