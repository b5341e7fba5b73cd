import { deepEqual, equal, rejects } from "node:assert/strict";
import { DatabaseError } from "../../src/storage/database_error.ts";
import { inList, lockRow, numberTable, sql, textTable } from "../../src/storage/sql.ts";
import { testEachDatabase } from "../harness/databases.ts";

testEachDatabase("rows come back normalized", async (db) => {
  await db.transaction(async (tx) => {
    await tx.run(sql`CREATE TABLE t (a BIGINT, b BOOLEAN, c BYTEA, d TEXT)`);
    equal(
      await tx.run(sql`INSERT INTO t VALUES (${2 ** 53 - 1}, ${true}, ${new Uint8Array([0, 255, 7])}, ${"é'\"\\"})`),
      1,
    );
    equal(await tx.run(sql`INSERT INTO t VALUES (${null}, ${false}, ${null}, ${null})`), 1);
  });
  const rows = await db.all<Record<string, unknown>>(
    sql`SELECT a, b, c, d, a IS NULL AS is_null FROM t ORDER BY is_null`,
  );
  deepEqual(rows.map((row) => ({ ...row })), [
    { a: 2 ** 53 - 1, b: true, c: new Uint8Array([0, 255, 7]), d: "é'\"\\", is_null: false },
    { a: null, b: false, c: null, d: null, is_null: true },
  ]);
  const sum = await db.get<{ s: number; n: number }>(sql`SELECT SUM(a) AS s, COUNT(*) AS n FROM t`);
  deepEqual({ ...sum }, { s: 2 ** 53 - 1, n: 2 });
  equal(await db.get(sql`SELECT a FROM t WHERE a = ${5} ${lockRow()}`), null);
});

testEachDatabase("lists are bound as one value", async (db) => {
  await db.transaction(async (tx) => {
    await tx.run(sql`CREATE TABLE t (a BIGINT, d TEXT)`);
    await tx.runMany([1, 2, 3].map((a) => sql`INSERT INTO t VALUES (${a}, ${`"{,\\${a}`})`));
  });
  const byNumber = await db.all<{ a: number }>(sql`SELECT a FROM t WHERE ${inList(sql`a`, [3, 1, 9])} ORDER BY a`);
  deepEqual(byNumber.map(({ a }) => a), [1, 3]);
  const byText = await db.all<{ a: number }>(
    sql`SELECT a FROM t WHERE ${inList(sql`d`, ['"{,\\2', "x"])} AND a < ${9}`,
  );
  deepEqual(byText.map(({ a }) => a), [2]);
  deepEqual(await db.all(sql`SELECT a FROM t WHERE ${inList(sql`a`, [])}`), []);
  const joined = await db.all<{ a: number }>(
    sql`SELECT t.a FROM ${numberTable([2, 3])} AS x JOIN t ON t.a = x.value ORDER BY t.a`,
  );
  deepEqual(joined.map(({ a }) => a), [2, 3]);
  const texts = await db.all<{ value: string }>(sql`SELECT value FROM ${textTable(["a", "b"])} AS x ORDER BY value`);
  deepEqual(texts.map(({ value }) => value), ["a", "b"]);
});

testEachDatabase("a transaction that throws leaves nothing and fails alone", async (db) => {
  await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY)`));
  const called: number[] = [];
  const results = await Promise.allSettled(
    [1, 2, 3, 2, 4].map((a, index) =>
      db.transaction(async (tx) => {
        tx.afterCommit(() => called.push(a));
        await tx.run(sql`INSERT INTO t VALUES (${a * 10 + index})`);
        await tx.run(sql`INSERT INTO t VALUES (${a})`);
        if (a === 3) throw new Error("no");
        return a;
      })
    ),
  );
  equal(results.filter(({ status }) => status === "rejected").length, 2);
  const failure = results.find((result) => result.status === "rejected" && result.reason instanceof DatabaseError);
  equal(failure?.status === "rejected" && failure.reason.kind, "conflict");
  const rows = await db.all<{ a: number }>(sql`SELECT a FROM t WHERE a < 10 ORDER BY a`);
  deepEqual(rows.map(({ a }) => a), [1, 2, 4]);
  equal((await db.all(sql`SELECT a FROM t LIMIT 100`)).length, 6);
  deepEqual(called.sort(), [1, 2, 4]);
});

testEachDatabase(
  "whichever of several transactions at once throw, first, last or all, the others are written",
  async (db) => {
    await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY)`));
    const write = (a: number, fails: boolean) =>
      db.transaction(async (tx) => {
        await tx.run(sql`INSERT INTO t VALUES (${a})`);
        if (fails) throw new Error("no");
      });
    const kept: number[] = [];
    for (let failing = 0; failing < 8; failing++) {
      const all = [0, 1, 2].map((place) => ({ a: failing * 10 + place, fails: (failing >> place) % 2 === 1 }));
      const results = await Promise.allSettled(all.map(({ a, fails }) => write(a, fails)));
      deepEqual(results.map(({ status }) => status === "rejected"), all.map(({ fails }) => fails));
      kept.push(...all.filter(({ fails }) => !fails).map(({ a }) => a));
      const rows = await db.all<{ a: number }>(sql`SELECT a FROM t ORDER BY a LIMIT 100`);
      deepEqual(rows.map(({ a }) => a), kept);
    }
  },
);

