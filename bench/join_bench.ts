/**
 * Joining a big room of another server: `deno run -A bench/join_bench.ts [members [other state events]]`.
 *
 * The room has 20,000 members and 10,000 further state events. Its server, a process of its own, lets us in without the
 * members and gives them when asked. Told: when the join is answered and a message sent, when the state is whole, the
 * most memory, and how long at the most the event loop was held up. SQLite with `synchronous=FULL`; CPU is of this process.
 */
import process from "node:process";
import { RunningProcess } from "../tests/harness/process.ts";
import { TestServer } from "../tests/harness/server.ts";
import type { TestDatabase } from "../tests/harness/databases.ts";
import { testDns } from "../tests/federation/environment.ts";
import { path } from "../tests/harness/client.ts";

const [members = "20000", others = "10000"] = Deno.args;
const MIB = 1024 * 1024;
const TICK_MS = 5;

/** Time that the main thread has been on a processor: what it waited for one, beside other work, is not our doing. */
function threadMs(): number {
  try {
    return Number(Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/schedstat`).split(" ")[0]) / 1e6;
  } catch {
    return performance.now();
  }
}

/** Watches memory, and how long timers have to wait while the main thread works. */
class Watch implements Disposable {
  peakMb = 0;
  readonly #held: { ms: number; at: number }[] = [];
  readonly #start = performance.now();
  #last = threadMs();
  readonly #timer = setInterval(() => this.#look(), TICK_MS);

  #look(): void {
    const now = threadMs();
    this.#held.push({ ms: now - this.#last, at: performance.now() - this.#start });
    this.#last = now;
    this.peakMb = Math.max(this.peakMb, Deno.memoryUsage().rss / MIB);
  }

  /** The longest times the event loop was held up, with when that was. */
  longest(count: number): { ms: number; at: number }[] {
    return this.#held.toSorted((a, b) => b.ms - a.ms).slice(0, count);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

async function openDatabase(): Promise<TestDatabase> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
  return {
    dialect: "sqlite",
    options: { sqlite: { path: `${folder}/homeserver.db` } },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

const child = new RunningProcess(Deno.execPath(), {
  args: ["run", "--no-check", "-A", new URL("join_resident.ts", import.meta.url).pathname, members, others],
});
try {
  const [, roomId = "", authority = ""] = await child.waitFor(/serves (\S+) by (\S+)/, { timeoutMs: 120_000 });
  await using database = await openDatabase();
  await using hs = await TestServer.start({
    ...{ database, dns: testDns() },
    config: { federation_custom_ca_list: [authority], ip_range_blacklist: [], trusted_key_servers: [] },
  });
  const [alice] = await hs.register("alice");
  const restMb = Deno.memoryUsage().rss / MIB;
  using watch = new Watch();
  const start = performance.now();
  const cpu = process.cpuUsage();
  const told = (what: string) => {
    const { user, system } = process.cpuUsage(cpu);
    const wall = (performance.now() - start) / 1000;
    console.log(`${what.padEnd(44)} ${wall.toFixed(2).padStart(6)} s ${((user + system) / 1e6).toFixed(2)} s of CPU`);
  };
  // Not through the client of the tests, which checks each answer against its schema.
  const get = async (place: string, query: Record<string, string> = {}) => {
    const headers = { authorization: `Bearer ${alice.accessToken}` };
    const url = `${hs.base}/_matrix/client/v3${place}?${new URLSearchParams(query)}`;
    const response = await fetch(url, { headers });
    if (!response.ok) throw new Error(`${place}: ${response.status}`);
    return await response.text();
  };
  await alice.post(path`/join/${roomId}?via=${roomId.slice(roomId.indexOf(":") + 1)}`);
  told("join answered");
  await alice.sendText(roomId, "Hello");
  await get("/sync", { filter: JSON.stringify({ room: { state: { lazy_load_members: true } } }) });
  told("message sent, room shown by a lazy sync");
  const listed = await get(path`/rooms/${roomId}/members`);
  told(`whole: ${listed.split('"m.room.member"').length - 1} members listed`);
  const first = await get("/sync", { filter: JSON.stringify({ room: { timeline: { limit: 1 } } }) });
  told("all shown by a first sync");
  const [, since = ""] = /"next_batch":"([^"]+)"/.exec(first) ?? [];
  await get("/sync", { since });
  console.log(`memory: ${restMb.toFixed(0)} MB before, ${watch.peakMb.toFixed(0)} MB at most`);
  const held = watch.longest(8).map(({ ms, at }) => `${ms.toFixed(0)} ms at ${(at / 1000).toFixed(2)} s`);
  console.log(`event loop held up: ${held.join(", ")}`);
} finally {
  await child.kill();
}
Deno.exit(0);
