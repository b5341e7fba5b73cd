/**
 * Numeric ids of (type, state key) pairs.
 *
 * A pair gets its number in a transaction of its own, before the one that needs it: numbers are then valid for
 * everyone and for good, and a cache of them cannot be wrong whatever is rolled back. A pair that was numbered and
 * then not used does no harm.
 */
import { LruCache } from "../lib/lru.ts";
import { inTurns } from "../lib/turn.ts";
import { splitStateKey, type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { Database, Db } from "./database.ts";
import type { IdAllocator } from "./id_blocks.ts";
import { inList, numberTable, sql } from "./sql.ts";

const DEFAULT_CACHED_KEYS = 50_000;
const CACHED_ABSENT = 1_000;
/** Reading this many takes some milliseconds. */
const KEYS_A_TURN = 2_000;

interface Row {
  state_key_nid: number;
  type: string;
  state_key: string;
}

/** Translates pairs to numbers and back. */
export class StateKeys {
  readonly #db: Database;
  readonly #ids: IdAllocator;
  readonly #nids: LruCache<StateKey, number>;
  readonly #keys: LruCache<number, StateKey>;
  readonly #maxEntries: number;
  /** Pairs that no event ever had. Null on PostgreSQL, where another process may give one its number. */
  readonly #absent: LruCache<StateKey, true> | null;
  /** Counts what got its number, so that a reading that raced with it is not kept. */
  #interned = 0;

  constructor({ db, ids, maxEntries = DEFAULT_CACHED_KEYS }: { db: Database; ids: IdAllocator; maxEntries?: number }) {
    this.#db = db;
    this.#ids = ids;
    this.#maxEntries = maxEntries;
    this.#nids = new LruCache({ maxEntries });
    this.#keys = new LruCache({ name: "state_keys", maxEntries });
    this.#absent = db.dialect === "sqlite" ? new LruCache({ maxEntries: CACHED_ABSENT }) : null;
  }

  /** Makes the caches so many times as big as they are by default. */
  scaleCache(factor: number): void {
    for (const cache of [this.#nids, this.#keys]) cache.resize(this.#maxEntries * factor);
  }

  /** Returns the number of a pair, or null when no event ever had it. */
  async nidOf(type: string, stateKey: string): Promise<number | null> {
    const key = stateKeyOf(type, stateKey);
    const cached = this.#nids.get(key);
    if (cached !== undefined) return cached;
    if (this.#absent?.get(key) === true) return null;
    const interned = this.#interned;
    const row = await selectPair(this.#db, { type, stateKey });
    if (row === null) {
      if (interned === this.#interned) this.#absent?.set(key, true);
      return null;
    }
    this.#remember(key, row.state_key_nid);
    return row.state_key_nid;
  }

  /** Returns the number of a pair if it is in memory. */
  peekNid(key: StateKey): number | undefined {
    return this.#nids.get(key);
  }

  /** Returns the numbers of pairs, giving numbers to new ones. Not to be awaited inside a transaction. */
  async intern(keys: readonly StateKey[]): Promise<Map<StateKey, number>> {
    const found = new Map<StateKey, number>();
    const missing: StateKey[] = [];
    for (const key of keys) {
      const cached = this.#nids.get(key);
      if (cached === undefined) missing.push(key);
      else found.set(key, cached);
    }
    if (missing.length > 0) await this.#insert([...new Set(missing)], found);
    return found;
  }

  /** Returns the pairs with these numbers; unknown ones are left out. */
  async keysOf(nids: readonly number[]): Promise<Map<number, StateKey>> {
    const found = new Map<number, StateKey>();
    const missing: number[] = [];
    for (const nid of nids) {
      const cached = this.#keys.get(nid);
      if (cached === undefined) missing.push(nid);
      else found.set(nid, cached);
    }
    for await (const part of inTurns(missing, KEYS_A_TURN)) {
      const rows = await this.#db.all<Row>(sql`
        SELECT k.state_key_nid, k.type, k.state_key FROM ${numberTable(part)} AS wanted
        JOIN state_keys k ON k.state_key_nid = wanted.value`);
      for (const row of rows) found.set(row.state_key_nid, this.#rememberRow(row));
    }
    return found;
  }

  async #insert(keys: readonly StateKey[], found: Map<StateKey, number>): Promise<void> {
    const missing = new Set(keys);
    const pairs = keys.map(splitStateKey);
    for (const row of await selectPairs(this.#db, pairs)) {
      const key = this.#rememberRow(row);
      if (missing.delete(key)) found.set(key, row.state_key_nid);
    }
    if (missing.size === 0) return;
    const nids = await this.#ids.take(missing.size);
    // Sorted, so that two processes that insert the same pairs do not wait for each other in a circle.
    const rows = [...missing].sort().map((key, index) => ({ ...splitStateKey(key), nid: nids[index] ?? 0 }));
    await this.#db.transaction((tx) =>
      tx.runMany(rows.map(({ nid, type, stateKey }) =>
        sql`
        INSERT INTO state_keys (state_key_nid, type, state_key) VALUES (${nid}, ${type}, ${stateKey})
        ON CONFLICT (type, state_key) DO NOTHING`
      ))
    );
    for (const row of await selectPairs(this.#db, rows)) found.set(this.#rememberRow(row), row.state_key_nid);
  }

  #rememberRow({ state_key_nid, type, state_key }: Row): StateKey {
    const key = stateKeyOf(type, state_key);
    this.#remember(key, state_key_nid);
    return key;
  }

  #remember(key: StateKey, nid: number): void {
    this.#interned++;
    this.#absent?.delete(key);
    this.#nids.set(key, nid);
    this.#keys.set(nid, key);
  }
}

async function selectPair(db: Db, { type, stateKey }: { type: string; stateKey: string }): Promise<Row | null> {
  return await db.get<Row>(sql`
    SELECT state_key_nid, type, state_key FROM state_keys WHERE type = ${type} AND state_key = ${stateKey}`);
}

/** Returns the rows of pairs. One query for each type: asked for all at once, SQLite goes through all keys of a type. */
async function selectPairs(db: Db, pairs: readonly { type: string; stateKey: string }[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [type, ofType] of Map.groupBy(pairs, (pair) => pair.type)) {
    const [only] = ofType;
    if (ofType.length === 1 && only !== undefined) {
      const row = await selectPair(db, only);
      if (row !== null) rows.push(row);
      continue;
    }
    rows.push(
      ...await db.all<Row>(sql`
      SELECT state_key_nid, type, state_key FROM state_keys
      WHERE type = ${type} AND ${inList(sql`state_key`, ofType.map(({ stateKey }) => stateKey))}`),
    );
  }
  return rows;
}
