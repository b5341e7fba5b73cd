import { deepEqual, ok } from "node:assert/strict";
import fc from "fast-check";
import { selectAuthChain, selectAuthDifference, selectConflictedSubgraph } from "../../src/storage/auth_chains.ts";
import type { Database, Db, Tx } from "../../src/storage/database.ts";
import { type Sql, sql } from "../../src/storage/sql.ts";
import { testEachDatabase } from "../harness/databases.ts";

/** The auth events of each event, by index; they come before it. */
type Graph = readonly (readonly number[])[];

let nextNid = 1;

const graphs: fc.Arbitrary<Graph> = fc.array(fc.array(fc.nat(), { maxLength: 4 }), {
  minLength: 2,
  maxLength: 40,
  size: "max",
})
  .map((lists) => lists.map((list, index) => index === 0 ? [] : [...new Set(list.map((n) => n % index))]));

/** Writes the graph and returns the number of its first event; the others follow. */
async function insertGraph(tx: Tx, graph: Graph): Promise<number> {
  const first = nextNid;
  nextNid += graph.length;
  const ranks: number[] = [];
  for (const [index, auth] of graph.entries()) {
    const rank = 1 + Math.max(0, ...auth.map((n) => ranks[n] ?? 0));
    ranks.push(rank);
    const nid = first + index;
    await tx.run(sql`
      INSERT INTO events (event_nid, event_id, room_nid, type, sender, depth, origin_server_ts, received_ts, is_outlier,
        is_rejected, is_soft_failed, auth_rank)
      VALUES (${nid}, ${`$${nid}`}, 1, 'm.test', '@a:b', 1, 1, 1, ${false}, ${false}, ${false}, ${rank})`);
    await tx.runMany(auth.map((n) => sql`INSERT INTO event_auth (event_nid, auth_nid) VALUES (${nid}, ${first + n})`));
  }
  return first;
}

function closure(graph: Graph, from: Iterable<number>): Set<number> {
  const seen = new Set(from);
  for (const n of seen) for (const auth of graph[n] ?? []) seen.add(auth);
  return seen;
}

function sorted(numbers: Iterable<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}

/** PostgreSQL gets fewer runs: each costs many round trips. */
function runsOn(db: Db): { numRuns: number } {
  return { numRuns: db.dialect === "sqlite" ? 100 : 20 };
}

testEachDatabase("selectAuthDifference() is the union without the intersection of the chains", async (db) => {
  const property = fc.asyncProperty(
    graphs,
    fc.array(fc.array(fc.nat(), { maxLength: 6 }), { minLength: 2, maxLength: 4 }),
    fc.array(fc.nat(), { maxLength: 6 }),
    async (graph, picks, commonPicks) => {
      const first = await db.transaction((tx) => insertGraph(tx, graph));
      const common = new Set(commonPicks.map((n) => n % graph.length));
      const states = picks.map((pick) => new Set([...pick.map((n) => n % graph.length), ...common]));
      const inAll = new Set([...states[0] ?? []].filter((n) => states.every((state) => state.has(n))));
      const sets = states.map((state) => [...state].filter((n) => !inAll.has(n)));
      const chains = states.map((state) => closure(graph, state));
      const expected = new Set(sets.flat());
      for (const n of chains.flatMap((chain) => [...chain])) {
        if (!chains.every((chain) => chain.has(n))) expected.add(n);
      }
      const found = await selectAuthDifference(db, {
        sets: sets.map((set) => set.map((n) => n + first)),
        common: () => Promise.resolve([...inAll].map((n) => n + first)),
      });
      deepEqual(sorted(found.map((nid) => nid - first)), sorted(expected));
    },
  );
  await fc.assert(property, runsOn(db));
});

testEachDatabase("selectAuthChain() is all that is reachable", async (db) => {
  const property = fc.asyncProperty(graphs, fc.array(fc.nat(), { maxLength: 6 }), async (graph, pick) => {
    const first = await db.transaction((tx) => insertGraph(tx, graph));
    const from = pick.map((n) => n % graph.length);
    const expected = closure(graph, from.flatMap((n) => graph[n] ?? []));
    const found = await selectAuthChain(db, from.map((n) => n + first));
    deepEqual(sorted(found.map((nid) => nid - first)), sorted(expected));
  });
  await fc.assert(property, runsOn(db));
});

testEachDatabase("selectConflictedSubgraph() is what lies between the given events", async (db) => {
  const property = fc.asyncProperty(
    graphs,
    fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
    async (graph, pick) => {
      const first = await db.transaction((tx) => insertGraph(tx, graph));
      const ends = new Set(pick.map((n) => n % graph.length));
      const down = closure(graph, ends);
      const expected = [...down].filter((n) => [...closure(graph, [n])].some((below) => ends.has(below)));
      const found = await selectConflictedSubgraph(db, [...ends].map((n) => n + first));
      deepEqual(sorted(found.map((nid) => nid - first)), sorted(expected));
    },
  );
  await fc.assert(property, runsOn(db));
});

