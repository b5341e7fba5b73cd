/**
 * How much the room engine takes for one event, without HTTP: `deno run -A bench/engine_bench.ts [rounds [folder]]`.
 *
 * `batched` sends come from many users of one room at once, as under load; `alone` ones wait for each other. CPU is that
 * of this process, disk waits excluded; wall includes the commit with `synchronous=FULL`.
 */
import process from "node:process";
import { openDatabase } from "../src/storage/open_database.ts";
import { openEngine, testRequester } from "../tests/harness/engine.ts";
import type { RoomId } from "../src/protocol/ids.ts";

const ROUNDS = Number(Deno.args[0] ?? "4000");
const SENDERS = 10;

interface Figure {
  readonly wallUs: number;
  readonly cpuUs: number;
}

async function measure(count: number, work: () => Promise<void>): Promise<Figure> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const wallUs = (performance.now() - start) * 1000 / count;
  const { user, system } = process.cpuUsage(cpu);
  return { wallUs, cpuUs: (user + system) / count };
}

function show(name: string, { wallUs, cpuUs }: Figure): void {
  console.log(`${name.padEnd(34)} ${wallUs.toFixed(0).padStart(7)} µs wall ${cpuUs.toFixed(0).padStart(7)} µs CPU`);
}

const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-", dir: Deno.args[1] ?? "/tmp" });
const db = await openDatabase({ sqlite: { path: `${folder}/homeserver.db` } });
const { engine } = await openEngine(db);
const alice = testRequester("alice");
const senders = Array.from({ length: SENDERS }, (_, index) => testRequester(`user${index}`));
const content = { msgtype: "m.text", body: "The quick brown fox jumps over the lazy dog, again and again" };
let txn = 0;

function send(roomId: RoomId, sender = alice): Promise<unknown> {
  return engine.sendEvent(sender, { roomId, type: "m.room.message", stateKey: null, content, txnId: `t${txn++}` });
}

async function run(roomId: RoomId, { senders: count, rounds }: { senders: number; rounds: number }): Promise<void> {
  const each = async (sender: typeof alice) => {
    for (let round = 0; round < rounds / count; round++) await send(roomId, sender);
  };
  await Promise.all(senders.slice(0, count).map(each));
}

try {
  const rooms: RoomId[] = [];
  const create = async () => void rooms.push(await engine.createRoom(alice, { preset: "public_chat", name: "Room" }));
  for (let warm = 0; warm < 20; warm++) await create();
  show(
    "create a room (8 events)",
    await measure(100, async () => {
      for (let index = 0; index < 100; index++) await create();
    }),
  );
  const room = rooms[0];
  if (room === undefined) throw new Error("No room was created");
  for (const sender of senders) await engine.join(sender, { roomId: room });
  await run(room, { senders: SENDERS, rounds: 1000 });
  show(
    "join (new users)",
    await measure(200, async () => {
      for (let index = 0; index < 200; index++) await engine.join(testRequester(`joiner${index}`), { roomId: room });
    }),
  );
  show("send, 1 sender", await measure(ROUNDS, () => run(room, { senders: 1, rounds: ROUNDS })));
  show(`send, ${SENDERS} senders`, await measure(ROUNDS, () => run(room, { senders: SENDERS, rounds: ROUNDS })));
  show(
    "send, 100 at once",
    await measure(ROUNDS, async () => {
      for (let done = 0; done < ROUNDS; done += 100) {
        await Promise.all(Array.from({ length: 100 }, (_, index) => send(room, senders[index % SENDERS])));
      }
    }),
  );
} finally {
  await db[Symbol.asyncDispose]();
  await Deno.remove(folder, { recursive: true });
}
