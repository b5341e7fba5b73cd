import assert from "node:assert/strict";
import { stringify } from "yaml";
import { listTables } from "../../src/storage/catalog.ts";
import { PostgresConnection } from "../../src/storage/postgres_connection.ts";
import { sql } from "../../src/storage/sql.ts";
import { type CommandFolder, commandFolder, programArgs } from "../cli/command_line.ts";
import { path, type TestClient } from "../harness/client.ts";
import {
  createEmptyDatabase,
  createTestDatabase,
  DIALECTS,
  type TestDatabase,
  testEachDatabase,
} from "../harness/databases.ts";
import { RunningProcess } from "../harness/process.ts";
import { SERVER_NAME, TestServer } from "../harness/server.ts";
import { databaseOption } from "./operator.ts";

testEachDatabase("every table has a key, by which it can be copied", async (db) => {
  const tables = await listTables(db);
  assert.ok(tables.length > 60);
  assert.deepEqual(tables.filter(({ key }) => key.length === 0).map(({ name }) => name), []);
});

function sqlitePath({ options }: TestDatabase): string {
  return "sqlite" in options ? options.sqlite.path : "";
}

async function copiedRows({ options }: TestDatabase): Promise<number> {
  if (!("postgres" in options)) return 0;
  const connection = await PostgresConnection.open(options.postgres.server);
  try {
    const [row] = await connection.query(sql`SELECT SUM(row_count) AS n FROM port_progress`);
    return Number(row?.n ?? 0);
  } catch {
    return 0;
  } finally {
    await connection.close();
  }
}

/** Starts a port of one row at a time and kills it once it has copied `rows`. */
async function killInTheMiddle(
  folder: CommandFolder,
  { args, target, rows }: { args: readonly string[]; target: TestDatabase; rows: number },
): Promise<void> {
  const slow = programArgs([...args, "--batch-size", "1"]);
  await using port = new RunningProcess(Deno.execPath(), { args: slow, cwd: folder.path, env: { NO_COLOR: "1" } });
  const end = performance.now() + 30_000;
  while (await copiedRows(target) < rows) {
    assert.ok(performance.now() < end, port.stderr);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await port.kill();
}

if (DIALECTS.length === 2) {
  Deno.test("port-db moves a server to PostgreSQL and back, through SIGKILL, and nothing is lost", async () => {
    await using first = await createTestDatabase("sqlite");
    await using middle = await createEmptyDatabase("postgres");
    await using last = await createEmptyDatabase("sqlite");
    await using folder = await commandFolder();
    await folder.write(
      "postgres.yaml",
      stringify({ server_name: SERVER_NAME, report_stats: false, database: databaseOption(middle) }),
    );
    const hs = await TestServer.start({ database: first });
    const [alice, bob] = await hs.register("alice", "bob");
    const room = await alice.createRoom({ preset: "public_chat", name: "Ünïcode \u{1f980}" });
    await bob.join(room);
    const sent: string[] = [];
    for (let i = 0; i < 40; i++) sent.push(await alice.sendText(room, `message ${i} walrus`));
    await bob.sync();
    await hs[Symbol.asyncDispose]();

    const there = ["port-db", "--sqlite-database", sqlitePath(first), "--postgres-config", "postgres.yaml"];
    await killInTheMiddle(folder, { args: there, target: middle, rows: 150 });
    const early = await folder.run(["serve", "-c", "postgres.yaml"]);
    assert.equal(early.code, 1);
    assert.match(early.stderr, /The database is not complete: port-db was interrupted; run it again\n$/);
    const done = await folder.run(there);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /^\d+ rows of \d+ tables are the same on both sides/);
    assert.match(done.stderr, /^Copying +\[#+\] +100 %  [\d,]+\/[\d,]+ rows$/m);
    const again = await folder.run(there);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^The database to copy to is not empty: its table server_meta has rows\n$/);
    await checkServer(middle, { alice, bob, room, sent });

    const back = [...there.slice(0, 2), sqlitePath(last), ...there.slice(3), "--to-sqlite"];
    const returned = await folder.run(back);
    assert.equal(returned.code, 0, returned.stderr);
    await checkServer(last, { alice, bob, room, sent });
  });

  Deno.test("port-db refuses a source that has changed since it was interrupted, or that is in use", async () => {
    await using source = await createTestDatabase("sqlite");
    await using target = await createEmptyDatabase("postgres");
    await using folder = await commandFolder();
    await folder.write("pg.yaml", stringify({ server_name: SERVER_NAME, database: databaseOption(target) }));
    const args = ["port-db", "--sqlite-database", sqlitePath(source), "--postgres-config", "pg.yaml"];
    const start = () => TestServer.start({ database: source });
    const write = async () => {
      await using hs = await start();
      const [user] = await hs.register(`u${crypto.randomUUID().slice(0, 8)}`);
      await user?.createRoom();
    };
    await write();
    {
      await using _hs = await start();
      const busy = await folder.run(args);
      assert.equal(busy.code, 1);
      assert.match(busy.stderr, /is in use by another process/);
    }
    await killInTheMiddle(folder, { args, target, rows: 5 });
    await write();
    const changed = await folder.run(args);
    assert.equal(changed.code, 1);
    assert.match(changed.stderr, /^The source has changed since this port was begun/);
  });
}

async function checkServer(
  database: TestDatabase,
  { alice, bob, room, sent }: { alice: TestClient; bob: TestClient; room: string; sent: readonly string[] },
): Promise<void> {
  await using hs = await TestServer.start({ database });
  const [a, b] = [hs.again(alice), hs.again(bob)];
  const { chunk } = await a.get(path`/rooms/${room}/messages`, { dir: "b", limit: "100" });
  const ids = chunk.map(({ event_id }: { event_id: string }) => event_id);
  for (const id of sent) assert.ok(ids.includes(id));
  const id = await b.sendText(room, "still here");
  await a.syncUntil((response) => JSON.stringify(response).includes(id));
  const found = await a.post("/search", { search_categories: { room_events: { search_term: "walrus" } } });
  assert.equal(found.search_categories.room_events.count, sent.length);
}