testEachDatabase(
  "selectAuthDifference() and selectConflictedSubgraph() see events that are not written yet",
  async (db) => {
    const property = fc.asyncProperty(
      graphs,
      fc.nat(),
      fc.array(fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), { minLength: 2, maxLength: 4 }),
      fc.array(fc.nat(), { maxLength: 6 }),
      async (graph, cut, picks, commonPicks) => {
        const [whole, part] = await db.transaction(async (tx) => {
          return [await insertGraph(tx, graph), await insertGraph(tx, graph)] as const;
        });
        const written = cut % graph.length;
        const unwritten = await withdraw(db, { graph, first: part, from: written });
        const common = new Set(commonPicks.map((n) => n % graph.length));
        const sets = picks.map((pick) => [...new Set(pick.map((n) => n % graph.length))].filter((n) => !common.has(n)));
        const answers = [];
        for (const first of [whole, part]) {
          const at = (list: Iterable<number>) => [...list].map((n) => n + first);
          const more = first === part ? { unwritten } : {};
          const input = { sets: sets.map(at), common: () => Promise.resolve(at(common)), ...more };
          const difference = await selectAuthDifference(db, input);
          const subgraph = await selectConflictedSubgraph(
            db,
            at(picks.flatMap((p) => p.map((n) => n % graph.length))),
            more,
          );
          answers.push([difference, subgraph].map((nids) => sorted(nids.map((nid) => nid - first))));
        }
        deepEqual(answers[1], answers[0]);
      },
    );
    await fc.assert(property, runsOn(db));
  },
);

/** Takes the last events of a graph out of the database; returns what is known of them. */
async function withdraw(
  db: Database,
  { graph, first, from }: { graph: Graph; first: number; from: number },
): Promise<Map<number, { rank: number; auth: { nid: number; rank: number }[] }>> {
  const ranks: number[] = [];
  for (const auth of graph) ranks.push(1 + Math.max(0, ...auth.map((n) => ranks[n] ?? 0)));
  await db.transaction((tx) =>
    tx.runMany([
      sql`DELETE FROM event_auth WHERE event_nid >= ${first + from}`,
      sql`DELETE FROM events WHERE event_nid >= ${first + from}`,
    ])
  );
  const edge = (n: number) => ({ nid: first + n, rank: ranks[n] ?? 0 });
  return new Map(
    graph.slice(from).map((auth, index) => {
      const { nid, rank } = edge(from + index);
      return [nid, { rank, auth: auth.map(edge) }] as const;
    }),
  );
}

testEachDatabase("selectAuthDifference() asks for what a large state leads to in few steps", async (db) => {
  // All of 3,000 members rest on the same three events; one state has a fourth between, which nobody else rests on.
  const graph: number[][] = [[], [0], [1], [2], [3]];
  for (let member = 0; member < 3_000; member++) graph.push([0, 1, 2]);
  const first = await db.transaction((tx) => insertGraph(tx, graph));
  let queries = 0;
  let rows = 0;
  const counting: Db = {
    dialect: db.dialect,
    async all<Row>(query: Sql) {
      queries++;
      const found = await db.all<Row>(query);
      rows += found.length;
      return found;
    },
    get: (query) => db.get(query),
  };
  const common = graph.map((_, n) => n + first).filter((nid) => nid !== first + 3 && nid !== first + 4);
  const sets = [[first + 4], [first + 2]];
  const found = await selectAuthDifference(counting, { sets, common: () => Promise.resolve(common) });
  deepEqual(sorted(found), [first + 2, first + 3, first + 4]);
  ok(queries <= 10 && rows <= 30, `${queries} queries, ${rows} rows`);
});

testEachDatabase("selectAuthDifference() does not walk a long chain that both states share", async (db) => {
  const graph: number[][] = Array.from({ length: 400 }, (_, n) => n === 0 ? [] : [n - 1]);
  graph.push([399], [399]);
  const first = await db.transaction((tx) => insertGraph(tx, graph));
  let queries = 0;
  const counting: Db = {
    dialect: db.dialect,
    all(query) {
      queries++;
      return db.all(query);
    },
    get: (query) => db.get(query),
  };
  const sets = [[first + 400], [first + 401]];
  const found = await selectAuthDifference(counting, { sets, common: () => Promise.resolve([]) });
  deepEqual(sorted(found), [first + 400, first + 401]);
  ok(queries <= 3, `${queries} queries`);
});
