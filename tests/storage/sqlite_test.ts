import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import type { Database } from "../../src/storage/database.ts";
import { DatabaseError, DatabaseStartupError } from "../../src/storage/database_error.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { raw, sql } from "../../src/storage/sql.ts";

/** Registers a test on a new SQLite file without our schema's tests around it. */
function testSqlite(name: string, body: (db: Database) => Promise<void>): void {
  Deno.test(`${name} [sqlite]`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "synapse-ts-db-" });
    try {
      await using db = await openDatabase({ sqlite: { path: `${folder}/homeserver.db` } });
      await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY, b TEXT)`));
      await body(db);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

async function selectKeys(db: Database): Promise<number[]> {
  return (await db.all<{ a: number }>(sql`SELECT a FROM t ORDER BY a`)).map(({ a }) => a);
}

testSqlite("on a full disk whoever was told of success has it, nobody else, and the server goes on", async (db) => {
  const pages = await db.get<{ page_count: number }>(sql`PRAGMA page_count`);
  await db.transaction((tx) => tx.get(raw(`PRAGMA max_page_count = ${(pages?.page_count ?? 0) + 20}`)));
  const write = (a: number, size: number) =>
    db.transaction(async (tx) => {
      await tx.run(sql`INSERT INTO t (a, b) VALUES (${a}, ${"x".repeat(size)})`);
      await tx.run(sql`INSERT INTO t (a, b) VALUES (${a + 1000}, ${"x".repeat(size)})`);
      return a;
    });
  const results = await Promise.allSettled([write(1, 10), write(2, 200_000), write(3, 10), write(4, 10)]);
  const succeeded = results.filter((result) => result.status === "fulfilled").map(({ value }) => value);
  equal(results[1]?.status, "rejected");
  for (const result of results) {
    if (result.status === "rejected") ok(result.reason instanceof DatabaseError && result.reason.kind === "full");
  }
  deepEqual(await selectKeys(db), [...succeeded, ...succeeded.map((a) => a + 1000)]);
  await write(5, 10);
  ok((await selectKeys(db)).includes(1005));
});

testSqlite("a COMMIT that fails fails everyone in it", async (db) => {
  await db.transaction((tx) =>
    tx.run(sql`
    CREATE TABLE child (a BIGINT NOT NULL REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED)`)
  );
  // A deferred constraint is looked at when the COMMIT comes, that is, too late for one transaction to fail alone.
  const results = await Promise.allSettled([
    db.transaction((tx) => tx.run(sql`INSERT INTO t (a) VALUES (1)`)),
    db.transaction((tx) => tx.run(sql`INSERT INTO child (a) VALUES (99)`)),
    db.transaction((tx) => tx.run(sql`INSERT INTO t (a) VALUES (2)`)),
  ]);
  deepEqual(results.map(({ status }) => status), ["rejected", "rejected", "rejected"]);
  deepEqual(await selectKeys(db), []);
  await db.transaction((tx) => tx.run(sql`INSERT INTO t (a) VALUES (3)`));
  deepEqual(await selectKeys(db), [3]);
});

testSqlite("writers that wait share a commit, and their callbacks run in order before they hear of it", async (db) => {
  const heard: string[] = [];
  await Promise.all(Array.from({ length: 500 }, (_, a) =>
    db.transaction(async (tx) => {
      tx.afterCommit(() => heard.push(`after ${a}`));
      await tx.run(sql`INSERT INTO t (a) VALUES (${a})`);
    }).then(() => heard.push(`done ${a}`))));
  const callbacks = heard.filter((line) => line.startsWith("after"));
  deepEqual(callbacks, Array.from({ length: 500 }, (_, a) => `after ${a}`));
  for (let a = 0; a < 500; a++) ok(heard.indexOf(`after ${a}`) < heard.indexOf(`done ${a}`));
});

testSqlite("a statement that writes is refused outside a transaction, also between two of them", async (db) => {
  const writing = () => db.get(sql`INSERT INTO t (a) VALUES (1) RETURNING a`);
  await rejects(writing, DatabaseError);
  await db.transaction(async (tx) => {
    await tx.run(sql`INSERT INTO t (a) VALUES (2)`);
    await rejects(writing, DatabaseError);
  });
  await rejects(() => db.all(sql`WITH new AS (SELECT 3 AS a) INSERT INTO t (a) SELECT a FROM new`), DatabaseError);
  deepEqual(await selectKeys(db), [2]);
});

Deno.test(
  "a new database and its log are not for everybody to read",
  { ignore: Deno.build.os === "windows" },
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "synapse-ts-db-" });
    try {
      await using _db = await openDatabase({ sqlite: { path: `${folder}/homeserver.db` } });
      for await (const { name } of Deno.readDir(folder)) {
        equal(((await Deno.stat(`${folder}/${name}`)).mode ?? 0) & 0o007, 0, name);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

Deno.test("a database in memory is refused", async () => {
  await rejects(() => openDatabase({ sqlite: { path: ":memory:" } }), DatabaseStartupError);
});

Deno.test("the log beside the file is made long at once, over what a killed server left in it [sqlite]", async () => {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-db-" });
  const path = `${folder}/homeserver.db`;
  const sizeOf = async (name: string) => (await Deno.stat(name)).size;
  try {
    await using db = await openDatabase({ sqlite: { path } });
    const length = await sizeOf(`${path}-wal`);
    ok(length > 16_000_000);
    await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY, b TEXT)`));
    await db.transaction((tx) => tx.run(sql`INSERT INTO t (a, b) VALUES (1, 'in the log only')`));
    // What the disk has when the process is killed now, with the log cut after its last frame.
    await Deno.mkdir(`${folder}/copy`);
    const copy = `${folder}/copy/homeserver.db`;
    await Deno.copyFile(path, copy);
    const log = await Deno.readFile(`${path}-wal`);
    let end = log.length;
    while (log[end - 1] === 0) end--;
    await Deno.writeFile(`${copy}-wal`, log.subarray(0, end));
    await using recovered = await openDatabase({ sqlite: { path: copy } });
    equal(await sizeOf(`${copy}-wal`), length);
    deepEqual(await selectKeys(recovered), [1]);
    await recovered.transaction((tx) => tx.run(sql`INSERT INTO t (a) VALUES (2)`));
    deepEqual(await selectKeys(recovered), [1, 2]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
