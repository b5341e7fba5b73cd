/**
 * The process that `kill_rooms_test.ts` kills: sends messages to ten rooms at once as fast as it can, and says on
 * standard output which ones are acknowledged. Arguments: the database's options as JSON.
 */
import type { RoomId } from "../../src/protocol/ids.ts";
import { type DatabaseOptions, openDatabase } from "../../src/storage/open_database.ts";
import { sql } from "../../src/storage/sql.ts";
import { openEngine, testRequester } from "../harness/engine.ts";

const ROOMS = 10;

const db = await openDatabase(JSON.parse(Deno.args[0] ?? "{}") as DatabaseOptions);
const { engine } = await openEngine(db);
const alice = testRequester("alice");
const encoder = new TextEncoder();
const rows = await db.all<{ room_id: RoomId }>(sql`SELECT room_id FROM rooms LIMIT ${ROOMS}`);
const rooms = rows.map(({ room_id }) => room_id);
while (rooms.length < ROOMS) rooms.push(await engine.createRoom(alice, { preset: "public_chat" }));
await Promise.all(rooms.map(sendForEver));

async function sendForEver(roomId: RoomId): Promise<void> {
  for (let n = 0;; n++) {
    const content = { n, padding: "x".repeat(n % 500) };
    const eventId = await engine.sendEvent(alice, {
      ...{ roomId, type: "m.room.message", stateKey: null, content, txnId: null },
    });
    Deno.stdout.writeSync(encoder.encode(`${eventId}\n`));
  }
}
