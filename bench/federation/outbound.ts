/**
 * One message to 1,000 servers, which a process of its own plays: until the last has it, and what memory that takes.
 *
 * The room is made first, in this process; then a server of its own takes over the database.
 */
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import { RunningProcess } from "../../tests/harness/process.ts";
import { TestServer } from "../../tests/harness/server.ts";
import { server, signerOf } from "../../tests/federation/environment.ts";
import { prepare, SERVER_NAME, start } from "../servers.ts";
import { Api } from "../small_load.ts";
import { makeChain, receive } from "./events.ts";
import { openBenchDatabase, tell } from "./measure.ts";
import { sinkAddresses } from "./sink_addresses.ts";
import { peakMb, watchedProgram } from "./watched.ts";

const [servers = "1000"] = Deno.args;
const SERVERS = Number(servers);
const TARGET_MS = 3_000;
const TARGET_MB = 200;
const TIMEOUT_MS = 120_000;

/** Makes the room with a member of each server; returns it with its local member's token. */
async function makeRoom(database: Parameters<typeof TestServer.start>[0]["database"], port: string) {
  await using hs = await TestServer.start({ database, serverName: SERVER_NAME });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" }) as RoomId;
  const said = sinkAddresses(SERVERS).map((address) => {
    const userId = `@u:${server(`${address}:${port}`)}` as UserId;
    return { type: "m.room.member", sender: userId, stateKey: userId, content: { membership: "join" } };
  });
  const parts = hs.parts.rooms;
  const events = await makeChain(parts, { roomId, said, signer: signerOf("bench.test") });
  await receive(parts, { roomId, events });
  return { roomId, token: alice.accessToken ?? "" };
}

await using sink = new RunningProcess(Deno.execPath(), {
  args: ["run", "--no-check", "-A", new URL("sink.ts", import.meta.url).pathname, servers],
});
const [, sinkPort = "", authority] = await sink.waitFor(/listens on (\d+) by (\S+)/);
await using database = await openBenchDatabase();
const { roomId, token } = await makeRoom(database, sinkPort);
const program = watchedProgram();
const { folder } = database;
const config = {
  federation_custom_ca_list: [authority],
  ip_range_blacklist: [],
  database: { name: "sqlite3", args: { database: `${folder}/homeserver.db` } },
};
const port = await prepare(program, { folder, config });
const running = await start(program, { folder, port });
await using process = running.process;
const api = new Api(running.url);
tell("memory before", { unit: "MB", value: peakMb(process.pid) });
for (const text of ["first", "second"]) {
  const started = performance.now();
  const body = { msgtype: "m.text", body: text };
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${text}`;
  await api.call("PUT", path, { token, body });
  await sink.waitFor(new RegExp(`all have ${text}`), { timeoutMs: TIMEOUT_MS });
  const connections = text === "first" ? "new connections" : "kept connections";
  const value = performance.now() - started;
  tell(`outbound, ${SERVERS} servers, ${connections}`, { unit: "ms", value, target: TARGET_MS });
}
tell("  most memory", { unit: "MB", value: peakMb(process.pid), target: TARGET_MB });
await process.stop();
await sink.kill();
await database[Symbol.asyncDispose]();
Deno.exit(0);
