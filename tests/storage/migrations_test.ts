import { deepEqual, equal, rejects } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { UserId } from "../../src/protocol/ids.ts";
import type { Database } from "../../src/storage/database.ts";
import { DatabaseStartupError } from "../../src/storage/database_error.ts";
import { selectEventOfTransaction } from "../../src/storage/event_lookups.ts";
import { migrate } from "../../src/storage/migrate.ts";
import { MIGRATIONS } from "../../src/storage/migrations.ts";
import { type DatabaseOptions, openDatabase } from "../../src/storage/open_database.ts";
import { PostgresConnection } from "../../src/storage/postgres_connection.ts";
import { openSqlite } from "../../src/storage/sqlite_database.ts";
import { splitStatements } from "../../src/storage/split_statements.ts";
import { perDialect, Sql, sql } from "../../src/storage/sql.ts";
import { selectTransactionsOf } from "../../src/storage/timeline.ts";
import { createEmptyDatabase, createTestDatabase, DIALECTS, testEachDatabase } from "../harness/databases.ts";

interface Column {
  readonly name: string;
  readonly type: string;
  readonly is_nullable: boolean;
}

/** Full-text search: a column and its index on PostgreSQL, a virtual table on SQLite. */
const POSTGRES_ONLY: ReadonlySet<string> = new Set(["search_documents.words TSVECTOR false", "search_documents_words"]);

/** Every column of every table as `table.column type`, as the migrations spell types. */
async function describeSchema(db: Database): Promise<string[]> {
  const columns = await db.all<Column>(perDialect({
    sqlite: sql`
      SELECT t.name || '.' || c.name AS name, c.type AS type, NOT c."notnull" AS is_nullable
      FROM pragma_table_list t JOIN pragma_table_info(t.name) c
      WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1`,
    postgres: sql`
      SELECT table_name || '.' || column_name AS name, upper(data_type) AS type, is_nullable = 'YES' AS is_nullable
      FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1`,
  }));
  return columns.map(({ name, type, is_nullable }) => `${name} ${type.replace("INTEGER", "BIGINT")} ${is_nullable}`)
    .sort();
}

async function describeIndexes(db: Database): Promise<string[]> {
  const rows = await db.all<{ name: string }>(perDialect({
    sqlite: sql`SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`,
    postgres: sql`
      SELECT indexname AS name FROM pg_indexes
      WHERE schemaname = current_schema() AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'
      ORDER BY indexname`,
  }));
  return rows.map(({ name }) => name);
}

Deno.test("both engines have the same tables, columns and indexes", { ignore: DIALECTS.length < 2 }, async () => {
  const found = [];
  for (const dialect of DIALECTS) {
    await using test = await createTestDatabase(dialect);
    await using db = await openDatabase(test.options);
    const isShared = (name: string) => !POSTGRES_ONLY.has(name);
    const [columns, indexes] = [await describeSchema(db), await describeIndexes(db)];
    found.push({ columns: columns.filter(isShared), indexes: indexes.filter(isShared) });
  }
  const [one, two] = found;
  deepEqual(one?.columns, two?.columns);
  deepEqual(one?.indexes, two?.indexes);
  equal(one?.columns.includes("events.event_id TEXT false"), true);
});

Deno.test("migrations are sorted and each has its own number", () => {
  const names = MIGRATIONS.map(({ name }) => name);
  deepEqual(names, [...names].sort());
  equal(new Set(names.map((name) => name.slice(0, 4))).size, names.length);
});

testEachDatabase("a database with a newer schema is refused", async (db, test) => {
  await db.transaction((tx) => tx.run(sql`INSERT INTO schema_migrations (name) VALUES ('9999_future')`));
  await db[Symbol.asyncDispose]();
  await rejects(
    () => openDatabase(test.options),
    isStartupError(/newer schema than this program knows \(9999_future\)/),
  );
});

