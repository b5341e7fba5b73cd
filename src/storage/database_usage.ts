/** How much of the database one piece of work takes, told apart from all others that run at the same time. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Clock } from "../lib/clock.ts";
import type { Database, Tx } from "./database.ts";
import type { Sql } from "./sql.ts";

/** What a piece of work has taken so far. */
export interface DatabaseUsage {
  /** Reads and transactions. */
  count: number;
  /** Milliseconds from asking to having, so that waiting for a turn counts. */
  ms: number;
}

const current = new AsyncLocalStorage<DatabaseUsage>();

/** Runs `work` and adds to `usage` what it takes, in whatever it calls. */
export function countUsage<T>(usage: DatabaseUsage, work: () => Promise<T>): Promise<T> {
  return current.run(usage, work);
}

/** As `countUsage`; whatever counts around it gets it too, once the work is done. */
export async function countApart<T>(usage: DatabaseUsage, work: () => Promise<T>): Promise<T> {
  const around = current.getStore();
  try {
    return await current.run(usage, work);
  } finally {
    if (around !== undefined) {
      around.count += usage.count;
      around.ms += usage.ms;
    }
  }
}

/** Returns the database with its use counted for those who run in `countUsage`. */
export function withUsage(db: Database, clock: Clock): Database {
  const counted = <T>(start: () => Promise<T>): Promise<T> => {
    const usage = current.getStore();
    if (usage === undefined) return start();
    const started = clock.monotonic();
    const result = start();
    const end = () => {
      usage.count++;
      usage.ms += clock.monotonic() - started;
    };
    result.then(end, end);
    return result;
  };
  return {
    dialect: db.dialect,
    all: <Row>(query: Sql) => counted(() => db.all<Row>(query)),
    get: <Row>(query: Sql) => counted(() => db.get<Row>(query)),
    transaction: <T>(work: (tx: Tx) => Promise<T>) => counted(() => db.transaction(work)),
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}
