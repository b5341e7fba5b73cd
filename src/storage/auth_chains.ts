/**
 * Questions about the graph of auth events, which state resolution and federation ask.
 *
 * Every edge leads to an event of lower rank (`auth_rank` is one more than the highest rank among an event's auth
 * events). So a walk that always goes on from the open events of the highest rank knows, when it comes to an event, all
 * the ways that lead to it. That lets it stop as soon as what it looks for can no longer be found, without walking the
 * chains to their end.
 */
import { setImmediate } from "node:timers/promises";
import type { Db } from "./database.ts";
import { numberTable, sql } from "./sql.ts";

/** Rows asked for at once; the event loop gets a turn after each, because SQLite answers in this thread. */
const BATCH = 1000;

interface Edge {
  readonly nid: number;
  readonly rank: number;
}

/** Events that are not written yet, by number: their ranks, and the events that authorize them. */
export type UnwrittenEvents = ReadonlyMap<number, { readonly rank: number; readonly auth: readonly Edge[] }>;

const NONE: UnwrittenEvents = new Map();

/**
 * Returns the events in the full auth chain of some states, but not of all. A state's events count as in its chain.
 *
 * `sets` are the events that each state has and not all others have; `common` gives the events that all states have.
 * It is called only if there is a candidate which one of those might lead to. The events of `sets` may or may not be
 * in the result: they are in the conflict anyway.
 */
export async function selectAuthDifference(
  db: Db,
  { sets, common, unwritten = NONE }: {
    sets: readonly (readonly number[])[];
    common: () => Promise<readonly number[]>;
    unwritten?: UnwrittenEvents;
  },
): Promise<number[]> {
  const graph = new AuthGraph(db, unwritten);
  const difference = await differenceOfSets(graph, sets);
  const given = new Set(sets.flat());
  const candidates = new Map<number, number>();
  for (const { nid, rank } of difference) if (!given.has(nid)) candidates.set(nid, rank);
  if (candidates.size > 0) await removeReached(graph, { candidates, from: await common() });
  return [...given, ...candidates.keys()];
}

/** Returns all events that the given ones rest on; a given one only if another rests on it. In no order. */
export async function selectAuthChain(db: Db, nids: readonly number[]): Promise<number[]> {
  const graph = new AuthGraph(db);
  const seen = new Set<number>();
  let open = [...new Set(nids)];
  while (open.length > 0) {
    const batch = open.splice(0, BATCH);
    await graph.load(batch);
    const found: number[] = [];
    for (const nid of batch) {
      for (const auth of graph.edges(nid)) {
        if (seen.has(auth.nid)) continue;
        seen.add(auth.nid);
        found.push(auth.nid);
      }
      graph.forget(nid);
    }
    open = open.concat(found);
  }
  return [...seen];
}

/** Returns the events on paths along auth events from one of the given events to another, the given ones included. */
export async function selectConflictedSubgraph(
  db: Db,
  nids: readonly number[],
  { unwritten = NONE }: { unwritten?: UnwrittenEvents } = {},
): Promise<number[]> {
  const graph = new AuthGraph(db, unwritten);
  const ends = await graph.ranks(nids);
  const lowest = Math.min(...ends.values());
  const walk = new RankedWalk(graph);
  for (const [nid, rank] of ends) walk.add({ nid, rank }, 0n);
  const walked: number[] = [];
  for (let step = await walk.next(); step !== null && step.rank > lowest; step = await walk.next()) {
    for (const nid of step.events.keys()) {
      walked.push(nid);
      for (const auth of graph.edges(nid)) walk.add(auth, 0n);
    }
  }
  const within = new Set(ends.keys());
  // Upwards: what an event leads to is decided before the event.
  for (const nid of walked.reverse()) {
    if (graph.edges(nid).some((auth) => within.has(auth.nid))) within.add(nid);
  }
  return [...within];
}

