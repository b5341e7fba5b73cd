import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { nextTurn } from "../../src/lib/turn.ts";
import type { Database } from "../../src/storage/database.ts";
import { DatabaseError, DatabaseStartupError } from "../../src/storage/database_error.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { PostgresConnection } from "../../src/storage/postgres_connection.ts";
import type { PostgresServer } from "../../src/storage/postgres_connection.ts";
import { assertFacts } from "../../src/storage/postgres_startup.ts";
import { plannedPerDialect, type Sql, sql } from "../../src/storage/sql.ts";
import { createTestDatabase, DIALECTS, type TestDatabase } from "../harness/databases.ts";

const ignore = !DIALECTS.includes("postgres");

/** Registers a test with one connection for reading and one for writing, so that it is known which one breaks. */
function testPostgres(name: string, body: (db: Database, server: PostgresServer) => Promise<void>): void {
  Deno.test(`${name} [postgres]`, { ignore }, async () => {
    await using test = await createTestDatabase("postgres");
    const server = serverOf(test);
    await using db = await openDatabase({ postgres: { server, maxConnections: 4 } });
    await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY, b BIGINT)`));
    await body(db, server);
  });
}

function serverOf({ options }: TestDatabase): PostgresServer {
  ok("postgres" in options);
  return options.postgres.server;
}

async function breakOtherConnections(server: PostgresServer): Promise<void> {
  const connection = await PostgresConnection.open(server);
  await connection.query(sql`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`);
  await connection.close();
}

testPostgres("what cannot be sent is not waited for, nor missed when the connection ends", async (_db, server) => {
  const connection = await PostgresConnection.open(server);
  await rejects(connection.query(sql`SELECT ${"a\0b"} AS a`));
  equal(connection.inFlight, 0);
  // A promise that nobody holds would fail the test here.
  await connection.close();
  await nextTurn();
});

testPostgres("a transaction whose connection breaks fails as a whole, and the next one works", async (db, server) => {
  await rejects(
    () =>
      db.transaction(async (tx) => {
        await tx.run(sql`INSERT INTO t (a) VALUES (1)`);
        await breakOtherConnections(server);
        await tx.run(sql`INSERT INTO t (a) VALUES (2)`);
      }),
    (error) => error instanceof DatabaseError && error.kind === "connection",
  );
  await db.transaction((tx) => tx.run(sql`INSERT INTO t (a) VALUES (3)`));
  deepEqual((await db.all<{ a: number }>(sql`SELECT a FROM t`)).map(({ a }) => a), [3]);
});

testPostgres("many statements under way when the connection breaks leave nothing", async (db, server) => {
  const broken = db.transaction(async (tx) => {
    await tx.run(sql`INSERT INTO t (a) VALUES (0)`);
    const many = tx.runMany(Array.from({ length: 5000 }, (_, n) => sql`INSERT INTO t (a) VALUES (${n + 1})`));
    await Promise.all([many, breakOtherConnections(server)]);
    await tx.run(sql`SELECT pg_sleep(10)`);
  });
  await rejects(() => broken, (error) => error instanceof DatabaseError);
  await db.transaction((tx) => tx.run(sql`INSERT INTO t (a) VALUES (-1)`));
  deepEqual((await db.all<{ a: number }>(sql`SELECT a FROM t`)).map(({ a }) => a), [-1]);
});

testPostgres("reads go on after connections broke", async (db, server) => {
  const count = async () => (await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM t`))?.n;
  equal(await count(), 0);
  await breakOtherConnections(server);
  deepEqual(await Promise.all(Array.from({ length: 40 }, count)), Array.from({ length: 40 }, () => 0));
});

testPostgres("transactions that lock each other out run again and both succeed", async (db) => {
  await db.transaction((tx) => tx.run(sql`INSERT INTO t (a, b) VALUES (1, 0), (2, 0)`));
  const hasFirst = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  let runs = 0;
  const change = (order: readonly number[], side: 0 | 1) =>
    db.transaction(async (tx) => {
      runs++;
      await tx.run(sql`UPDATE t SET b = b + 1 WHERE a = ${order[0] ?? 0}`);
      hasFirst[side].resolve();
      await hasFirst[side === 0 ? 1 : 0].promise;
      await tx.run(sql`UPDATE t SET b = b + 1 WHERE a = ${order[1] ?? 0}`);
    });
  await Promise.all([change([1, 2], 0), change([2, 1], 1)]);
  // The one that runs again may meet the other once more.
  ok(runs >= 3);
  deepEqual((await db.all<{ b: number }>(sql`SELECT b FROM t`)).map(({ b }) => b), [2, 2]);
});

