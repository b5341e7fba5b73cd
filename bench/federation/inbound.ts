/**
 * Taking in events: transactions of 50 messages from one server, into one room and into ten, from the signed request to
 * the answer. CPU is that of this process.
 */
import { canonicalJson } from "../../src/protocol/canonical_json.ts";
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { authorize } from "../../src/federation/x_matrix.ts";
import { SERVER_NAME } from "../../tests/harness/server.ts";
import { type Resident, startResident } from "../../tests/federation/resident.ts";
import { makeChain } from "./events.ts";
import { measure, openBenchDatabase, tell } from "./measure.ts";

const [events = "10000"] = Deno.args;
const EVENTS = Number(events);
const PDUS = 50;
const WARM_UP = 20;
const TARGETS = new Map([[1, 1_000], [10, 1_500]]);

/** Makes the messages of one user of the peer. */
async function messages(
  { hs, signer }: Resident,
  { roomId, count }: { roomId: RoomId; count: number },
): Promise<JsonObject[]> {
  const said = Array.from({ length: count }, (_, index) => ({
    ...{ type: "m.room.message", sender: `@bob:${signer.serverName}` as UserId, stateKey: null },
    content: { msgtype: "m.text", body: `Message ${index}: the quick brown fox jumps over the lazy dog` },
  }));
  return (await makeChain(hs.parts.rooms, { roomId, said, signer })).map(({ json }) => JSON.parse(json));
}

function requests({ signer }: Resident, pdus: readonly JsonObject[]): Request[] {
  const found: Request[] = [];
  for (let start = 0; start < pdus.length; start += PDUS) {
    const uri = `/_matrix/federation/v1/send/bench${start}-${crypto.randomUUID()}`;
    const part = pdus.slice(start, start + PDUS);
    const bodyText = canonicalJson({ origin: signer.serverName, origin_server_ts: Date.now(), pdus: part, edus: [] });
    const authorization = authorize({ method: "PUT", uri, destination: SERVER_NAME, bodyText }, signer);
    found.push(new Request(`http://hs.test${uri}`, { method: "PUT", headers: { authorization }, body: bodyText }));
  }
  return found;
}

async function send(resident: Resident, all: readonly Request[]): Promise<void> {
  for (const request of all) {
    const response = await resident.handler(request, "127.0.0.1");
    const results = Object.values((await response.json()).pdus);
    if (results.length !== PDUS || results.some((result) => JSON.stringify(result) !== "{}")) {
      throw new Error(`An event was not taken: ${JSON.stringify(results)}`);
    }
  }
}

async function run(rooms: number): Promise<void> {
  await using database = await openBenchDatabase();
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const chains: JsonObject[][] = [];
  const count = (EVENTS + WARM_UP * PDUS) / rooms;
  for (let index = 0; index < rooms; index++) {
    const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
    await resident.join(roomId);
    chains.push(await messages(resident, { roomId: roomId as RoomId, count }));
  }
  // A transaction holds some events of each room.
  const each = PDUS / rooms;
  const pdus: JsonObject[] = [];
  for (let at = 0; at < count; at += each) pdus.push(...chains.flatMap((chain) => chain.slice(at, at + each)));
  const all = requests(resident, pdus);
  await send(resident, all.splice(0, WARM_UP));
  const { wallMs, cpuMs } = await measure(() => send(resident, all));
  const title = `inbound, ${rooms === 1 ? "one room" : `${rooms} rooms`}`;
  tell(title, { unit: "/s", value: EVENTS / wallMs * 1000, target: TARGETS.get(rooms) ?? null, isRate: true });
  tell("  CPU of an event", { unit: "ms", value: cpuMs / EVENTS });
}

for (const rooms of TARGETS.keys()) await run(rooms);
Deno.exit(0);
