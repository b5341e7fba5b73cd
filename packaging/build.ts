/**
 * Compiles the executable: `make build`.
 *
 *   build.ts [--deno PATH] [--output dist/synapse-ts] [--target TRIPLE]
 *
 * `deno compile` embeds the whole node_modules of the tree it works in. So it works in a folder with what `bundle.ts`
 * makes of the sources and of the product's packages, which are kept between builds under the hash of package-lock.json.
 * Types are checked by `make check`, with the pinned Deno.
 */
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { runProcess } from "../tests/harness/process.ts";
import { bundle } from "./bundle.ts";
import { V8_FLAGS } from "./v8_flags.ts";

const SOURCES: readonly string[] = ["main.ts", "deno.json", "package.json", "package-lock.json", "src", "migrations"];
const PERMISSIONS: readonly string[] = ["net", "read", "write", "env", "sys", "run"].map((name) => `--allow-${name}`);
const MAX_BYTES = 140_000_000;
const STEP_TIMEOUT_MS = 600_000;

/** Runs a build step; a failure ends the build with the step's output. */
async function step(
  command: string,
  { args, cwd }: { args: readonly string[]; cwd?: string },
): Promise<void> {
  const options = { args, timeoutMs: STEP_TIMEOUT_MS, ...(cwd === undefined ? {} : { cwd }) };
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

/** Copies the product's sources into a new folder, beside its packages. */
async function copyTree(target: string, packages: string): Promise<void> {
  await Deno.mkdir(target);
  await step("sh", { args: ["-c", `tar -c --exclude=*_test.ts ${SOURCES.join(" ")} | tar -x -C "$0"`, target] });
  await Deno.symlink(packages, `${target}/node_modules`);
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
    const [source, program] = [`${work}/source`, `${work}/program`];
    await copyTree(source, await productPackages());
    const includes = (await bundle({ source, target: program })).flatMap((path) => ["--include", path]);
    const target = values.target === undefined ? [] : ["--target", values.target];
    const output = ["--output", "synapse-ts", "main.js"];
    const args = ["compile", "--quiet", "--no-check", V8_FLAGS, ...target, ...PERMISSIONS, ...includes, ...output];
    await step(await Deno.realPath(values.deno), { args, cwd: program });
    await Deno.mkdir(values.output.replace(/\/?[^/]*$/, "") || ".", { recursive: true });
    // For Windows the compiler adds its suffix.
    const made = await exists(`${program}/synapse-ts.exe`) ? "synapse-ts.exe" : "synapse-ts";
    await step("mv", { args: ["-f", `${program}/${made}`, values.output] });
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
