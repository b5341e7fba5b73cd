import assert from "node:assert/strict";
import { runProcess } from "../harness/process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

Deno.test("deno task synapse-ts runs a command from the sources", async () => {
  const { code, stdout, stderr } = await runProcess(Deno.execPath(), {
    args: ["task", "--quiet", "synapse-ts", "version"],
    cwd: ROOT,
  });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^synapse-ts \d+\.\d+\.\d+/);
});