testEachDatabase("what runs again because another transaction throws has its effects once", async (db) => {
  await db.transaction((tx) => tx.run(sql`CREATE TABLE t (n BIGINT NOT NULL)`));
  await db.transaction((tx) => tx.run(sql`INSERT INTO t VALUES (0)`));
  let committed = 0;
  const add = async (count: number, failing: readonly number[]) => {
    const results = await Promise.allSettled(Array.from({ length: count }, (_, place) =>
      db.transaction(async (tx) => {
        tx.afterCommit(() => committed++);
        await tx.run(sql`UPDATE t SET n = n + 1`);
        if (failing.includes(place)) throw new Error("no");
      })));
    deepEqual(results.flatMap(({ status }, place) => status === "rejected" ? [place] : []), failing);
  };
  await add(5, [3]);
  // Those after it, some of which fail as well.
  for (let round = 0; round < 70; round++) await add(3, round % 10 === 0 ? [0, 2] : []);
  await add(6, [1, 4]);
  const written = 4 + 70 * 3 - 7 * 2 + 4;
  equal((await db.get<{ n: number }>(sql`SELECT n FROM t`))?.n, written);
  equal(committed, written);
});

testEachDatabase("reads see what a resolved transaction wrote, and not what an open one writes", async (db) => {
  await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT)`));
  const written = Promise.withResolvers<void>();
  const seen = Promise.withResolvers<void>();
  const transaction = db.transaction(async (tx) => {
    await tx.run(sql`INSERT INTO t VALUES (${1})`);
    written.resolve();
    await seen.promise;
    return (await tx.all(sql`SELECT a FROM t`)).length;
  });
  await written.promise;
  equal((await db.all(sql`SELECT a FROM t`)).length, 0);
  seen.resolve();
  equal(await transaction, 1);
  equal((await db.all(sql`SELECT a FROM t`)).length, 1);
});

testEachDatabase("a transaction cannot be used after its end", async (db) => {
  const tx = await db.transaction((tx) => Promise.resolve(tx));
  await rejects(() => tx.run(sql`CREATE TABLE t (a BIGINT)`), DatabaseError);
  await rejects(() => tx.get(sql`SELECT 1 AS a`), DatabaseError);
});

testEachDatabase("a wrong statement is a DatabaseError and the database goes on", async (db) => {
  await rejects(() => db.all(sql`SELECT nothing FROM nowhere`), DatabaseError);
  await rejects(() => db.transaction((tx) => tx.run(sql`INSERT INTO nowhere VALUES (1)`)), DatabaseError);
  const row = await db.get<{ a: number }>(sql`SELECT 1 AS a`);
  equal(row?.a, 1);
});

testEachDatabase("closing waits for the transactions that were asked for", async (db, test) => {
  await db.transaction((tx) => tx.run(sql`CREATE TABLE t (a BIGINT)`));
  const writes = Array.from({ length: 30 }, (_, a) => db.transaction((tx) => tx.run(sql`INSERT INTO t VALUES (${a})`)));
  await Promise.all(writes);
  await db[Symbol.asyncDispose]();
  await rejects(() => db.transaction((tx) => tx.run(sql`INSERT INTO t VALUES (${1})`)), DatabaseError);
  equal(test.dialect, db.dialect);
});
