/** The server as it runs for people: a process of its own, with a configuration made by `generate-config`. */
import { type CommandFolder, commandFolder, programArgs } from "../cli/command_line.ts";
import { createTestDatabase, type TestDatabase } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import type { Dialect } from "../../src/storage/sql.ts";

const NO_RATE_LIMITS = new URL("../fixtures/no_rate_limits.yaml", import.meta.url).pathname;

/** A server process that can be killed and started again on the same port and database. */
export class ServerProcess implements AsyncDisposable {
  readonly base: string;
  readonly #folder: CommandFolder;
  readonly #database: TestDatabase;
  #process: RunningProcess;

  private constructor(
    base: string,
    { folder, database, process }: { folder: CommandFolder; database: TestDatabase; process: RunningProcess },
  ) {
    this.base = base;
    this.#folder = folder;
    this.#database = database;
    this.#process = process;
  }

  /** Starts a server in a folder of its own, with more options if wanted. */
  static async start(dialect: Dialect, more: Readonly<Record<string, unknown>> = {}): Promise<ServerProcess> {
    const folder = await commandFolder();
    const database = await createTestDatabase(dialect);
    const port = freePort();
    const { code, stderr } = await folder.run(["generate-config", "--server-name", "localhost"]);
    if (code !== 0) throw new Error(stderr);
    await folder.write("test.yaml", configuration({ port, database, more }));
    return new ServerProcess(`http://127.0.0.1:${port}`, { folder, database, process: await launch(folder) });
  }

  /** Ends the server without warning, as a power failure would. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** Starts the server again after `kill`. */
  async restart(): Promise<void> {
    this.#process = await launch(this.#folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
    await this.#database[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** JSON is YAML. */
function configuration(
  { port, database: { options }, more }: {
    port: number;
    database: TestDatabase;
    more: Readonly<Record<string, unknown>>;
  },
): string {
  const database = "postgres" in options
    ? { name: "psycopg2", args: { ...options.postgres.server } }
    : { name: "sqlite3", args: { database: options.sqlite.path } };
  return JSON.stringify({
    database,
    bcrypt_rounds: 4,
    enable_registration: true,
    enable_registration_without_verification: true,
    listeners: [{ port, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client"] }] }],
    ...more,
  });
}

async function launch(folder: CommandFolder): Promise<RunningProcess> {
  const args = programArgs(["serve", "-c", "homeserver.yaml", "-c", NO_RATE_LIMITS, "-c", "test.yaml"]);
  const process = new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env: { NO_COLOR: "1" } });
  await process.waitFor(/serves localhost on/);
  return process;
}
