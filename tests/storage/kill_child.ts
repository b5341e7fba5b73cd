/**
 * The process that `kill_test.ts` kills: writes events from ten writers as fast as it can, and says on standard output
 * which ones are acknowledged. Arguments: the database's options as JSON.
 */
import type { EventId, UserId } from "../../src/protocol/ids.ts";
import { type DatabaseOptions, openDatabase } from "../../src/storage/open_database.ts";
import { insertEventBodies, insertEvents } from "../../src/storage/event_writes.ts";
import { IdAllocator } from "../../src/storage/id_blocks.ts";
import { advanceStream } from "../../src/storage/streams.ts";

const WRITERS = 10;

const db = await openDatabase(JSON.parse(Deno.args[0] ?? "{}") as DatabaseOptions);
const ids = new IdAllocator({ db, sequence: "event" });
const encoder = new TextEncoder();
await Promise.all(Array.from({ length: WRITERS }, writeForEver));

async function writeForEver(): Promise<void> {
  for (;;) {
    const nid = await ids.next();
    await writeEvent(nid);
    Deno.stdout.writeSync(encoder.encode(`${nid}\n`));
  }
}

async function writeEvent(nid: number): Promise<void> {
  await db.transaction(async (tx) => {
    const json = JSON.stringify({ nid, padding: "x".repeat(nid % 500) });
    const edges = [nid + 1, nid + 2, nid + 3];
    await insertEventBodies(tx, [{ nid, roomNid: 1, json, prevNids: edges, missingPrev: [], authNids: edges }]);
    const position = await advanceStream(tx, "events");
    await insertEvents(tx, [{
      nid,
      eventId: `$${nid}` as EventId,
      roomNid: 1,
      type: "m.room.message",
      stateKeyNid: null,
      sender: "@alice:example.org" as UserId,
      depth: position,
      position,
      originServerTs: 1,
      receivedTs: 1,
      isOutlier: false,
      isRejected: false,
      isSoftFailed: false,
      stateBefore: 0,
      stateAfter: 0,
      authRank: 1,
      redactedByNid: null,
      transaction: null,
    }]);
  });
}