testEachDatabase("a database of Synapse is refused before anything is written", async (db) => {
  await db.transaction(async (tx) => {
    await tx.run(sql`DROP TABLE schema_migrations`);
    await tx.run(sql`CREATE TABLE applied_schema_deltas (version INTEGER NOT NULL, file TEXT NOT NULL)`);
  });
  await rejects(() => migrate(db), isStartupError(/^The database is Synapse's/));
  await rejects(() => db.all(sql`SELECT name FROM schema_migrations`));
});

for (const dialect of DIALECTS) {
  Deno.test(`a database of another program is refused before anything is written [${dialect}]`, async () => {
    await using test = await createEmptyDatabase(dialect);
    await runCommand(test.options, "CREATE TABLE invoices (total BIGINT)");
    await rejects(() => openDatabase(test.options), isStartupError(/^The database has tables of another program/));
    // Fails where the table is there.
    await runCommand(test.options, "CREATE TABLE schema_migrations (total BIGINT)");
  });
}

async function runCommand(options: DatabaseOptions, command: string): Promise<void> {
  if ("sqlite" in options) {
    const file = new DatabaseSync(options.sqlite.path);
    file.exec(command);
    file.close();
  } else {
    const connection = await PostgresConnection.open(options.postgres.server);
    await connection.command(command);
    await connection.close();
  }
}

testEachDatabase("a step that fails leaves nothing behind", async (db) => {
  const broken = { name: "9000_broken", text: "CREATE TABLE half (a BIGINT); INSERT INTO nowhere VALUES (1);" };
  await rejects(() => migrate(db, [...MIGRATIONS, broken]));
  await rejects(() => db.all(sql`SELECT a FROM half`));
  await migrate(db, [...MIGRATIONS, { ...broken, text: "CREATE TABLE half (a BIGINT)" }]);
  deepEqual(await db.all(sql`SELECT a FROM half`), []);
});

/** The schema before 0051_lean_events, as far as that changes it, with two events: one sent here, one behind it. */
const BEFORE_LEAN_EVENTS = `
  DROP INDEX events_transaction;
  ALTER TABLE events DROP COLUMN device_id;
  ALTER TABLE events DROP COLUMN txn_id;
  CREATE INDEX events_room_depth ON events (room_nid, depth, position) WHERE position IS NOT NULL;
  CREATE TABLE event_transactions (
    event_nid BIGINT NOT NULL, user_id TEXT NOT NULL, device_id TEXT NOT NULL, room_nid BIGINT NOT NULL,
    type TEXT NOT NULL, txn_id TEXT NOT NULL, created_ts BIGINT NOT NULL
  );
  DROP TABLE event_prev;
  CREATE TABLE event_prev (event_nid BIGINT NOT NULL, prev_nid BIGINT NOT NULL, PRIMARY KEY (event_nid, prev_nid));
  CREATE INDEX event_prev_prev ON event_prev (prev_nid);
  INSERT INTO events (event_nid, event_id, room_nid, type, sender, depth, position, origin_server_ts, received_ts,
    is_outlier, is_rejected, is_soft_failed, state_before, state_after, auth_rank)
  VALUES (1, '$one', 7, 'm.room.message', '@a:x', 1, 1, 5, 5, FALSE, FALSE, FALSE, 0, 0, 1),
    (2, '$two', 7, 'm.room.message', '@b:y', 2, 2, 6, 6, FALSE, FALSE, FALSE, 0, 0, 1);
  INSERT INTO event_prev (event_nid, prev_nid) VALUES (2, 1);
  INSERT INTO event_transactions (event_nid, user_id, device_id, room_nid, type, txn_id, created_ts)
  VALUES (1, '@a:x', 'DEVICE', 7, 'm.room.message', 't1', 5);
  DELETE FROM schema_migrations WHERE name = '0051_lean_events'`;

testEachDatabase("transaction ids and parents of events are kept where both are stored otherwise", async (db) => {
  await db.transaction(async (tx) => {
    for (const statement of splitStatements(BEFORE_LEAN_EVENTS)) await tx.run(new Sql([statement], []));
  });
  await migrate(db);
  const repeated = { userId: "@a:x" as UserId, deviceId: "DEVICE", roomNid: 7, type: "m.room.message", txnId: "t1" };
  equal(await selectEventOfTransaction(db, repeated), "$one");
  equal(await selectEventOfTransaction(db, { ...repeated, deviceId: "OTHER" }), null);
  const shown = await selectTransactionsOf(db, { userId: "@a:x", eventNids: [1, 2] });
  deepEqual(shown, [{ eventNid: 1, deviceId: "DEVICE", txnId: "t1" }]);
  deepEqual(await selectTransactionsOf(db, { userId: "@b:y", eventNids: [1, 2] }), []);
  const edges = await db.all<{ event_nid: number; prev_nid: number }>(sql`SELECT event_nid, prev_nid FROM event_prev`);
  deepEqual(edges.map((edge) => ({ ...edge })), [{ event_nid: 2, prev_nid: 1 }]);
});

testEachDatabase("a database belongs to one server name", async (db, test) => {
  await db[Symbol.asyncDispose]();
  for (const serverName of ["one.example", "one.example"]) {
    await (await openDatabase(test.options, { serverName }))[Symbol.asyncDispose]();
  }
  await rejects(
    () => openDatabase(test.options, { serverName: "two.example" }),
    isStartupError(/belongs to the server one\.example, not to two\.example/),
  );
});

Deno.test("two processes that start at once on an empty PostgreSQL database share the upgrade", {
  ignore: !DIALECTS.includes("postgres"),
}, async () => {
  await using test = await createEmptyDatabase("postgres");
  const opened = await Promise.all([1, 2, 3].map(() => openDatabase(test.options)));
  for (const db of opened) await db[Symbol.asyncDispose]();
});

Deno.test("an SQLite file is refused in one sentence when it cannot be served", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/a.db`;
  const open = () => openDatabase({ sqlite: { path } });
  {
    await using _db = await open();
    await rejects(open, isStartupError(/a\.db is in use by another process/));
  }
  await (await open())[Symbol.asyncDispose]();
  await Deno.writeTextFile(path, "This is not a database, but long enough to be looked at as if it were. ".repeat(20));
  await rejects(open, isStartupError(/a\.db is not an SQLite database/));
  await rejects(
    () => Promise.resolve().then(() => openSqlite({ path: `${folder}/none/a.db` })),
    isStartupError(/The folder of the database .* does not exist/),
  );
  await Deno.mkdir(`${folder}/b.db`);
  await rejects(
    () => openDatabase({ sqlite: { path: `${folder}/b.db` } }),
    isStartupError(/b\.db cannot be opened: it is a folder$/),
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("splitStatements() keeps quotes, comments and triggers whole", () => {
  deepEqual(
    splitStatements(`
      -- one; comment
      CREATE TABLE a (b TEXT DEFAULT ';''x'); /* two; */
      CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; SELECT CASE WHEN 1 THEN 2 END; END;
      CREATE FUNCTION f() RETURNS INT AS $x$ BEGIN RETURN 1; END $x$ LANGUAGE plpgsql;
      BEGIN_WORD;`),
    [
      "CREATE TABLE a (b TEXT DEFAULT ';''x')",
      "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; SELECT CASE WHEN 1 THEN 2 END; END",
      "CREATE FUNCTION f() RETURNS INT AS $x$ BEGIN RETURN 1; END $x$ LANGUAGE plpgsql",
      "BEGIN_WORD",
    ],
  );
});

function isStartupError(pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof DatabaseStartupError && pattern.test(error.message);
}
