/**
 * Moving a big database from SQLite to PostgreSQL and back: `make bench-port`.
 *
 *   port_bench.ts [--executable dist/synapse-ts] [--mb 1000] [--kill-at 40]
 *
 * Each way is ended by SIGKILL once so many percent are copied, and goes on when the command is run again. At the end
 * every row of the last file is compared with the first one's. Told: the time of each way, without what the killed run
 * did and with it, the rows a second, and the most memory of the command. PostgreSQL is one of its own, with `fsync`.
 */
import { parseArgs } from "node:util";
import { endChildrenOnSignals, RunningProcess } from "../tests/harness/process.ts";
import { startPostgres } from "../tests/harness/postgres.ts";
import { firstDifference, makeContent } from "./port_content.ts";
import { ownProgram, type Program, residentMb } from "./servers.ts";

const LOOK_MS = 250;
const DATABASE = "port_bench";

interface Run {
  readonly seconds: number;
  readonly peakMb: number;
  readonly output: string;
}

/** Runs the command to its end, or kills it once `killWhen` says so. */
async function run(
  program: Program,
  { folder, args, killWhen }: { folder: string; args: readonly string[]; killWhen?: () => Promise<boolean> },
): Promise<Run & { readonly isKilled: boolean }> {
  const started = performance.now();
  const command = new RunningProcess(program.command, { args: [...program.serve.slice(0, -1), ...args], cwd: folder });
  await using _command = command;
  const ended = command.exited.then((code) => ({ code }));
  let peakMb = 0;
  for (;;) {
    const timer = new Promise<null>((resolve) => setTimeout(() => resolve(null), LOOK_MS));
    const end = await Promise.race([ended, timer]);
    const seconds = (performance.now() - started) / 1000;
    const output = command.stdout + command.stderr;
    if (end !== null) {
      if (end.code !== 0) throw new Error(`${args.join(" ")} ended with ${end.code}: ${output}`);
      return { seconds, peakMb, output, isKilled: false };
    }
    peakMb = Math.max(peakMb, await residentMb([command.pid]).catch(() => 0));
    if (await killWhen?.()) {
      await command.kill();
      return { seconds, peakMb, output, isKilled: true };
    }
  }
}

/** One way, killed in the middle and resumed. */
async function oneWay(
  program: Program,
  { name, folder, args, isHalfway }: {
    name: string;
    folder: string;
    args: readonly string[];
    isHalfway: () => Promise<boolean>;
  },
): Promise<void> {
  const killed = await run(program, { folder, args, killWhen: isHalfway });
  if (!killed.isKilled) throw new Error(`${name}: it was done before it could be killed; take more with --mb`);
  const resumed = await run(program, { folder, args });
  const rows = Number(/^(\d+) rows of \d+ tables are the same on both sides/m.exec(resumed.output)?.[1]);
  if (!(rows > 0)) throw new Error(`${name}: it did not say that both sides are the same: ${resumed.output}`);
  const seconds = killed.seconds + resumed.seconds;
  console.log(
    `${name}: ${rows} rows in ${seconds.toFixed(1)} s (killed after ${killed.seconds.toFixed(1)} s, then ` +
      `${resumed.seconds.toFixed(1)} s with the comparison), ${(rows / seconds).toFixed(0)} rows/s, at most ` +
      `${Math.max(killed.peakMb, resumed.peakMb).toFixed(0)} MB`,
  );
}

/** Bytes on the disk, by which one sees from outside how far a copy is. */
async function bytesOf(path: string): Promise<number> {
  const size = async (name: string) => (await Deno.stat(name).catch(() => null))?.size ?? 0;
  return await size(path) + await size(`${path}-wal`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      executable: { type: "string" },
      mb: { type: "string", default: "1000" },
      "kill-at": { type: "string", default: "40" },
    },
  });
  endChildrenOnSignals();
  const program = ownProgram(values.executable);
  const part = Number(values["kill-at"]) / 100;
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-port-" });
  try {
    const events = await makeContent(program, { folder, bytes: Number(values.mb) * 1e6 });
    const first = `${folder}/homeserver.db`;
    const bytes = await bytesOf(first);
    console.log(`${(bytes / 1e6).toFixed(0)} MB with ${events} events`);
    await using postgres = await startPostgres({ durable: true });
    const url = new URL(postgres.url);
    const { default: connect } = await import("postgres");
    const client = connect(postgres.url, { max: 1, onnotice: () => {} });
    await client.unsafe(`CREATE DATABASE ${DATABASE} TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'`);
    const args = { host: url.hostname, port: Number(url.port), user: url.username, dbname: DATABASE };
    const config = { server_name: "bench.localhost", database: { name: "psycopg2", args } };
    await Deno.writeTextFile(`${folder}/postgres.yaml`, JSON.stringify(config));
    const there = (file: string) => ["port-db", "--sqlite-database", file, "--postgres-config", "postgres.yaml"];
    await oneWay(program, {
      name: "SQLite to PostgreSQL",
      folder,
      args: there("homeserver.db"),
      isHalfway: async () => {
        const [row] = await client.unsafe(`SELECT pg_database_size('${DATABASE}') AS bytes`);
        return Number(row?.bytes) > bytes * part;
      },
    });
    await client.end();
    await oneWay(program, {
      name: "PostgreSQL to SQLite",
      folder,
      args: [...there("back.db"), "--to-sqlite"],
      isHalfway: async () => await bytesOf(`${folder}/back.db`) > bytes * part,
    });
    const difference = firstDifference(first, `${folder}/back.db`);
    if (difference !== null) throw new Error(`The last file is not as the first: ${difference}`);
    console.log("every row of every table came back as it was");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
Deno.exit(0);
