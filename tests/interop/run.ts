/**
 * Federates with a real Synapse: `make interop`.
 *
 *   run.ts [--only TEXT] [--postgres] [--keep] [--verbose]
 *
 * SYNAPSE_VENV names a Python virtual environment with Synapse in it; without one, `data/synapse-venv` is made with pip.
 * `--postgres` runs our server on a PostgreSQL of its own. Needs openssl. Prints each check and ends with `N passed, N failed`; the exit code is 1 when one failed.
 */
import { parseArgs } from "node:util";
import { installSynapse } from "../../bench/install_synapse.ts";
import { startPostgres } from "../harness/postgres.ts";
import { endChildrenOnSignals } from "../harness/process.ts";
import { bothWays, type Check, type SharedRoom } from "./check.ts";
import { ENCRYPTED } from "./encrypted.ts";
import { HISTORY } from "./history.ts";
import { JOINS } from "./joins.ts";
import { KILLS } from "./kills.ts";
import { MESSAGES_AND_MORE } from "./messages.ts";
import { type Pair, startPair } from "./servers.ts";
import { untilSameState } from "./until.ts";

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

function planChecks(pair: Pair, rooms: SharedRoom[]): Check[] {
  const remember = (room: SharedRoom) => void rooms.push(room);
  return bothWays({ ...JOINS, ...MESSAGES_AND_MORE, ...ENCRYPTED, ...HISTORY, ...KILLS }, { pair, remember });
}

async function runChecks(checks: readonly Check[], { verbose }: { verbose: boolean }): Promise<Outcome> {
  let [passed, failed] = [0, 0];
  for (const { name, run } of checks) {
    const start = performance.now();
    try {
      await run();
      passed++;
      console.log(`ok ${name} (${((performance.now() - start) / 1_000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      const reason = error instanceof Error ? (verbose ? error.stack ?? error.message : error.message) : String(error);
      console.log(`FAILED ${name}: ${reason}`);
    }
  }
  return { passed, failed };
}

/** At the end both servers list the same state event for every key in every room. */
function agreement(rooms: readonly SharedRoom[]): Check[] {
  return [{
    name: `the same state in all ${rooms.length} rooms`,
    async run() {
      for (const room of rooms) await untilSameState(room);
    },
  }];
}

async function main(): Promise<number> {
  endChildrenOnSignals();
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      only: { type: "string", default: "" },
      postgres: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
  const venv = Deno.env.get("SYNAPSE_VENV") ?? await installSynapse();
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-interop-" });
  try {
    await using postgres = values.postgres ? await startPostgres({ durable: true }) : null;
    await using pair = await startPair({ venv, folder, postgresUrl: postgres?.url ?? null });
    const rooms: SharedRoom[] = [];
    const checks = planChecks(pair, rooms).filter(({ name }) => name.includes(values.only));
    const first = await runChecks(checks, values);
    const last = await runChecks(agreement(rooms), values);
    const failed = first.failed + last.failed;
    console.log(`${first.passed + last.passed} passed, ${failed} failed`);
    return failed;
  } finally {
    if (values.keep) console.log(`The servers' folders are in ${folder}`);
    else await Deno.remove(folder, { recursive: true });
  }
}

try {
  Deno.exit(await main() === 0 ? 0 : 1);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
