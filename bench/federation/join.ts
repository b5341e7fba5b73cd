/**
 * Joining a big room of another server: `join.ts [members [other state events]]`, 20,000 and 10,000 unless given.
 *
 * The server is a process of its own, run as anybody runs it; so is the room's server, which first lets us in without the
 * members and gives them when asked (a faster join), then, for a second server of ours, gives all at once as servers do
 * that know no faster joins. Memory is the most that the server's process has held since its start.
 */
import { RunningProcess } from "../../tests/harness/process.ts";
import { prepare, start } from "../servers.ts";
import { Api, type Person } from "../small_load.ts";
import { tell } from "./measure.ts";
import { peakMb, watchedProgram } from "./watched.ts";

const [members = "20000", others = "10000"] = Deno.args;
const USABLE_MS = 5_000;
const WHOLE_MS = 60_000;
const MEMORY_MB = 512;
const HELD_MS = 100;
const START_TIMEOUT_MS = 120_000;

/** Text, not objects: a first sync of the room has twenty megabytes. */
async function get(url: string, { token }: Person): Promise<string> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text.slice(0, 200)}`);
  return text;
}

const query = (filter: unknown) => new URLSearchParams({ filter: JSON.stringify(filter) });

/** Joins, and returns how long it took until the room could be used and until all members could be listed. */
async function join(
  url: string,
  { api, alice, roomId }: { api: Api; alice: Person; roomId: string },
): Promise<{ usableMs: number; wholeMs: number }> {
  const { token } = alice;
  const room = encodeURIComponent(roomId);
  const client = "/_matrix/client/v3";
  const started = performance.now();
  const via = encodeURIComponent(roomId.slice(roomId.indexOf(":") + 1));
  await api.call("POST", `${client}/join/${room}?via=${via}`, { token, body: {} });
  const body = { msgtype: "m.text", body: "Hello" };
  await api.call("PUT", `${client}/rooms/${room}/send/m.room.message/one`, { token, body });
  const shown = await get(`${url}${client}/sync?${query({ room: { state: { lazy_load_members: true } } })}`, alice);
  if (!shown.includes("org.example.widget")) throw new Error("The room is not shown");
  const usableMs = performance.now() - started;
  const listed = (await get(`${url}${client}/rooms/${room}/members`, alice)).split('"m.room.member"').length - 1;
  if (listed !== Number(members) + 1) throw new Error(`${listed} members are listed`);
  const wholeMs = performance.now() - started;
  await get(`${url}${client}/sync?${query({ room: { timeline: { limit: 1 } } })}`, alice);
  return { usableMs, wholeMs };
}

async function run(mode: "faster" | "whole"): Promise<void> {
  const script = new URL("resident.ts", import.meta.url).pathname;
  const args = ["run", "--no-check", "-A", script, members, others, mode];
  await using resident = new RunningProcess(Deno.execPath(), { args });
  const [, roomId = "", authority] = await resident.waitFor(/serves (\S+) by (\S+)/, { timeoutMs: START_TIMEOUT_MS });
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
  try {
    const program = watchedProgram();
    const config = { federation_custom_ca_list: [authority], ip_range_blacklist: [] };
    const port = await prepare(program, { folder, config });
    const { url, process } = await start(program, { folder, port });
    await using server = process;
    const restMb = peakMb(server.pid);
    // What the start and the first account hold up is not the join's doing.
    const api = new Api(url);
    const alice = await api.register("alice");
    server.signal("SIGUSR2");
    await server.waitFor(/WATCHED 1 /);
    const { usableMs, wholeMs } = await join(url, { api, alice, roomId });
    server.signal("SIGUSR2");
    const [, watched = "[]"] = await server.waitFor(/WATCHED 2 (\[.*\])/);
    const held: { ms: number; at: number }[] = JSON.parse(watched);
    const title = mode === "faster" ? "join, 20,000 members later" : "join, 20,000 members at once";
    const name = title.replace("20,000", Number(members).toLocaleString("en"));
    if (mode === "faster") tell(`${name}: usable`, { unit: "ms", value: usableMs, target: USABLE_MS });
    tell(`${name}: whole`, { unit: "ms", value: wholeMs, target: WHOLE_MS });
    tell("  most memory", { unit: "MB", value: peakMb(server.pid), target: MEMORY_MB });
    tell("  memory before", { unit: "MB", value: restMb });
    tell("  event loop held up at most", { unit: "ms", value: held[0]?.ms ?? NaN, target: HELD_MS });
    console.log(
      `held up: ${held.map(({ ms, at }) => `${ms.toFixed(0)} ms at ${(at / 1000).toFixed(1)} s`).join(", ")}`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

await run("faster");
await run("whole");
Deno.exit(0);
