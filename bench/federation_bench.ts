/**
 * What federation takes: `deno run -A bench/federation_bench.ts [inbound|outbound|disk ...]`.
 *
 * `inbound`: transactions of 50 messages from one server, into one room and into ten, from the signed request to the answer.
 * `outbound`: one message to 1,000 servers, which a process of its own plays. `disk`: a room of 10,000 members, each of
 * whom changed their membership once more. SQLite with `synchronous=FULL`; CPU is that of this process.
 */
import process from "node:process";
import { selectAuthKeys } from "../src/protocol/auth_events.ts";
import { canonicalJson } from "../src/protocol/canonical_json.ts";
import { buildEvent, type BuiltEvent } from "../src/protocol/event_builder.ts";
import type { EventId, RoomId, UserId } from "../src/protocol/ids.ts";
import type { JsonObject } from "../src/protocol/json.ts";
import { sql } from "../src/storage/sql.ts";
import { authorize } from "../src/federation/x_matrix.ts";
import { RunningProcess } from "../tests/harness/process.ts";
import { SERVER_NAME, TestServer } from "../tests/harness/server.ts";
import type { TestDatabase } from "../tests/harness/databases.ts";
import { server, signerOf, testDns } from "../tests/federation/environment.ts";
import { type Resident, startResident } from "../tests/federation/resident.ts";

const EVENTS = 10_000;
const PDUS = 50;
const SERVERS = 1_000;
const MEMBERS = 10_000;
const CHUNK = 250;
const MIB = 1024 * 1024;

async function openDatabase(): Promise<TestDatabase & { readonly folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
  return {
    folder,
    dialect: "sqlite",
    options: { sqlite: { path: `${folder}/homeserver.db` } },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function measure(work: () => Promise<void>): Promise<{ wallMs: number; cpuMs: number }> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs: performance.now() - start, cpuMs: (user + system) / 1000 };
}

