/**
 * Whether the server fits into a small machine: `make bench-small`.
 *
 *   small.ts [--executable dist/synapse-ts] [--minutes 10] [--users 50] [--rooms 500] [--members 5000] [--json FILE]
 *
 * What people do in an hour (each about ten things a minute) happens in the time given. Fails where the server takes more
 * than 400 MB of memory at any time, or more in the last third of the time than in the second.
 */
import { parseArgs } from "node:util";
import { endChildrenOnSignals } from "../tests/harness/process.ts";
import { ownProgram, prepare, processIds, residentMb, type Server, start } from "./servers.ts";
import { Api, load, populate } from "./small_load.ts";

const LIMIT_MB = 400;
/** What garbage collection makes of the same load at one time or another. */
const NOISE = 1.05;
const SAMPLE_MS = 2_000;
const ACTIONS_PER_PERSON_AND_HOUR = 600;

interface Sample {
  readonly seconds: number;
  readonly mb: number;
}

/** Looks at the memory until the signal aborts. */
async function watchMemory(server: Server, signal: AbortSignal): Promise<Sample[]> {
  const started = performance.now();
  const samples: Sample[] = [];
  while (!signal.aborted) {
    const mb = await residentMb(await processIds(server));
    samples.push({ seconds: (performance.now() - started) / 1000, mb });
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
  }
  return samples;
}

function median(samples: readonly Sample[]): number {
  const sorted = samples.map(({ mb }) => mb).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

function third(samples: readonly Sample[], index: 0 | 1 | 2): number {
  const length = samples.length / 3;
  return median(samples.slice(Math.floor(index * length), Math.ceil((index + 1) * length)));
}

const show = (mb: number) => `${mb.toFixed(0)} MB`;

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      executable: { type: "string" },
      minutes: { type: "string", default: "10" },
      users: { type: "string", default: "50" },
      rooms: { type: "string", default: "500" },
      members: { type: "string", default: "5000" },
      json: { type: "string" },
    },
  });
  endChildrenOnSignals();
  const size = { users: Number(values.users), rooms: Number(values.rooms), members: Number(values.members) };
  const ms = Number(values.minutes) * 60_000;
  const program = ownProgram(values.executable);
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-small-" });
  try {
    const port = await prepare(program, { folder });
    const server = await start(program, { folder, port });
    await using _process = server.process;
    const rest = await residentMb(await processIds(server));
    const api = new Api(server.url);
    const setUpStarted = performance.now();
    const world = await populate(api, size);
    const seconds = (performance.now() - setUpStarted) / 1000;
    const setUp = await residentMb(await processIds(server));
    console.log(
      `at rest ${show(rest)}; ${size.members + size.users} accounts and ${size.rooms} rooms after ${
        seconds.toFixed(0)
      } s: ${show(setUp)}`,
    );
    const before = api.calls;
    const ending = new AbortController();
    const watching = watchMemory(server, ending.signal);
    const timer = setTimeout(() => ending.abort(), ms);
    await load(api, world, { everyMs: ms / (size.users * ACTIONS_PER_PERSON_AND_HOUR), signal: ending.signal });
    clearTimeout(timer);
    const samples = await watching;
    const thirds = [third(samples, 0), third(samples, 1), third(samples, 2)] as const;
    const highest = Math.max(setUp, ...samples.map(({ mb }) => mb));
    console.log(
      `${api.calls - before} requests, ${api.failures} failed; thirds of the time ${
        thirds.map(show).join(", ")
      }; at most ${show(highest)}`,
    );
    if (values.json !== undefined) {
      await Deno.writeTextFile(values.json, JSON.stringify({ size, rest, setUp, highest, thirds, samples }, null, 1));
    }
    const problems = [
      ...(highest > LIMIT_MB ? [`more than ${show(LIMIT_MB)}`] : []),
      ...(thirds[2] > thirds[1] * NOISE ? ["still growing after the first third"] : []),
      ...(api.failures > 0 ? ["requests failed"] : []),
    ];
    console.log(problems.length === 0 ? "met" : `MISSED: ${problems.join(", ")}`);
    return problems.length === 0;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.exit(await main() ? 0 : 1);
