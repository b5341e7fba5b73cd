import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { stateKeyOf } from "../../src/protocol/event.ts";
import { IdAllocator } from "../../src/storage/id_blocks.ts";
import { StateKeys } from "../../src/storage/interning.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { sql } from "../../src/storage/sql.ts";
import { advanceBackfill, advanceStream, selectStreamPositions } from "../../src/storage/streams.ts";
import { testEachDatabase } from "../harness/databases.ts";

testEachDatabase("advanceStream() gives the first of the new positions", async (db) => {
  equal(await db.transaction((tx) => advanceStream(tx, "events", 3)), 1);
  equal(await db.transaction((tx) => advanceStream(tx, "events", 1)), 4);
  equal(await db.transaction((tx) => advanceStream(tx, "receipts")), 1);
  equal(await db.transaction((tx) => advanceBackfill(tx, 2)), -1);
  equal(await db.transaction((tx) => advanceBackfill(tx, 1)), -3);
  const positions = await selectStreamPositions(db);
  equal(positions.get("events"), 4);
  equal(positions.get("to_device"), 0);
});

testEachDatabase("advanceStream() refuses a stream out of order and gives nothing back after a failure", async (db) => {
  await rejects(
    () =>
      db.transaction(async (tx) => {
        await advanceStream(tx, "receipts");
        await advanceStream(tx, "events");
      }),
    /must be taken before/,
  );
  equal(await db.transaction((tx) => advanceStream(tx, "receipts")), 1);
});

testEachDatabase("positions become visible in order, without gaps, whoever commits first", async (db) => {
  await db.transaction((tx) => tx.run(sql`CREATE TABLE t (position BIGINT NOT NULL PRIMARY KEY)`));
  let isDone = false;
  const watch = (async () => {
    while (!isDone) {
      const row = await db.get<{ n: number; last: number | null }>(
        sql`SELECT COUNT(*) AS n, MAX(position) AS last FROM t`,
      );
      equal(row?.n, row?.last ?? 0);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  })();
  await Promise.all(Array.from({ length: 60 }, (_, n) =>
    db.transaction(async (tx) => {
      const position = await advanceStream(tx, "events");
      await tx.run(sql`INSERT INTO t (position) VALUES (${position})`);
      if (n % 7 === 0) throw new Error("rolled back");
    }).catch(() => null)));
  isDone = true;
  await watch;
});

testEachDatabase("ids are given once, across allocators and processes", async (db, test) => {
  const other = test.dialect === "postgres" ? await openDatabase(test.options) : db;
  const allocators = [db, other].map((each) => new IdAllocator({ db: each, sequence: "event", blockSize: 7 }));
  const ids = (await Promise.all(allocators.flatMap((allocator) =>
    Array.from({ length: 50 }, async () => {
      const [three, one] = await Promise.all([allocator.take(3), allocator.next()]);
      return [...three, one, await allocator.next()];
    })
  ))).flat();
  equal(new Set(ids).size, ids.length);
  ok(ids.every((id) => Number.isSafeInteger(id) && id > 0));
  equal(ids.length, 500);
  if (other !== db) await other[Symbol.asyncDispose]();
});

testEachDatabase("tryNext() gives what is in memory only", async (db) => {
  const allocator = new IdAllocator({ db, sequence: "room" });
  equal(allocator.tryNext(), null);
  equal((await allocator.take(1500)).length, 1500);
  equal(await allocator.next(), 1501);
  equal(allocator.tryNext(), 1502);
});

testEachDatabase("state keys get one number each, from whichever side they come", async (db) => {
  const make = () => new StateKeys({ db, ids: new IdAllocator({ db, sequence: "state_key", blockSize: 5 }) });
  const [one, two] = [make(), make()];
  const keys = [["m.room.create", ""], ["m.room.member", "@a:b"], ["m.room.member", "@c:d"], ["m.room.create", "@a:b"]]
    .map(([type = "", stateKey = ""]) => stateKeyOf(type, stateKey));
  equal(await one.nidOf("m.room.create", ""), null);
  const [first, second] = await Promise.all([one.intern(keys), two.intern(keys.slice(1))]);
  equal(new Set(first.values()).size, 4);
  for (const [key, nid] of second) equal(first.get(key), nid);
  equal(await two.nidOf("m.room.create", ""), first.get(stateKeyOf("m.room.create", "")));
  const back = await make().keysOf([...first.values(), 99999]);
  deepEqual(new Set(back.values()), new Set(keys));
  const [key = stateKeyOf("", "")] = keys;
  equal(one.peekNid(key), first.get(key));
});
