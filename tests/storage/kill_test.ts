/** A process is killed in the middle of its writing, again and again. Nothing it acknowledged may be gone. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { openDatabase } from "../../src/storage/open_database.ts";
import type { Tx } from "../../src/storage/database.ts";
import { perDialect, sql } from "../../src/storage/sql.ts";
import type { DatabaseOptions } from "../../src/storage/open_database.ts";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { writeUntilKilled } from "../harness/kill.ts";

const KILLS = 20;
const CHILD = new URL("kill_child.ts", import.meta.url);

for (const dialect of DIALECTS) {
  Deno.test(`what was acknowledged survives ${KILLS} kills, and nothing is half there [${dialect}]`, async () => {
    await using test = await createTestDatabase(dialect);
    const options: DatabaseOptions = "sqlite" in test.options
      ? { sqlite: { path: test.options.sqlite.path } }
      : test.options;
    const acknowledged = new Set<number>();
    for (let round = 0; round < KILLS; round++) {
      // A different moment each time: right after the start, in the middle of a batch, after many.
      const lines = await writeUntilKilled(CHILD, { options, acknowledgements: 1 + (round * 37) % 211 });
      for (const nid of lines.map(Number)) {
        ok(!acknowledged.has(nid), `event ${nid} was acknowledged twice`);
        acknowledged.add(nid);
      }
    }
    ok(acknowledged.size >= KILLS);
    await checkWhatIsThere(options, acknowledged);
  });
}

async function checkWhatIsThere(options: DatabaseOptions, acknowledged: ReadonlySet<number>): Promise<void> {
  await using db = await openDatabase(options);
  await db.transaction((tx) => checkInside(tx, acknowledged));
}

async function checkInside(tx: Tx, acknowledged: ReadonlySet<number>): Promise<void> {
  // On PostgreSQL a transaction of the killed process may still be at work: it waits until the check is over.
  await tx.run(perDialect({ sqlite: sql`SELECT 1`, postgres: sql`LOCK TABLE events IN EXCLUSIVE MODE` }));
  const rows = await tx.all<{ event_nid: number; position: number; json: string | null; prevs: number; auths: number }>(
    sql`
    SELECT e.event_nid, e.position, j.json,
      (SELECT COUNT(*) FROM event_auth a WHERE a.event_nid = e.event_nid) AS auths, COALESCE(p.prevs, 0) AS prevs
    FROM events e LEFT JOIN event_json j ON j.event_nid = e.event_nid
    LEFT JOIN (SELECT event_nid, COUNT(*) AS prevs FROM event_prev GROUP BY event_nid) p ON p.event_nid = e.event_nid
    ORDER BY e.position`,
  );
  const found = new Set(rows.map(({ event_nid }) => event_nid));
  deepEqual([...acknowledged].filter((nid) => !found.has(nid)), [], "acknowledged and gone");
  for (const { event_nid, json, prevs, auths } of rows) {
    equal(json === null ? null : JSON.parse(json).nid, event_nid);
    deepEqual([prevs, auths], [3, 3], `event ${event_nid} is half there`);
  }
  const total = await tx.get<{ jsons: number; edges: number; position: number }>(sql`
    SELECT (SELECT COUNT(*) FROM event_json) AS jsons, (SELECT COUNT(*) FROM event_prev) AS edges,
      (SELECT position FROM stream_positions WHERE stream = 'events') AS position`);
  deepEqual({ ...total }, { jsons: rows.length, edges: rows.length * 3, position: rows.length });
  deepEqual(rows.map(({ position }) => position), rows.map((_, index) => index + 1), "positions have gaps");
}
