/**
 * Tests on real databases: `testEachDatabase` runs the same body on an SQLite file and on PostgreSQL, each time on a
 * fresh database at the current schema.
 *
 * PostgreSQL is the cluster of `TEST_POSTGRES_URL` (the test runner starts one for all files), else one of this
 * process. `TEST_DATABASES=sqlite` leaves it out while working on something; the test runner never does.
 */
import type { Database } from "../../src/storage/database.ts";
import { type DatabaseOptions, openDatabase } from "../../src/storage/open_database.ts";
import { PostgresConnection } from "../../src/storage/postgres_connection.ts";
import type { Dialect } from "../../src/storage/sql.ts";
import { startPostgres } from "./postgres.ts";

/** The databases tests run on. */
export const DIALECTS: readonly Dialect[] = Deno.env.get("TEST_DATABASES") === "sqlite"
  ? ["sqlite"]
  : Deno.env.get("TEST_DATABASES") === "postgres"
  ? ["postgres"]
  : ["sqlite", "postgres"];

const clusterUrl: string | null = DIALECTS.includes("postgres")
  ? Deno.env.get("TEST_POSTGRES_URL") ?? (await startPostgres()).url
  : null;

let counter = 0;
const templates: { sqlite: Promise<string> | null; postgres: Promise<string> | null } = {
  sqlite: null,
  postgres: null,
};

/** A database made for one test, gone with it. `options` opens it, as often as wanted. */
export interface TestDatabase extends AsyncDisposable {
  readonly dialect: Dialect;
  readonly options: DatabaseOptions;
}

/** Registers one test per dialect; the body gets a fresh open database and the options that open it once more. */
export function testEachDatabase(
  name: string,
  body: (db: Database, test: TestDatabase) => Promise<void>,
): void {
  for (const dialect of DIALECTS) {
    Deno.test(`${name} [${dialect}]`, async () => {
      await using test = await createTestDatabase(dialect);
      await using db = await openDatabase(test.options);
      await body(db, test);
    });
  }
}

/** Makes a database at the current schema by copying one that was migrated once. */
export async function createTestDatabase(dialect: Dialect): Promise<TestDatabase> {
  return dialect === "sqlite" ? await createSqlite() : await createPostgres();
}

/** Makes an empty database, without a schema. */
export async function createEmptyDatabase(dialect: Dialect): Promise<TestDatabase> {
  if (dialect === "sqlite") return sqliteIn(await Deno.makeTempDir({ prefix: "synapse-ts-db-" }));
  const name = nextName();
  await administer(`CREATE DATABASE ${name} TEMPLATE template0`);
  return postgresNamed(name);
}

async function createSqlite(): Promise<TestDatabase> {
  const template = await (templates.sqlite ??= makeSqliteTemplate());
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-db-" });
  await Deno.copyFile(template, `${folder}/homeserver.db`);
  return sqliteIn(folder);
}

async function makeSqliteTemplate(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-db-template-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const path = `${folder}/homeserver.db`;
  const db = await openDatabase({ sqlite: { path, unsafe: true } });
  await db[Symbol.asyncDispose]();
  return path;
}

function sqliteIn(folder: string): TestDatabase {
  return {
    dialect: "sqlite",
    options: { sqlite: { path: `${folder}/homeserver.db`, unsafe: true } },
    async [Symbol.asyncDispose](): Promise<void> {
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function createPostgres(): Promise<TestDatabase> {
  const template = await (templates.postgres ??= makePostgresTemplate());
  const name = nextName();
  await administer(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  return postgresNamed(name);
}

async function makePostgresTemplate(): Promise<string> {
  const name = nextName();
  await administer(`CREATE DATABASE ${name} TEMPLATE template0`);
  const db = await openDatabase(postgresNamed(name).options);
  await db[Symbol.asyncDispose]();
  return name;
}

function postgresNamed(name: string): TestDatabase {
  return {
    dialect: "postgres",
    options: { postgres: { server: serverOf(name), maxConnections: 6 } },
    async [Symbol.asyncDispose](): Promise<void> {
      await administer(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

function serverOf(database: string): { host: string; port: number; user: string; password: string; database: string } {
  const url = new URL(clusterUrl ?? "");
  return { host: url.hostname, port: Number(url.port), user: url.username, password: url.password, database };
}

async function administer(command: string): Promise<void> {
  const connection = await PostgresConnection.open(serverOf("postgres"));
  try {
    await connection.command(command);
  } finally {
    await connection.close();
  }
}

function nextName(): string {
  counter++;
  return `t_${Deno.pid}_${counter}_${crypto.randomUUID().slice(0, 8)}`;
}