/** Returns the candidates for the difference: what the sets' events lead to, but not those of every set. */
async function differenceOfSets(graph: AuthGraph, sets: readonly (readonly number[])[]): Promise<Edge[]> {
  const all = (1n << BigInt(sets.length)) - 1n;
  const ranks = await graph.ranks(sets.flat());
  const walk = new RankedWalk(graph, all);
  for (const [index, set] of sets.entries()) {
    for (const nid of set) {
      const rank = ranks.get(nid);
      if (rank !== undefined) walk.add({ nid, rank }, 1n << BigInt(index));
    }
  }
  const found: Edge[] = [];
  while (walk.partial > 0) {
    const step = await walk.next();
    if (step === null) break;
    for (const [nid, bits] of step.events) {
      if (bits !== all) found.push({ nid, rank: step.rank });
      for (const auth of graph.edges(nid)) walk.add(auth, bits);
    }
  }
  return found;
}

/**
 * Takes those candidates away that one of `from` is or leads to. `from` may be the whole state of a room and mostly leads
 * to the same few events, so each step asks for all that its events lead to at once, and not what leads where.
 */
async function removeReached(
  graph: AuthGraph,
  { candidates, from }: { candidates: Map<number, number>; from: readonly number[] },
): Promise<void> {
  const seen = new Set(from);
  for (const nid of seen) candidates.delete(nid);
  const open = [...seen];
  while (open.length > 0) {
    const batch = open.splice(0, BATCH);
    if (candidates.size === 0) return;
    const lowest = lowestRank(candidates);
    for (const { nid, rank } of await graph.authOf(batch, { lowest })) {
      if (seen.has(nid)) continue;
      seen.add(nid);
      candidates.delete(nid);
      if (rank > lowest) open.push(nid);
    }
  }
}

function lowestRank(candidates: ReadonlyMap<number, number>): number {
  let lowest = Infinity;
  for (const rank of candidates.values()) lowest = Math.min(lowest, rank);
  return lowest;
}

/** Goes through events from the highest rank to the lowest, each once, with the bits that all ways to it carry. */
class RankedWalk {
  readonly #graph: AuthGraph;
  readonly #all: bigint | null;
  readonly #open = new Map<number, Map<number, bigint>>();
  /** The ranks of `#open`, lowest first. */
  readonly #ranks: number[] = [];
  /** Open events without all bits. */
  partial = 0;

  constructor(graph: AuthGraph, all: bigint | null = null) {
    this.#graph = graph;
    this.#all = all;
  }

  add({ nid, rank }: Edge, bits: bigint): void {
    let events = this.#open.get(rank);
    if (events === undefined) {
      events = new Map();
      this.#open.set(rank, events);
      insertSorted(this.#ranks, rank);
    }
    const before = events.get(nid);
    const after = (before ?? 0n) | bits;
    if (before === after) return;
    events.set(nid, after);
    if (before === undefined) this.partial++;
    if (after === this.#all) this.partial--;
  }

  /** Takes the open events of the highest rank, with their edges loaded. */
  async next(): Promise<{ rank: number; events: ReadonlyMap<number, bigint> } | null> {
    const rank = this.#ranks.pop();
    const events = rank === undefined ? undefined : this.#open.get(rank);
    if (rank === undefined || events === undefined) return null;
    if (!this.#graph.hasAll(events.keys())) await this.#graph.load([...events.keys(), ...this.#ahead(rank)]);
    this.#open.delete(rank);
    for (const bits of events.values()) if (bits !== this.#all) this.partial--;
    return { rank, events };
  }

  /** Other open events that soon have their turn, to be loaded along. */
  #ahead(below: number): number[] {
    const nids: number[] = [];
    for (let at = this.#ranks.length - 1; at >= 0 && nids.length < BATCH; at--) {
      const rank = this.#ranks[at] ?? below;
      nids.push(...this.#open.get(rank)?.keys() ?? []);
    }
    return nids;
  }
}

function insertSorted(ranks: number[], rank: number): void {
  let low = 0;
  let high = ranks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranks[middle] ?? 0) < rank) low = middle + 1;
    else high = middle;
  }
  ranks.splice(low, 0, rank);
}

/** The part of the graph that has been read. */
class AuthGraph {
  readonly #db: Db;
  readonly #unwritten: UnwrittenEvents;
  readonly #edges = new Map<number, Edge[]>();

