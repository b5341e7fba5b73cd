/**
 * Runs every check and test and says how many passed: `make test` and `make test-fast`.
 *
 *   run.ts [--fast] [--jobs N] [PART-OF-PATH …]
 *
 * A whole run also fails where an operation of the specification has no test of a kind it needs: `harness/coverage.ts`.
 *
 * Ends with the line `N passed, N failed`. What could not run at all counts as failed, and so does an empty group.
 */
import { parseArgs } from "node:util";
import { coverageGaps } from "./harness/coverage.ts";
import { endChildrenOnSignals, runProcess } from "./harness/process.ts";
import { type Cases, parseJunit } from "./junit.ts";
import { GROUPS, ON_DEMAND_GROUPS, planTasks, type Task } from "./tasks.ts";

const TASK_TIMEOUT_MS = 600_000;

interface Outcome extends Cases {
  readonly task: Task;
}

interface RunOptions {
  readonly scratch: string;
  readonly index: number;
  readonly env: Readonly<Record<string, string>>;
}

/** Runs one task and prints its line, and its output when it failed. */
async function runTask(task: Task, { scratch, index, env }: RunOptions): Promise<Outcome> {
  const report = `${scratch}/${index}.xml`;
  const args = task.kind === "test" ? [task.args[0] ?? "", `--junit-path=${report}`, ...task.args.slice(1)] : task.args;
  const started = performance.now();
  const result = await runProcess(Deno.execPath(), { args, env, ownGroup: true, timeoutMs: TASK_TIMEOUT_MS });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const cases = await readCases(task, { report, hasFailed: result.code !== 0 });
  const ignored = cases.ignored > 0 ? `, ${cases.ignored} ignored` : "";
  const mark = cases.failed > 0 ? "FAIL" : "ok  ";
  console.log(
    `${mark} ${task.group}: ${task.title} (${cases.passed} passed, ${cases.failed} failed${ignored}, ${seconds} s)`,
  );
  if (cases.failed > 0) {
    console.log(`${result.stdout}${result.stderr}`.trimEnd().replace(/^/gm, "  | "));
    if (result.timedOut) console.log(`  | killed after ${TASK_TIMEOUT_MS / 1000} s`);
  }
  return { task, ...cases };
}

async function readCases(task: Task, { report, hasFailed }: { report: string; hasFailed: boolean }): Promise<Cases> {
  const none: Cases = { passed: 0, failed: 0, ignored: 0, failures: [] };
  const cases = task.kind === "check" ? none : parseJunit(await Deno.readTextFile(report).catch(() => ""));
  // A file that does not load, a crash and a kill leave no failed case behind.
  if (hasFailed && cases.failed === 0) return { ...cases, failed: 1, failures: ["did not succeed"] };
  if (!hasFailed && task.kind === "check") return { ...cases, passed: 1 };
  if (!hasFailed && cases.passed + cases.ignored === 0) {
    return { ...cases, failed: 1, failures: ["no test"] };
  }
  return cases;
}

/** Runs the tasks a few at a time, those that need PostgreSQL once it is there. */
async function runAll(
  tasks: readonly Task[],
  { jobs, scratch, coverage, database }: {
    jobs: number;
    scratch: string;
    /** The folder that the tests note in which requests they made. */
    coverage: string;
    database: Promise<Record<string, string>>;
  },
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  const work = async () => {
    for (let index = next++; index < tasks.length; index = next++) {
      const task = tasks[index];
      if (task === undefined) return;
      const env = { NO_COLOR: "1", TEST_COVERAGE_DIR: coverage, ...(task.needsPostgres ? await database : {}) };
      outcomes.push(await runTask(task, { scratch, index, env }));
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return outcomes;
}

/** Prints the table of groups and the failed cases, then the total. Returns the number of failures. */
function summarize(outcomes: readonly Outcome[], extra: readonly string[]): number {
  const sum = (list: readonly Outcome[], key: "passed" | "failed" | "ignored") =>
    list.reduce((total, outcome) => total + outcome[key], 0);
  console.log(`\n${"group".padEnd(14)}${"passed".padStart(8)}${"failed".padStart(8)}${"ignored".padStart(9)}`);
  for (const group of [...GROUPS, ...ON_DEMAND_GROUPS]) {
    const list = outcomes.filter((outcome) => outcome.task.group === group);
    if (list.length === 0) continue;
    const [passed, failed, ignored] = [sum(list, "passed"), sum(list, "failed"), sum(list, "ignored")].map(String);
    console.log(`${group.padEnd(14)}${passed?.padStart(8)}${failed?.padStart(8)}${ignored?.padStart(9)}`);
  }
  const failures = [
    ...extra,
    ...outcomes.flatMap(({ task, failures }) => failures.map((name) => `${task.title}: ${name}`)),
  ];
  if (failures.length > 0) console.log(`\nFailed:\n${failures.map((name) => `  ${name}`).join("\n")}`);
  const failed = sum(outcomes, "failed") + extra.length;
  console.log(`\n${sum(outcomes, "passed")} passed, ${failed} failed`);
  return failed;
}

/** Starts PostgreSQL for the whole run unless one was given; `problem` tells that it could not be. */
async function startDatabase(): Promise<{ url: string; stop: () => Promise<void> } | { problem: string }> {
  const given = Deno.env.get("TEST_POSTGRES_URL");
  if (given) return { url: given, stop: () => Promise.resolve() };
  try {
    const { startPostgres } = await import("./harness/postgres.ts");
    const server = await startPostgres();
    return { url: server.url, stop: async () => await server[Symbol.asyncDispose]() };
  } catch (error) {
    return { problem: `PostgreSQL did not start: ${error instanceof Error ? error.message : String(error)}` };
  }
}

async function main(): Promise<number> {
  endChildrenOnSignals();
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: { fast: { type: "boolean", default: false }, jobs: { type: "string" } },
  });
  const fast = values.fast;
  const tasks = await planTasks({ fast, only: positionals });
  const jobs = Number(values.jobs ?? Math.min(4, Math.max(2, navigator.hardwareConcurrency)));
  const problems: string[] = [];
  if (!fast && positionals.length === 0) {
    for (const group of GROUPS) {
      if (!tasks.some((task) => task.group === group)) problems.push(`${group}: no test file`);
    }
  }
  if (tasks.length === 0) problems.push(`no test file matches ${positionals.join(" ")}`);
  const postgres = !fast && tasks.some((task) => task.needsPostgres) ? startDatabase() : null;
  const database = Promise.resolve(postgres).then((started): Record<string, string> => {
    if (started === null) return { TEST_DATABASES: "sqlite" };
    if ("url" in started) return { TEST_POSTGRES_URL: started.url };
    problems.push(started.problem);
    return {};
  });
  const scratch = await Deno.makeTempDir({ prefix: "synapse-ts-run-" });
  try {
    const coverage = `${scratch}/coverage`;
    await Deno.mkdir(coverage);
    const outcomes = await runAll(tasks, { jobs, scratch, coverage, database });
    await database;
    // What failed has not made all its requests, nor has a part of the tests.
    const isWhole = !fast && positionals.length === 0 && outcomes.every(({ failed }) => failed === 0);
    if (isWhole) problems.push(...await coverageGaps(coverage));
    return summarize(outcomes, problems);
  } finally {
    const started = await postgres;
    if (started !== null && "url" in started) await started.stop();
    await Deno.remove(scratch, { recursive: true });
  }
}

Deno.exit(await main() === 0 ? 0 : 1);
