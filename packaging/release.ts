/**
 * Compiles the executables of a release into dist/release: `make release`. They are named after their targets.
 *
 *   release.ts [--deno PATH] [--output FOLDER] [TARGET …]
 *
 * Beside them go SHA256SUMS and sbom.cdx.json, a CycloneDX list of the packages inside. Deno fetches the runtime part of
 * each target from its download site; where that cannot be reached, name only this machine's own target and set
 * DENORT_BIN. No target is left out silently: the first that cannot be compiled ends the release.
 */
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { runProcess } from "../tests/harness/process.ts";
import { billOfMaterials, type Lock } from "./bill_of_materials.ts";

const TARGETS: readonly string[] = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];
const LIMIT_MS = 1_200_000;

function executableName(target: string): string {
  return `synapse-ts-${target}${target.includes("windows") ? ".exe" : ""}`;
}

async function compile(target: string, { deno, folder }: { deno: string; folder: string }): Promise<string> {
  const name = executableName(target);
  const args = ["run", "--no-check", "--allow-all", "packaging/build.ts", "--deno", deno, "--target", target];
  const result = await runProcess(Deno.execPath(), {
    args: [...args, "--output", `${folder}/${name}`],
    timeoutMs: LIMIT_MS,
  });
  if (result.code !== 0) throw new Error(`${target} cannot be compiled:\n${result.stdout}${result.stderr}`);
  console.log(result.stdout.trim());
  return name;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const piece of file.readable) hash.update(piece);
  return hash.digest("hex");
}

/** The version of the Deno that compiles, which is the one inside. */
async function versionOf(deno: string): Promise<string> {
  const { code, stdout, stderr } = await runProcess(deno, { args: ["--version"] });
  const version = /^deno (\S+)/.exec(stdout)?.[1];
  if (code !== 0 || version === undefined) throw new Error(`${deno} does not say its version: ${stdout}${stderr}`);
  return version;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      deno: { type: "string", default: Deno.execPath() },
      output: { type: "string", default: "dist/release" },
    },
  });
  const { deno, output: folder } = values;
  for (const target of positionals) {
    if (!TARGETS.includes(target)) throw new Error(`${target} is none of ${TARGETS.join(", ")}`);
  }
  await Deno.remove(folder, { recursive: true }).catch(() => undefined);
  await Deno.mkdir(folder, { recursive: true });
  const sums: string[] = [];
  for (const target of positionals.length > 0 ? positionals : TARGETS) {
    const name = await compile(target, { deno, folder });
    sums.push(`${await sha256(`${folder}/${name}`)}  ${name}\n`);
  }
  const lock: Lock = JSON.parse(await Deno.readTextFile("package-lock.json"));
  const bom = `${JSON.stringify(billOfMaterials(lock, await versionOf(deno)), null, 2)}\n`;
  await Deno.writeTextFile(`${folder}/sbom.cdx.json`, bom);
  sums.push(`${createHash("sha256").update(bom).digest("hex")}  sbom.cdx.json\n`);
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, sums.join(""));
  console.log(`${folder}: ${sums.length} files, checksums in SHA256SUMS`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
