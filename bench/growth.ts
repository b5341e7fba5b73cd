/**
 * Measures how costs grow with rooms, members and waiting clients, by growth.mjs on a server of its own: `make bench-growth`.
 *
 *   growth.ts [--executable dist/synapse-ts] [--scenarios rooms,members,polls] [--polls 5000] [--json FILE]
 */
import { parseArgs } from "node:util";
import { endChildrenOnSignals } from "../tests/harness/process.ts";
import { ownProgram, prepare, REGISTRATION_SECRET, start } from "./servers.ts";

async function main(): Promise<number> {
  endChildrenOnSignals();
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      executable: { type: "string" },
      scenarios: { type: "string", default: "rooms,members,polls" },
      polls: { type: "string", default: "5000" },
      json: { type: "string" },
    },
  });
  const program = ownProgram(values.executable);
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
  try {
    const port = await prepare(program, { folder });
    const server = await start(program, { folder, port });
    await using process = server.process;
    const script = new URL("growth.mjs", import.meta.url).pathname;
    const options = ["--secret", REGISTRATION_SECRET, "--pid", String(process.pid), "--polls", values.polls];
    const json = values.json === undefined ? [] : ["--json", values.json];
    const { code } = await new Deno.Command("node", {
      args: [script, server.url, ...options, "--scenarios", values.scenarios, ...json],
      stdin: "null",
    }).spawn().status;
    await process.stop();
    return code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

try {
  Deno.exit(await main());
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
