/** The database of a room of 10,000 members, each of whom changes their membership once more. */
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import { sql } from "../../src/storage/sql.ts";
import { TestServer } from "../../tests/harness/server.ts";
import { signerOf } from "../../tests/federation/environment.ts";
import { makeChain, receive } from "./events.ts";
import { measure, openBenchDatabase, tell } from "./measure.ts";

const [members = "10000"] = Deno.args;
const MEMBERS = Number(members);
const TARGET_MIB = 40;
const MIB = 1024 * 1024;
const SHOWN_TABLES = 8;

async function sizeOf({ parts }: TestServer): Promise<number> {
  const pages = await parts.core.db.get<{ bytes: number }>(sql`
    SELECT (page_count - freelist_count) * page_size AS bytes
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`);
  return (pages?.bytes ?? NaN) / MIB;
}

/** Not every build of SQLite can tell: none are returned then. */
async function largestTables({ parts }: TestServer): Promise<{ name: string; bytes: number }[]> {
  return await parts.core.db.all<{ name: string; bytes: number }>(sql`
    SELECT name, SUM(pgsize) AS bytes FROM dbstat GROUP BY name ORDER BY bytes DESC LIMIT ${SHOWN_TABLES}`)
    .catch(() => []);
}

await using database = await openBenchDatabase();
await using hs = await TestServer.start({ database });
const [alice] = await hs.register("alice");
const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" }) as RoomId;
const users = Array.from({ length: MEMBERS }, (_, index) => `@user${index}:server${index % 500}.test` as UserId);
const { rooms } = hs.parts;
const signer = signerOf("bench.test");
let cpuMs = 0;
for (const suffix of ["", " again"]) {
  const said = users.map((userId, index) => ({
    ...{ type: "m.room.member", sender: userId, stateKey: userId },
    content: { membership: "join", displayname: `User ${index}${suffix}` },
  }));
  const events = await makeChain(rooms, { roomId, said, signer });
  cpuMs += (await measure(() => receive(rooms, { roomId, events }))).cpuMs;
}
tell(`disk, ${MEMBERS} members and as many changes`, { unit: "MiB", value: await sizeOf(hs), target: TARGET_MIB });
tell("  CPU of an event", { unit: "ms", value: cpuMs / (2 * MEMBERS) });
for (const { name, bytes } of await largestTables(hs)) {
  console.log(`${name.padEnd(40)} ${(bytes / MIB).toFixed(1)} MiB`);
}
Deno.exit(0);
