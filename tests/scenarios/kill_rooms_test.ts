/** A server is killed while it writes to many rooms at once. Nothing it acknowledged may be gone, nothing half there. */
import { deepEqual, ok } from "node:assert/strict";
import type { EventId, RoomId } from "../../src/protocol/ids.ts";
import { type DatabaseOptions, openDatabase } from "../../src/storage/open_database.ts";
import { perDialect, sql } from "../../src/storage/sql.ts";
import { createTestDatabase, DIALECTS } from "../harness/databases.ts";
import { openEngine } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";
import { writeUntilKilled } from "../harness/kill.ts";

const KILLS = 6;
const CHILD = new URL("kill_rooms_child.ts", import.meta.url);

for (const dialect of DIALECTS) {
  Deno.test(`the rooms of a server that is killed ${KILLS} times are whole [${dialect}]`, async () => {
    await using test = await createTestDatabase(dialect);
    const options: DatabaseOptions = "sqlite" in test.options
      ? { sqlite: { path: test.options.sqlite.path } }
      : test.options;
    const acknowledged = new Set<string>();
    for (let round = 0; round < KILLS; round++) {
      const ids = await writeUntilKilled(CHILD, { options, acknowledgements: 1 + (round * 37) % 211 });
      for (const id of ids) acknowledged.add(id);
    }
    ok(acknowledged.size >= KILLS);
    await checkRooms(options, acknowledged);
  });
}

async function checkRooms(options: DatabaseOptions, acknowledged: ReadonlySet<string>): Promise<void> {
  await using db = await openDatabase(options);
  await db.transaction(async (tx) => {
    // On PostgreSQL a transaction of the killed process may still be at work: it ends first.
    await tx.run(perDialect({ sqlite: sql`SELECT 1`, postgres: sql`LOCK TABLE stream_positions IN EXCLUSIVE MODE` }));
  });
  const parts = await openEngine(db);
  const rows = await db.all<{ position: number }>(sql`SELECT position FROM events ORDER BY position LIMIT 100000`);
  deepEqual(rows.map(({ position }) => position), rows.map((_, index) => index + 1), "positions have gaps");
  const last = await db.get<{ position: number }>(sql`SELECT position FROM stream_positions WHERE stream = 'events'`);
  deepEqual(last?.position, rows.length);
  const rooms = await db.all<{ room_id: RoomId }>(sql`SELECT room_id FROM rooms LIMIT 100`);
  const found = new Set<string>();
  for (const { room_id } of rooms) {
    const { timeline, extremities } = await readRoom(parts, room_id);
    const ids: EventId[] = timeline.map(({ eventId }) => eventId);
    for (const [index, { prevEvents }] of timeline.entries()) {
      deepEqual(prevEvents, index === 0 ? [] : [ids[index - 1]], "events are lost or forked");
    }
    deepEqual(extremities, ids.slice(-1));
    for (const id of ids) found.add(id);
  }
  deepEqual([...acknowledged].filter((id) => !found.has(id)), [], "acknowledged and gone");
}
