/** One process works on a PostgreSQL database at a time. */
import { equal, match, ok, rejects } from "node:assert/strict";
import { DatabaseError, DatabaseStartupError } from "../../src/storage/database_error.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { openReader } from "../../src/storage/open_reader.ts";
import { PostgresConnection, type PostgresServer } from "../../src/storage/postgres_connection.ts";
import { selectServerMeta, upsertServerMeta } from "../../src/storage/server_meta.ts";
import { sql } from "../../src/storage/sql.ts";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";

const ignore = !DIALECTS.includes("postgres");
/** PostgreSQL notices a moment after a connection has ended that it has. */
const PATIENCE_MS = 20_000;

function testClaim(name: string, body: (server: PostgresServer) => Promise<void>): void {
  Deno.test(`${name} [postgres]`, { ignore }, async () => {
    await using test = await createTestDatabase("postgres");
    ok("postgres" in test.options);
    await body(test.options.postgres.server);
  });
}

async function claim(
  server: PostgresServer,
  { waitMs = PATIENCE_MS, onTakenOver = () => {} }: { waitMs?: number; onTakenOver?: () => void } = {},
): Promise<Awaited<ReturnType<typeof openDatabase>>> {
  return await openDatabase({ postgres: { server, maxConnections: 2, claim: { waitMs, onTakenOver } } }, {
    serverName: "hs.test",
  });
}

async function breakConnections(server: PostgresServer): Promise<void> {
  const connection = await PostgresConnection.open(server);
  await connection.query(sql`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`);
  await connection.close();
}

testClaim("a second process is refused while the first runs, and readers are not", async (server) => {
  const first = await claim(server);
  await rejects(() => claim(server, { waitMs: 1 }), (error) => {
    ok(error instanceof DatabaseStartupError);
    match(error.message, /is in use by another process of this server/);
    return true;
  });
  await using reader = await openReader({ postgres: { server } });
  equal(await selectServerMeta(reader, "nothing"), null);
  // The first is not disturbed, and the next one has it once the first has ended.
  await first.transaction((tx) => upsertServerMeta(tx, { name: "test", value: "first" }));
  const next = claim(server);
  await first[Symbol.asyncDispose]();
  await using second = await next;
  equal(await selectServerMeta(second, "test"), "first");
});

testClaim("a process whose connections broke takes the lock again before it writes", async (server) => {
  let takenOver = 0;
  await using db = await claim(server, { onTakenOver: () => takenOver++ });
  await breakConnections(server);
  // The process learns of its lost connections one by one; the first writes may be given one that is just found broken.
  const end = performance.now() + PATIENCE_MS;
  await using reader = await openReader({ postgres: { server } });
  const isLocked = async () => {
    const row = await reader.get<{ n: number }>(sql`
      SELECT COUNT(*) AS n FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
      WHERE locktype = 'advisory' AND datname = current_database()`);
    return Number(row?.n) > 0;
  };
  while (!await isLocked()) {
    ok(performance.now() < end, "The lock was not taken again");
    await db.transaction((tx) => upsertServerMeta(tx, { name: "test", value: "again" })).catch((error) => {
      ok(error instanceof DatabaseError && error.kind === "connection", String(error));
    });
  }
  await rejects(() => claim(server, { waitMs: 1 }), DatabaseStartupError);
  equal(await selectServerMeta(db, "test"), "again");
  equal(takenOver, 0);
});

testClaim("a process that was cut off writes nothing once another has been there", async (server) => {
  let takenOver = 0;
  await using db = await claim(server, { onTakenOver: () => takenOver++ });
  await db.transaction((tx) => upsertServerMeta(tx, { name: "test", value: "first" }));
  await breakConnections(server);
  await (await claim(server))[Symbol.asyncDispose]();
  const write = () => db.transaction((tx) => upsertServerMeta(tx, { name: "test", value: "late" }));
  while (takenOver === 0) await rejects(write, DatabaseError);
  await rejects(write, /another process has taken over the database/);
  equal(takenOver, 1);
  await using reader = await openReader({ postgres: { server } });
  equal(await selectServerMeta(reader, "test"), "first");
});
