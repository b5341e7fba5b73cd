/** A real PgBouncer before PostgreSQL: where connections share sessions, nothing may start. */
import { equal, match, rejects } from "node:assert/strict";
import { DatabaseStartupError } from "../../src/storage/database_error.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { openReader } from "../../src/storage/open_reader.ts";
import type { PostgresServer } from "../../src/storage/postgres_connection.ts";
import { selectServerMeta, upsertServerMeta } from "../../src/storage/server_meta.ts";
import { createEmptyDatabase, DIALECTS } from "../harness/databases.ts";
import { requireProgram } from "../harness/debian.ts";
import { freePort, waitForPort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { commandFolder } from "../cli/command_line.ts";

const ignore = !DIALECTS.includes("postgres");

interface Pooling extends AsyncDisposable {
  /** PostgreSQL by way of the proxy. */
  readonly server: PostgresServer;
}

/** Starts the proxy before a server, in one of its modes. It refuses to run as root. */
async function startPgBouncer(
  { host, port, user, database }: PostgresServer,
  { mode, more = "" }: { mode: string; more?: string },
): Promise<Pooling> {
  const program = await requireProgram("pgbouncer", "pgbouncer");
  const folder = await commandFolder();
  const own = freePort();
  await Deno.chmod(folder.path, 0o755);
  const path = await folder.write(
    "pgbouncer.ini",
    `[databases]
${database} = host=${host} port=${port} user=${user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
${more}`,
  );
  const args = Deno.uid() === 0 ? ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", program] : [];
  const proxy = new RunningProcess(Deno.uid() === 0 ? "setpriv" : program, { args: [...args, path] });
  await Promise.race([
    waitForPort(own),
    proxy.exited.then((code) => Promise.reject(new Error(`pgbouncer ended with ${code}: ${proxy.stderr}`))),
  ]);
  return {
    server: {
      host: "127.0.0.1",
      port: own,
      ...user !== undefined && { user },
      ...database !== undefined && { database },
    },
    async [Symbol.asyncDispose]() {
      await proxy.kill();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function testPooling(name: string, body: (server: PostgresServer) => Promise<void>): void {
  Deno.test(`${name} [postgres]`, { ignore }, async () => {
    await using test = await createEmptyDatabase("postgres");
    if ("postgres" in test.options) await body(test.options.postgres.server);
  });
}

const open = (server: PostgresServer) =>
  openDatabase({ postgres: { server, maxConnections: 4, claim: { waitMs: 1 } } }, { serverName: "hs.test" });

for (
  const [mode, more] of [["transaction", ""], ["transaction", "server_round_robin = 1"], ["statement", ""]] as const
) {
  testPooling(
    `a proxy with pool_mode ${mode} ${more} is refused in one sentence, and nothing is made`,
    async (server) => {
      await using pooling = await startPgBouncer(server, { mode, more });
      for (let time = 1; time <= 3; time++) {
        await rejects(() => open(pooling.server), (error) => {
          equal(error instanceof DatabaseStartupError, true, String(error));
          match(
            (error as Error).message,
            /^At 127\.0\.0\.1 port \d+ a pooling proxy .* set PgBouncer's pool_mode to session/,
          );
          return true;
        });
      }
      await rejects(() => openReader({ postgres: { server } }), /The database is empty: no server has run on it/);
    },
  );
}

testPooling("a proxy with pool_mode session serves, and holds the lock", async (server) => {
  await using pooling = await startPgBouncer(server, { mode: "session" });
  {
    await using db = await open(pooling.server);
    await db.transaction((tx) => upsertServerMeta(tx, { name: "test", value: "by the proxy" }));
    await rejects(() => open(pooling.server), /is in use by another process of this server/);
    await rejects(() => open(server), /is in use by another process of this server/);
  }
  await using db = await openDatabase({ postgres: { server, claim: { waitMs: 20_000 } } }, { serverName: "hs.test" });
  equal(await selectServerMeta(db, "test"), "by the proxy");
});
