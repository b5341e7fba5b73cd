/**
 * Compiles the executable: `make build`.
 *
 *   build.ts [--deno PATH] [--output dist/synapse-ts] [--target TRIPLE]
 *
 * `deno compile` embeds the whole node_modules of the tree it works in, development packages included (Deno itself is
 * one of them). So it works in a copy of the tree with only what the product needs, whose packages are kept between
 * builds under the hash of package-lock.json. Types are checked by `make check`, with the pinned Deno.
 */
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { runProcess } from "../tests/harness/process.ts";
import { V8_FLAGS } from "./v8_flags.ts";

const SOURCES: readonly string[] = ["main.ts", "deno.json", "package.json", "package-lock.json", "src", "migrations"];
const PERMISSIONS: readonly string[] = ["net", "read", "write", "env", "sys", "run"].map((name) => `--allow-${name}`);
const MAX_BYTES = 140_000_000;
const COMPILER_STACK_BYTES = 67_108_864;
const STEP_TIMEOUT_MS = 600_000;

/** Runs a build step; a failure ends the build with the step's output. */
async function step(
  command: string,
  { args, cwd, env = {} }: { args: readonly string[]; cwd?: string; env?: Record<string, string> },
): Promise<void> {
  const options = { args, env, timeoutMs: STEP_TIMEOUT_MS, ...(cwd === undefined ? {} : { cwd }) };
  const { code, stdout, stderr } = await runProcess(command, options);
  if (code !== 0) throw new Error(`${command} ${args[0]} failed:\n${stdout}${stderr}`);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Returns a folder with the product's packages only, installing them when package-lock.json has changed. */
async function productPackages(): Promise<string> {
  const lock = await Deno.readFile("package-lock.json");
  const key = createHash("sha256").update(lock).digest("hex").slice(0, 16);
  const base = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? tmpdir()}/.cache`;
  const folder = `${base}/synapse-ts-build/${key}`;
  if (await exists(`${folder}/node_modules`)) return `${folder}/node_modules`;
  const fresh = `${folder}.${Deno.pid}`;
  await Deno.mkdir(fresh, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) await Deno.copyFile(name, `${fresh}/${name}`);
  await step("npm", { args: ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], cwd: fresh });
  // Another build may have been faster; its packages are the same.
  await Deno.rename(fresh, folder).catch(() => Deno.remove(fresh, { recursive: true }));
  return `${folder}/node_modules`;
}

/** Removes what only a reader or a type checker of a package uses. */
const SHED = `find . -path ./node_modules/.bin -prune -o \\( -name '*.d.ts' -o -name '*.d.cts' -o -name '*.d.mts' \
-o -name '*.map' -o -iname 'readme*' -o -iname 'changelog*' \\) -type f -exec rm -f {} +`;

/** Copies the product's sources and packages into an empty folder. */
async function copyTree(target: string, packages: string): Promise<void> {
  const tests = ["--exclude=*_test.ts"];
  await step("sh", { args: ["-c", `tar -c ${tests.join(" ")} ${SOURCES.join(" ")} | tar -x -C "$0"`, target] });
  await step("cp", { args: ["-a", packages, `${target}/node_modules`] });
  await step("sh", { args: ["-c", SHED], cwd: `${target}/node_modules` });
}

/**
 * Returns the modules that are started as workers: `new URL("./x.ts", import.meta.url)` in a source. `deno compile`
 * follows imports only.
 */
async function workerModules(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) found.push(...await workerModules(path));
    if (!entry.isFile || !entry.name.endsWith(".ts")) continue;
    const source = await Deno.readTextFile(path);
    for (const match of source.matchAll(/new URL\("(\.[^"]+\.ts)",\s*import\.meta\.url\)/g)) {
      found.push(await Deno.realPath(`${folder}/${match[1]}`));
    }
  }
  return found;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      deno: { type: "string", default: Deno.execPath() },
      output: { type: "string", default: "dist/synapse-ts" },
      target: { type: "string" },
    },
  });
  const work = await Deno.makeTempDir({ prefix: "synapse-ts-build-" });
  try {
    await copyTree(work, await productPackages());
    const includes = (await workerModules(`${work}/src`)).flatMap((path) => ["--include", path]);
    const target = values.target === undefined ? [] : ["--target", values.target];
    const output = ["--output", "synapse-ts", "main.ts"];
    const args = ["compile", "--quiet", "--no-check", V8_FLAGS, ...target, ...PERMISSIONS, ...includes, ...output];
    // The compiler walks the graph of modules by recursion, and ours is too deep for the stack of its threads.
    const env = { RUST_MIN_STACK: String(COMPILER_STACK_BYTES) };
    await step(await Deno.realPath(values.deno), { args, cwd: work, env });
    await Deno.mkdir(values.output.replace(/\/?[^/]*$/, "") || ".", { recursive: true });
    // For Windows the compiler adds its suffix.
    const made = await exists(`${work}/synapse-ts.exe`) ? "synapse-ts.exe" : "synapse-ts";
    await step("mv", { args: ["-f", `${work}/${made}`, values.output] });
  } finally {
    await Deno.remove(work, { recursive: true });
  }
  const { size } = await Deno.stat(values.output);
  console.log(`${values.output}: ${(size / 1e6).toFixed(1)} MB`);
  if (size > MAX_BYTES) throw new Error(`the executable is larger than ${MAX_BYTES / 1e6} MB`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
