/**
 * The SDK of Element X (matrix-sdk and matrix-sdk-ui, from crates.io) against a server of ours on each database, which is
 * killed and started again in between: `make rust-client`.
 *
 * Needs cargo. The first build takes some ten minutes; CARGO_TARGET_DIR names where it is kept, else `data/rust-client`.
 * Prints each check and ends with `N passed, N failed`; the exit code is 1 when one failed.
 */
import { ServerProcess } from "../../clients/server_process.ts";
import { DIALECTS } from "../../harness/databases.ts";
import { endChildrenOnSignals, RunningProcess } from "../../harness/process.ts";
import { describeError } from "../../../src/lib/describe_error.ts";
import type { Dialect } from "../../../src/storage/sql.ts";

const FOLDER = new URL(".", import.meta.url).pathname;
const TARGET = Deno.env.get("CARGO_TARGET_DIR") ?? new URL("../../../data/rust-client", import.meta.url).pathname;
/** The SDK waits for the end of some long-polls when two people verify each other. */
const LIMIT_MS = 600_000;

async function build(): Promise<void> {
  const args = ["build", "--quiet", "--locked", "--manifest-path", `${FOLDER}Cargo.toml`];
  const cargo = new Deno.Command("cargo", {
    args,
    env: { CARGO_TARGET_DIR: TARGET },
    stdout: "inherit",
    stderr: "inherit",
  });
  const { code } = await cargo.output();
  if (code !== 0) throw new Error("cargo could not build the client");
}

async function check(dialect: Dialect): Promise<void> {
  await using server = await ServerProcess.start(dialect);
  await using client = new RunningProcess(`${TARGET}/debug/rust-sdk-check`, { args: [server.base] });
  await client.waitFor(/^RESTART$/m, { timeoutMs: LIMIT_MS });
  await server.kill();
  await server.restart();
  client.input("\n");
  await client.waitFor(/^DONE$/m, { timeoutMs: LIMIT_MS });
}

async function main(): Promise<number> {
  endChildrenOnSignals();
  await build();
  let failed = 0;
  for (const dialect of DIALECTS) {
    try {
      await check(dialect);
      console.log(`ok the SDK of Element X [${dialect}]`);
    } catch (error) {
      failed++;
      console.log(`FAILED the SDK of Element X [${dialect}]: ${describeError(error)}`);
    }
  }
  console.log(`${DIALECTS.length - failed} passed, ${failed} failed`);
  return failed;
}

Deno.exit(await main() === 0 ? 0 : 1);
