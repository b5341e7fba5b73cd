/**
 * What a test run consists of: one task per check and per test file, grouped as the summary shows them.
 *
 * A folder below `tests/` needs no registration: a folder without a group of its own is part of "integration".
 */

/** One thing to run: a check of the sources, or `deno test` on some files. */
export interface Task {
  readonly group: string;
  readonly title: string;
  /** Arguments for deno. */
  readonly args: readonly string[];
  /** Test tasks report their cases in a JUnit file; a check counts as one case by its exit code. */
  readonly kind: "check" | "test";
  readonly needsPostgres: boolean;
}

/** Which tasks a run has. */
export interface Selection {
  /** Leaves out PostgreSQL, the real clients and the command line. */
  readonly fast: boolean;
  /** Parts of paths: only test files that contain one of them run, and no checks. */
  readonly only: readonly string[];
}

/** The permissions of everything that runs: never ffi, never all. */
export const PERMISSIONS: readonly string[] = ["net", "read", "write", "env", "sys", "run"].map((name) =>
  `--allow-${name}`
);

/** The groups of a full run, in the order of the summary. An empty one is a failure. */
export const GROUPS: readonly string[] = ["set-up", "unit", "storage", "integration", "command line", "clients"];
/** The groups that need `make build` and more first, so that they run only when they are asked for. */
export const ON_DEMAND_GROUPS: readonly string[] = ["executable", "packages"];

const SLOW_GROUPS: ReadonlySet<string> = new Set(["command line", "clients"]);
const GROUP_OF_FOLDER: ReadonlyMap<string, string> = new Map([
  ["complement", "unit"],
  ["lint", "unit"],
  ["harness", "unit"],
  ["storage", "storage"],
  ["cli", "command line"],
  ["clients", "clients"],
  ["executable", "executable"],
  ["packages", "packages"],
]);
const WITHOUT_POSTGRES: ReadonlySet<string> = new Set(["unit", ...ON_DEMAND_GROUPS]);

/** Returns the test files below a folder, sorted; none when the folder does not exist. */
export async function testFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await Array.fromAsync(Deno.readDir(folder)).catch(() => []);
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...await testFiles(path));
    else if (entry.isFile && entry.name.endsWith("_test.ts")) found.push(path);
  }
  return found.sort();
}

/** Returns a `deno test` task; types are checked once for all of them in the set-up. */
export function testTask(group: string, { title, files }: { title: string; files: readonly string[] }): Task {
  const sanitizers = group === "unit" ? ["--sanitize-ops", "--sanitize-resources"] : [];
  const args = ["test", "--no-check", "--quiet", ...sanitizers, ...PERMISSIONS, ...files];
  return { group, title, args, kind: "test", needsPostgres: !WITHOUT_POSTGRES.has(group) };
}

function checks(): Task[] {
  const check = (title: string, args: readonly string[]): Task => ({
    group: "set-up",
    title,
    args,
    kind: "check",
    needsPostgres: false,
  });
  return [
    check("types", ["check", "--quiet", "."]),
    check("format", ["fmt", "--check"]),
    check("lint", ["lint", "--quiet"]),
  ];
}

/** Returns the tasks of a run, those that take long first. */
export async function planTasks({ fast, only }: Selection): Promise<Task[]> {
  const files = [...await testFiles("src"), ...await testFiles("tests")];
  const tasks: Task[] = only.length === 0 ? checks() : [];
  const units: string[] = [];
  for (const file of files) {
    const folder = /^tests\/([^/]+)\//.exec(file)?.[1] ?? "";
    const group = folder === "" ? "unit" : GROUP_OF_FOLDER.get(folder) ?? "integration";
    const wanted = only.length === 0 ? !ON_DEMAND_GROUPS.includes(group) : only.some((part) => file.includes(part));
    if (!wanted || (fast && SLOW_GROUPS.has(group))) continue;
    if (group === "unit") units.push(file);
    else tasks.push(testTask(group, { title: file, files: [file] }));
  }
  if (units.length > 0) tasks.push(testTask("unit", { title: `${units.length} unit test files`, files: units }));
  const order = ["set-up", "clients", "command line", "storage", "integration", "unit"];
  return tasks.sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
}