testPostgres("a statement that is planned for its values leaves no plan behind, others do", async (db) => {
  await db.transaction(async (tx) => {
    const kept = async (query: Sql) => {
      await tx.all(query);
      return (await tx.all(sql`SELECT name FROM pg_prepared_statements WHERE statement LIKE ${"%AS marked%"}`)).length;
    };
    const postgres = sql`SELECT CAST(${1} AS INT) AS marked`;
    equal(await kept(plannedPerDialect({ sqlite: sql``, postgres })), 0);
    equal(await kept(postgres), 1);
  });
});

testPostgres("a failed statement inside a transaction cannot be committed around", async (db) => {
  await rejects(() =>
    db.transaction(async (tx) => {
      await tx.run(sql`INSERT INTO t (a) VALUES (1)`);
      await tx.run(sql`INSERT INTO t (a) VALUES (1)`).catch(() => {});
    })
  );
  deepEqual(await db.all(sql`SELECT a FROM t`), []);
});

Deno.test("PostgreSQL is refused in one sentence when it cannot serve", { ignore }, async () => {
  await using test = await createTestDatabase("postgres");
  const server = serverOf(test);
  const open = (change: Partial<PostgresServer>) => openDatabase({ postgres: { server: { ...server, ...change } } });
  const startupError = (pattern: RegExp) => (error: unknown) =>
    error instanceof DatabaseStartupError && pattern.test(error.message);
  await rejects(() => open({ database: "no_such" }), startupError(/database no_such does not exist/));
  await rejects(() => open({ port: 1 }), startupError(/cannot be reached/));
  await rejects(() => open({ user: "nobody_here" }), startupError(/refuses the login|cannot be reached/));
});

Deno.test(
  "a PostgreSQL database of another encoding or collation is refused, and an old server",
  { ignore },
  async () => {
    await using test = await createTestDatabase("postgres");
    const server = serverOf(test);
    const admin = await PostgresConnection.open(server);
    const cases: readonly (readonly [string, RegExp])[] = [
      ["LOCALE 'C.UTF-8'", /^Database has incorrect collation: 'COLLATE' is set to 'C\.UTF-8' and not 'C'[^\n]*$/],
      ["ENCODING 'SQL_ASCII' LOCALE 'C'", /^Database has incorrect encoding: 'SQL_ASCII' instead of 'UTF8'$/],
    ];
    for (const [options, reason] of cases) {
      const database = `refused_${crypto.randomUUID().slice(0, 8)}`;
      await admin.command(`CREATE DATABASE ${database} TEMPLATE template0 ${options}`);
      try {
        await rejects(
          () => openDatabase({ postgres: { server: { ...server, database } } }),
          (error) => error instanceof DatabaseStartupError && reason.test(error.message),
        );
      } finally {
        await admin.command(`DROP DATABASE ${database} WITH (FORCE)`);
      }
    }
    await admin.close();
    const old = { version: 12_22_00, encoding: "UTF8", collation: "C", ctype: "C" };
    throws(() => assertFacts(old, { allowUnsafeLocale: true }), /PostgreSQL 12 is too old: 13 is the oldest supported/);
  },
);

testPostgres("a connection keeps no answer in memory", async (_db, server) => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const connection = await PostgresConnection.open(server);
  try {
    const answers: WeakRef<object>[] = [];
    for (let index = 0; index < 50; index++) {
      answers.push(new WeakRef(await connection.query(sql`SELECT ${index} AS a`)));
    }
    await nextTurn();
    collectGarbage();
    // The driver may hold the last of them.
    ok(answers.filter((answer) => answer.deref() !== undefined).length < 5);
  } finally {
    await connection.close();
  }
});