  constructor(db: Db, unwritten: UnwrittenEvents = NONE) {
    this.#db = db;
    this.#unwritten = unwritten;
    for (const [nid, { auth }] of unwritten) this.#edges.set(nid, [...auth]);
  }

  hasAll(nids: Iterable<number>): boolean {
    for (const nid of nids) if (!this.#edges.has(nid)) return false;
    return true;
  }

  edges(nid: number): readonly Edge[] {
    return this.#edges.get(nid) ?? [];
  }

  forget(nid: number): void {
    this.#edges.delete(nid);
  }

  async load(nids: readonly number[]): Promise<void> {
    const missing = [...new Set(nids)].filter((nid) => !this.#edges.has(nid));
    for (const batch of batches(missing)) {
      for (const nid of batch) this.#edges.set(nid, []);
      const rows = await this.#db.all<{ event_nid: number; auth_nid: number; auth_rank: number }>(sql`
        SELECT a.event_nid, a.auth_nid, e.auth_rank FROM ${numberTable(batch)} AS wanted
        JOIN event_auth a ON a.event_nid = wanted.value
        JOIN events e ON e.event_nid = a.auth_nid`);
      for (const row of rows) this.#edges.get(row.event_nid)?.push({ nid: row.auth_nid, rank: row.auth_rank });
      if (batch.length === BATCH) await setImmediate();
    }
  }

  /** Returns the auth events of all the given events, each once, that are not below a rank. */
  async authOf(nids: readonly number[], { lowest }: { lowest: number }): Promise<Edge[]> {
    const written = nids.filter((nid) => !this.#unwritten.has(nid));
    const rows = await this.#db.all<{ event_nid: number; auth_rank: number }>(sql`
      SELECT e.event_nid, e.auth_rank FROM (
        SELECT DISTINCT a.auth_nid FROM ${numberTable(written)} AS wanted
        JOIN event_auth a ON a.event_nid = wanted.value) AS found
      JOIN events e ON e.event_nid = found.auth_nid
      WHERE e.auth_rank >= ${lowest}`);
    const edges = rows.map((row): Edge => ({ nid: row.event_nid, rank: row.auth_rank }));
    for (const nid of nids) {
      for (const auth of this.#unwritten.get(nid)?.auth ?? []) if (auth.rank >= lowest) edges.push(auth);
    }
    if (nids.length === BATCH) await setImmediate();
    return edges;
  }

  /** Returns the ranks of events; unknown ones are left out. */
  async ranks(nids: readonly number[]): Promise<Map<number, number>> {
    const ranks = new Map<number, number>();
    for (const nid of nids) {
      const rank = this.#unwritten.get(nid)?.rank;
      if (rank !== undefined) ranks.set(nid, rank);
    }
    for (const batch of batches([...new Set(nids)])) {
      const rows = await this.#db.all<{ event_nid: number; auth_rank: number }>(sql`
        SELECT e.event_nid, e.auth_rank FROM ${numberTable(batch)} AS wanted
        JOIN events e ON e.event_nid = wanted.value`);
      for (const row of rows) ranks.set(row.event_nid, row.auth_rank);
      if (batch.length === BATCH) await setImmediate();
    }
    return ranks;
  }
}

function* batches(nids: readonly number[]): Generator<readonly number[]> {
  for (let at = 0; at < nids.length; at += BATCH) yield nids.slice(at, at + BATCH);
}
