/** The test runner itself must be able to fail. */
import { equal, match } from "node:assert/strict";
import { type ProcessResult, runProcess } from "./harness/process.ts";
import { PERMISSIONS } from "./tasks.ts";

const RUNNER = new URL("run.ts", import.meta.url).pathname;
const PASSES = 'Deno.test("passes", () => {});\n';
const FAILS = 'Deno.test("fails", () => { throw new Error("on purpose"); });\n';

/** Runs the runner in a folder that has these files, without the checks of the sources. */
async function run(files: Readonly<Record<string, string>>, args: readonly string[] = []): Promise<ProcessResult> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-runner-" });
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(`${folder}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
      await Deno.writeTextFile(`${folder}/${path}`, text);
    }
    const command = ["run", "--no-check", ...PERMISSIONS, RUNNER, "--fast", ...args, "_test.ts"];
    return await runProcess(Deno.execPath(), { args: command, cwd: folder });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function lastLine({ stdout }: ProcessResult): string {
  return stdout.trimEnd().split("\n").at(-1) ?? "";
}

Deno.test("the runner ends with the total and succeeds when nothing failed", async () => {
  const result = await run({ "src/lib/a_test.ts": PASSES, "tests/client/b_test.ts": PASSES + PASSES });
  equal(lastLine(result), "3 passed, 0 failed", result.stdout);
  equal(result.code, 0);
});

Deno.test("the runner counts failed cases, names them and shows why", async () => {
  const result = await run({ "src/lib/a_test.ts": PASSES + FAILS });
  equal(lastLine(result), "1 passed, 1 failed", result.stdout);
  equal(result.code, 1);
  match(result.stdout, /unit test files: fails/);
  match(result.stdout, /on purpose/);
});

Deno.test("a file that does not load, one without a test and one that ends the process have failed", async () => {
  const result = await run({
    "tests/client/broken_test.ts": 'throw new Error("at load");\n',
    "tests/client/empty_test.ts": "export {};\n",
    "tests/client/exits_test.ts": 'Deno.test({ name: "exits", sanitizeExit: false, fn: () => Deno.exit(0) });\n',
  });
  equal(lastLine(result), "0 passed, 3 failed", result.stdout);
  equal(result.code, 1);
});

Deno.test("a run without any test has failed", async () => {
  const result = await run({ "src/lib/a.ts": "export {};\n" });
  equal(lastLine(result), "0 passed, 1 failed", result.stdout);
  equal(result.code, 1);
});
