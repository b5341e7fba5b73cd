/** The database: whether it can be used, its schema, collation and size. */
import { dirname, resolve } from "node:path";
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Database } from "../../storage/database.ts";
import { databaseOptions } from "../../storage/database_options.ts";
import { selectGrowth, selectPushTrouble, selectServerFacts } from "../../storage/doctor_facts.ts";
import { openReader } from "../../storage/open_reader.ts";
import type { PostgresServer } from "../../storage/postgres_connection.ts";
import { bytesText, fail, type Finding, ok, reasonText, warn } from "./finding.ts";
import { freeBytes } from "./machine.ts";

const BIG_WAL = 1024 ** 3;
const DAY_MS = 86_400_000;
/** Over how many days growth is told. */
const GROWTH_DAYS = 7;
const FULL_SOON_DAYS = 30;

/** Looks at the database. What depends on it is left out when it cannot be read. */
export async function checkDatabase(config: Config, clock: Clock): Promise<Finding[]> {
  let db: Database;
  try {
    const options = databaseOptions(config.database);
    if ("postgres" in options) await checkSessions(options.postgres.server);
    db = await openReader(options);
  } catch (error) {
    return [await explainUnreadable(error, config)];
  }
  await using opened = db;
  const facts = await selectServerFacts(opened);
  const findings = [ok("database", `${facts.version}, ${bytesText(facts.bytes)}, schema ${facts.schema}`)];
  if (facts.serverName !== null && facts.serverName !== config.serverName) {
    findings.push(fail("database", {
      message: `it belongs to the server ${facts.serverName}, and server_name is ${config.serverName}`,
      advice: "set server_name back, or name another database: a server name can never be changed",
    }));
  }
  if (facts.unfinishedPort) {
    findings.push(fail("database", { message: "port-db was interrupted", advice: "run port-db again" }));
  }
  if (facts.locale !== null && facts.locale !== "C") {
    const status = config.database.allowUnsafeLocale ? warn : fail;
    findings.push(status("database", {
      message: `its collation is ${facts.locale}, not C: an upgrade of the system's libraries can corrupt its indexes`,
      advice: "dump it, make it anew with --locale=C --template=template0, and load the dump",
    }));
  }
  findings.push(
    ...await checkGrowth(opened, { bytes: facts.bytes, config, clock }),
    ...await checkFiles(config),
    ...await checkPushers(opened),
  );
  return findings;
}

/** Loads the driver only when it is used, as the server does: every command would have it in memory. */
async function checkSessions(server: PostgresServer): Promise<void> {
  const { assertOwnSessions } = await import("../../storage/postgres_sessions.ts");
  await assertOwnSessions(server);
}

async function explainUnreadable(error: unknown, config: Config): Promise<Finding> {
  const message = reasonText(error);
  if (/no server has run on it|There is no database/.test(message) && config.database.name === "sqlite3") {
    return await judgeNewFile(config.database.path);
  }
  const advice = /schema of another version/.test(message)
    ? "start the server of this version, or run update-database, which upgrades it"
    : /refuses the login/.test(message) || /password/.test(message)
    ? "check user and password of `database.args`, and pg_hba.conf"
    : /pooling proxy/.test(message)
    ? "host and port of `database.args` must lead to PostgreSQL, or to a proxy that gives each connection a session"
    : /is Synapse's|another program/.test(message)
    ? "let `database` name one that this server may fill"
    : /does not exist/.test(message)
    ? "CREATE DATABASE … LOCALE 'C' TEMPLATE template0"
    : /no server has run/.test(message)
    ? "that is right before the first start; else check the name of the database"
    : "check `database` in the configuration, and that PostgreSQL runs";
  return (/no server has run/.test(message) ? warn : fail)("database", { message, advice });
}

async function judgeNewFile(path: string): Promise<Finding> {
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) || "/" : ".";
  const info = await Deno.stat(folder).catch(() => null);
  if (info?.isDirectory !== true) {
    return fail("database", {
      message: `the folder of ${path} does not exist`,
      advice: `make it, or correct database.args.database (a relative path starts where the server is started)`,
    });
  }
  return warn("database", {
    message: `there is no database ${path} yet`,
    advice:
      "that is right before the first start; else check the path (a relative one starts where the server is started)",
  });
}

/** How fast it gets bigger, by what arrived of late, and whether the disk will do: it is known where SQLite's file is. */
async function checkGrowth(
  db: Database,
  { bytes, config: { database }, clock }: { bytes: number; config: Config; clock: Clock },
): Promise<Finding[]> {
  const now = clock.now();
  const growth = await selectGrowth(db, now - GROWTH_DAYS * DAY_MS);
  if (growth === null) return [];
  const days = Math.min(GROWTH_DAYS, Math.max(1, (now - growth.firstTs) / DAY_MS));
  const free = database.name === "sqlite3" ? await freeBytes(dirname(resolve(database.path))) : null;
  return [judgeGrowth({ daily: bytes * growth.part / days, free })];
}

/** Says what so many bytes a day mean for a disk; null where it is not known which. */
export function judgeGrowth({ daily, free }: { daily: number; free: number | null }): Finding {
  const message = `it grows by about ${bytesText(daily)} a day`;
  const left = free === null || daily === 0 ? Infinity : free / daily;
  if (left >= FULL_SOON_DAYS) return ok("database", message);
  return warn("database", {
    message: `${message}: the disk is full in about ${Math.floor(left)} days`,
    advice: "make room, or move the database: `synapse-ts disk` shows what takes it and what could be freed",
  });
}

async function checkFiles({ database }: Config): Promise<Finding[]> {
  if (database.name !== "sqlite3") return [];
  const log = await Deno.stat(`${database.path}-wal`).catch(() => null);
  if (log === null || log.size < BIG_WAL) return [];
  return [warn("database", {
    message: `the log of changes beside the database is ${bytesText(log.size)}`,
    advice: "some program keeps the database open for reading: end it, and the log shrinks",
  })];
}

async function checkPushers(db: Database): Promise<Finding[]> {
  const { pushers, failing } = await selectPushTrouble(db);
  if (pushers === 0) return [];
  const [first] = failing;
  if (first === undefined) return [ok("push", `${pushers} pushers, all delivering`)];
  const total = failing.reduce((sum, { count }) => sum + count, 0);
  return [warn("push", {
    message: `${total} of ${pushers} pushers fail; most at ${first.url}`,
    advice: "check that this machine may reach the push gateway (and http_proxy, ip_range_blacklist)",
  })];
}
