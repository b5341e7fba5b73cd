import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { freePort, waitForPort } from "./ports.ts";
import { RunningProcess, runProcess } from "./process.ts";

Deno.test("runProcess() returns the exit code and both outputs, and passes the input on", async () => {
  const result = await runProcess("sh", { args: ["-c", "cat; echo problem >&2; exit 3"], input: "hello" });
  deepEqual(result, { code: 3, stdout: "hello", stderr: "problem\n", timedOut: false });
});

Deno.test("runProcess() kills what takes too long, with its children", async () => {
  const result = await runProcess("sh", { args: ["-c", "sleep 60 & echo $!; wait"], timeoutMs: 200, ownGroup: true });
  equal(result.timedOut, true);
  const alive = await runProcess("sh", {
    args: ["-c", `kill -0 ${result.stdout.trim()} && ! grep -q 'State:.Z' /proc/${result.stdout.trim()}/status`],
  });
  equal(alive.code === 0, false);
});

Deno.test("runProcess() rejects for a program that does not exist", async () => {
  await rejects(runProcess("/nonexistent/program"));
});

Deno.test("an environment that is cleared holds nothing else", async () => {
  const result = await runProcess("/usr/bin/env", { env: { ONLY: "this" }, clearEnv: true });
  equal(result.stdout, "ONLY=this\n");
});

Deno.test("RunningProcess waits for output and stops", async () => {
  await using running = new RunningProcess("sh", { args: ["-c", "echo ready on 42; exec sleep 60"] });
  equal((await running.waitFor(/ready on (\d+)/))[1], "42");
  await rejects(running.waitFor(/never/, { timeoutMs: 50 }), /time is up/);
  equal(await running.stop({ graceMs: 5000 }), null);
  await rejects(running.waitFor(/never/), /the program ended/);
});

Deno.test("freePort() gives a port that can be bound and waitForPort() sees it", async () => {
  const port = freePort();
  await rejects(waitForPort(port, { timeoutMs: 30 }), new RegExp(`127.0.0.1:${port}`));
  using _listener = Deno.listen({ hostname: "127.0.0.1", port });
  await waitForPort(port);
  match(String(port), /^\d{4,5}$/);
});