/** Makes the messages of one user of the peer, each on top of the one before. */
async function chain(
  { hs, signer }: Resident,
  { roomId, count }: { roomId: string; count: number },
): Promise<JsonObject[]> {
  const { engine, state } = hs.parts.rooms;
  const head = await engine.head(roomId as RoomId);
  if (head === null) throw new Error("The room is not there");
  const query = { type: "m.room.message", sender: `@bob:${signer.serverName}` as UserId, stateKey: null, content: {} };
  const auth = await state.getMany(head.stateRoot, selectAuthKeys(head.rules, query));
  const [end] = head.extremities;
  const events: JsonObject[] = [];
  let last = { eventId: end?.eventId as EventId, depth: end?.depth ?? 0 };
  for (let index = 0; index < count; index++) {
    const { event, json } = buildEvent({
      ...{ rules: head.rules, roomId: roomId as RoomId, ...query, ...signer },
      content: { msgtype: "m.text", body: `Message ${index}: the quick brown fox jumps over the lazy dog` },
      ...{ depth: last.depth + 1, prevEvents: [last.eventId], originServerTs: Date.now() },
      authEvents: [...auth.values()].map((stored) => stored.event.eventId),
    });
    events.push(JSON.parse(json));
    last = { eventId: event.eventId, depth: event.depth };
  }
  return events;
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

async function inbound(rooms: number): Promise<void> {
  await using database = await openDatabase();
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const chains: JsonObject[][] = [];
  for (let index = 0; index < rooms; index++) {
    const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
    await resident.join(roomId);
    chains.push(await chain(resident, { roomId, count: EVENTS / rooms }));
  }
  // A transaction holds some events of each room.
  const each = PDUS / rooms;
  const pdus = Array.from(
    { length: EVENTS / PDUS },
    (_, at) => chains.flatMap((one) => one.slice(at * each, (at + 1) * each)),
  );
  const all = requests(resident, pdus.flat());
  const { wallMs, cpuMs } = await measure(async () => {
    for (const request of all) {
      const response = await resident.handler(request, "127.0.0.1");
      const results = Object.values((await response.json()).pdus);
      if (results.length !== PDUS || results.some((result) => JSON.stringify(result) !== "{}")) {
        throw new Error(`An event was not taken: ${JSON.stringify(results)}`);
      }
    }
  });
  const rate = (ms: number) => (EVENTS / ms * 1000).toFixed(0).padStart(6);
  console.log(
    `inbound, ${rooms} room${rooms === 1 ? " " : "s"}  ${rate(wallMs)} PDUs/s wall ${rate(cpuMs)} PDUs/s of CPU`,
  );
}

/** Puts events of others into a room without their servers. */
async function receive(
  hs: TestServer,
  { roomId, events }: { roomId: string; events: readonly BuiltEvent[] },
): Promise<void> {
  for (let start = 0; start < events.length; start += CHUNK) {
    const outcomes = await hs.parts.rooms.engine.receiveEvents(roomId as RoomId, events.slice(start, start + CHUNK));
    const bad = outcomes.find(({ kind }) => kind !== "accepted");
    if (bad !== undefined) throw new Error(`An event was not taken: ${JSON.stringify(bad)}`);
  }
}

/** Makes member events, each on top of the one before. `before` are the members' events to replace. */
async function members(
  hs: TestServer,
  { roomId, users, before = [], content }: {
    roomId: string;
    users: readonly UserId[];
    before?: readonly BuiltEvent[];
    content: (index: number) => JsonObject;
  },
): Promise<BuiltEvent[]> {
  const { engine, state } = hs.parts.rooms;
  const head = await engine.head(roomId as RoomId);
  if (head === null) throw new Error("The room is not there");
  const keys = selectAuthKeys(head.rules, {
    type: "m.room.member",
    sender: "@x:y",
    stateKey: "@x:y",
    content: { membership: "join" },
  });
  const auth = [...(await state.getMany(head.stateRoot, keys)).values()].map((stored) => stored.event.eventId);
  const built: BuiltEvent[] = [];
  for (const [index, userId] of users.entries()) {
    const last = built.at(-1)?.event;
    const own = before[index]?.event.eventId;
    built.push(buildEvent({
      ...{ rules: head.rules, roomId: roomId as RoomId, type: "m.room.member", sender: userId, stateKey: userId },
      content: { membership: "join", ...content(index) },
      depth: (last?.depth ?? head.extremities[0]?.depth ?? 0) + 1,
      prevEvents: [last?.eventId ?? head.extremities[0]?.eventId as EventId],
      authEvents: own === undefined ? auth : [...auth, own],
      ...{ originServerTs: Date.now(), ...SIGNER },
    }));
  }
  return built;
}

const SIGNER = signerOf("bench.test");

async function outbound(): Promise<void> {
  const child = new RunningProcess(Deno.execPath(), {
    args: ["run", "--no-check", "-A", new URL("federation_sink.ts", import.meta.url).pathname, String(SERVERS)],
  });
  try {
    const [, port = "", authority = ""] = await child.waitFor(/listens on (\d+) by (\S+)/);
    await using database = await openDatabase();
    await using hs = await TestServer.start({
      ...{ database, dns: testDns() },
      config: { federation_custom_ca_list: [authority], ip_range_blacklist: [], trusted_key_servers: [] },
    });
    const [alice] = await hs.register("alice");
    const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
    const users = Array.from(
      { length: SERVERS },
      (_, index) => `@u:${server(`s${index}.peer.test:${port}`)}` as UserId,
    );
    await receive(hs, { roomId, events: await members(hs, { roomId, users, content: () => ({}) }) });
    const restMb = Deno.memoryUsage().rss / MIB;
    let peakMb = restMb;
    const timer = setInterval(() => peakMb = Math.max(peakMb, Deno.memoryUsage().rss / MIB), 20);
    for (const text of ["first", "second"]) {
      const { wallMs, cpuMs } = await measure(async () => {
        await alice.sendText(roomId, text);
        await child.waitFor(new RegExp(`all have ${text}`), { timeoutMs: 120_000 });
      });
      const connections = text === "first" ? "new connections" : "kept connections";
      console.log(
        `outbound, ${SERVERS} servers, ${connections}: ${wallMs.toFixed(0)} ms wall, ${cpuMs.toFixed(0)} ms CPU`,
      );
    }
    clearInterval(timer);
    console.log(`outbound memory: ${restMb.toFixed(0)} MB before, ${peakMb.toFixed(0)} MB at most`);
  } finally {
    await child.kill();
  }
}

async function disk(): Promise<void> {
  await using database = await openDatabase();
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  const users = Array.from({ length: MEMBERS }, (_, index) => `@user${index}:server${index % 500}.test` as UserId);
  const sizeBefore = await sizeOf(hs);
  const joins = await members(hs, { roomId, users, content: (index) => ({ displayname: `User ${index}` }) });
  const first = await measure(() => receive(hs, { roomId, events: joins }));
  const sizeJoined = await sizeOf(hs);
  const changed = await members(hs, {
    ...{ roomId, users, before: joins },
    content: (index) => ({ displayname: `User ${index} again` }),
  });
  const second = await measure(() => receive(hs, { roomId, events: changed }));
  const total = await sizeOf(hs);
  const text = (bytes: number) => (bytes / MIB).toFixed(1);
  console.log(
    `disk, ${MEMBERS} members: joins ${text(sizeJoined - sizeBefore)} MiB, changes ${text(total - sizeJoined)} MiB, ` +
      `database ${text(total)} MiB; ${(first.cpuMs / MEMBERS).toFixed(2)} and ${
        (second.cpuMs / MEMBERS).toFixed(2)
      } ms of CPU each`,
  );
  for (const { name, bytes } of (await tablesOf(hs)).slice(0, 14)) {
    console.log(`  ${name.padEnd(40)} ${text(bytes).padStart(7)} MiB`);
  }
}

async function sizeOf(hs: TestServer): Promise<number> {
  const { db } = hs.parts.core;
  const pages = await db.get<{ bytes: number }>(sql`
    SELECT (page_count - freelist_count) * page_size AS bytes
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`);
  return pages?.bytes ?? 0;
}

async function tablesOf(hs: TestServer): Promise<{ name: string; bytes: number }[]> {
  try {
    return await hs.parts.core.db.all<{ name: string; bytes: number }>(sql`
      SELECT name, SUM(pgsize) AS bytes FROM dbstat GROUP BY name ORDER BY bytes DESC LIMIT 50`);
  } catch {
    // Not every build of SQLite can tell.
    return [];
  }
}

const wanted = Deno.args.length === 0 ? ["inbound", "outbound", "disk"] : Deno.args;
if (wanted.includes("inbound")) {
  await inbound(1);
  await inbound(10);
}
if (wanted.includes("outbound")) await outbound();
if (wanted.includes("disk")) await disk();
