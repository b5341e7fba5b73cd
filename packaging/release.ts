/**
 * Compiles the executables of a release into dist/release: `make release`.
 *
 *   release.ts [--deno PATH] [TARGET …]
 *
 * Beside them go SHA256SUMS and sbom.cdx.json, a CycloneDX list of the packages inside. Deno fetches the runtime part of
 * each target from its download site; where that cannot be reached, name only this machine's own target and set
 * DENORT_BIN. No target is left out silently: the first that cannot be compiled ends the release.
 */
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { runProcess } from "../tests/harness/process.ts";

const TARGETS: readonly string[] = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];
const FOLDER = "dist/release";
const LIMIT_MS = 1_200_000;

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
}

function executableName(target: string): string {
  return `synapse-ts-${target}${target.includes("windows") ? ".exe" : ""}`;
}

async function compile(target: string, deno: string): Promise<string> {
  const name = executableName(target);
  const args = ["run", "--no-check", "--allow-all", "packaging/build.ts", "--deno", deno, "--target", target];
  const result = await runProcess(Deno.execPath(), {
    args: [...args, "--output", `${FOLDER}/${name}`],
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

/** Returns the list of what is inside, from the lock file; development packages are not. */
async function billOfMaterials(): Promise<Record<string, unknown>> {
  const lock = JSON.parse(await Deno.readTextFile("package-lock.json")) as {
    name: string;
    version: string;
    packages: Record<string, LockedPackage>;
  };
  const components = Object.entries(lock.packages).flatMap(([path, { version, license, integrity, dev }]) => {
    const name = path.split("node_modules/").at(-1) ?? "";
    if (name === "" || version === undefined || dev === true) return [];
    const digest = /^sha512-(.+)$/.exec(integrity ?? "")?.[1];
    return [{
      type: "library",
      name,
      version,
      purl: `pkg:npm/${name.replace(/^@/, "%40")}@${version}`,
      ...(license === undefined ? {} : { licenses: [{ license: { id: license } }] }),
      ...(digest === undefined ? {} : { hashes: [{ alg: "SHA-512", content: Uint8Array.fromBase64(digest).toHex() }] }),
    }];
  });
  const component = { type: "application", name: lock.name, version: lock.version };
  return { bomFormat: "CycloneDX", specVersion: "1.5", version: 1, metadata: { component }, components };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: { deno: { type: "string", default: Deno.execPath() } },
  });
  await Deno.remove(FOLDER, { recursive: true }).catch(() => undefined);
  await Deno.mkdir(FOLDER, { recursive: true });
  const sums: string[] = [];
  for (const target of positionals.length > 0 ? positionals : TARGETS) {
    const name = await compile(target, values.deno);
    sums.push(`${await sha256(`${FOLDER}/${name}`)}  ${name}\n`);
  }
  const bom = `${JSON.stringify(await billOfMaterials(), null, 2)}\n`;
  await Deno.writeTextFile(`${FOLDER}/sbom.cdx.json`, bom);
  sums.push(`${createHash("sha256").update(bom).digest("hex")}  sbom.cdx.json\n`);
  await Deno.writeTextFile(`${FOLDER}/SHA256SUMS`, sums.join(""));
  console.log(`${FOLDER}: ${sums.length} files, checksums in SHA256SUMS`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
