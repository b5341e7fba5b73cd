/**
 * Measures this server with load.mjs, and Synapse after it in the same run where there is one: `make bench`.
 *
 *   compare.ts [--executable dist/synapse-ts] [--synapse VENV | --install-synapse] [--scenarios LIST] [--n N] [--json FILE]
 *
 * SYNAPSE_VENV names the virtual environment too. Each server runs twice, on an empty database each time: through the
 * scenarios of single operations, then through those of syncing with ROOMS (60) rooms of MEMBERS (50) members. A few
 * minutes with Synapse, seconds without.
 */
import { parseArgs } from "node:util";
import { endChildrenOnSignals } from "../tests/harness/process.ts";
import { type LoadResults, type Measurement, renderTable } from "./figures.ts";
import { installSynapse } from "./install_synapse.ts";
import {
  ownProgram,
  prepare,
  processIds,
  type Program,
  REGISTRATION_SECRET,
  residentMb,
  start,
  synapseProgram,
} from "./servers.ts";

const SCENARIOS = "send,sendc,send1c,fanout,rooms,messages,todevice,initsync,incsync,sliding";
/** Those that make many rooms of many members first. */
const IN_MANY_ROOMS: ReadonlySet<string> = new Set(["initsync", "incsync", "sliding"]);
const REST_MS = 3_000;

interface LoadOptions {
  readonly scenarios: string;
  readonly n: string;
}

/** Runs one server through all scenarios. */
async function measure(program: Program, { scenarios, n }: LoadOptions): Promise<Measurement> {
  const names = scenarios.split(",").filter((name) => name !== "");
  const single = names.filter((name) => !IN_MANY_ROOMS.has(name)).join(",");
  const manyRooms = names.filter((name) => IN_MANY_ROOMS.has(name)).join(",");
  const { load, ...first } = await measureOnce(program, { scenarios: single, n });
  if (manyRooms === "") return { ...first, load, manyRoomsMb: null };
  const second = await measureOnce(program, { scenarios: manyRooms, n });
  return { ...first, load: { ...load, ...second.load }, manyRoomsMb: second.afterMb };
}

interface Run extends Omit<Measurement, "manyRoomsMb"> {
  /** Resident memory after the last scenario. */
  readonly afterMb: number;
}

/** Runs one server on an empty database. Its start is measured on one that exists, as a restart is. */
async function measureOnce(program: Program, options: LoadOptions): Promise<Run> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
  try {
    const port = await prepare(program, { folder });
    await (await start(program, { folder, port })).process.stop();
    const server = await start(program, { folder, port });
    await using process = server.process;
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const restMb = await residentMb(await processIds(server));
    console.log(`== ${program.name}: started in ${server.startMs.toFixed(0)} ms, ${restMb.toFixed(0)} MB at rest`);
    const pids = await processIds(server);
    const json = `${folder}/load.json`;
    const load = options.scenarios === "" ? {} : await runLoad(server.url, { ...options, pids, json });
    const afterMb = await residentMb(await processIds(server));
    await process.stop();
    return { name: program.name, startMs: server.startMs, restMb, load, afterMb };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function runLoad(
  url: string,
  { scenarios, n, pids, json }: LoadOptions & { pids: readonly number[]; json: string },
): Promise<LoadResults> {
  const script = new URL("load.mjs", import.meta.url).pathname;
  const options = ["--secret", REGISTRATION_SECRET, "--pid", pids.join(","), "--json", json];
  const { code } = await new Deno.Command("node", {
    args: [script, url, ...options, "--scenarios", scenarios, "--n", n],
    env: { ROOMS: Deno.env.get("ROOMS") ?? "60", MEMBERS: Deno.env.get("MEMBERS") ?? "50" },
    stdin: "null",
  }).output().then((output) => {
    console.log(new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr));
    return output;
  });
  if (code !== 0) throw new Error(`load.mjs ended with ${code}`);
  return JSON.parse(await Deno.readTextFile(json));
}

async function main(): Promise<void> {
  endChildrenOnSignals();
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      executable: { type: "string" },
      synapse: { type: "string" },
      "install-synapse": { type: "boolean", default: false },
      scenarios: { type: "string", default: SCENARIOS },
      n: { type: "string", default: "1000" },
      json: { type: "string" },
    },
  });
  const { scenarios, n } = values;
  const given = values.synapse ?? Deno.env.get("SYNAPSE_VENV");
  const venv = values["install-synapse"] ? await installSynapse() : given;
  const ours = await measure(ownProgram(values.executable), { scenarios, n });
  const synapse = venv === undefined ? null : await measure(synapseProgram(venv), { scenarios, n });
  console.log(renderTable(ours, synapse));
  if (synapse === null) console.log("\nSYNAPSE_VENV=PATH or BENCH=--install-synapse measures Synapse beside it.");
  if (values.json !== undefined) await Deno.writeTextFile(values.json, JSON.stringify({ ours, synapse }, null, 2));
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
