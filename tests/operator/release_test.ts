/** `make release` without a compiler: what it names, sums up and lists. */
import assert from "node:assert/strict";
import { billOfMaterials, type Component, type Lock } from "../../packaging/bill_of_materials.ts";
import { commandFolder } from "../cli/command_line.ts";
import { runProcess } from "../harness/process.ts";

const LIMIT_MS = 300_000;
/** In the place of Deno: it tells its version, and "compiles" to a file of the target's name. */
const COMPILER = `#!/bin/sh
set -eu
if [ "$1" = --version ]; then echo "deno 9.8.7 (stable, release, test)"; exit 0; fi
[ "$1" = compile ] || exit 9
target=
while [ $# -gt 0 ]; do
  if [ "$1" = --target ]; then target=$2; fi
  shift
done
case "$target" in *darwin*) echo "no runtime for $target" >&2; exit 1 ;; esac
case "$target" in *windows*) suffix=.exe ;; *) suffix= ;; esac
echo "made for $target" > "synapse-ts$suffix"
chmod 0755 "synapse-ts$suffix"
`;

interface Bill {
  readonly metadata: { readonly component: Record<string, unknown> };
  readonly components: readonly Component[];
}

async function readLock(): Promise<Lock> {
  return JSON.parse(await Deno.readTextFile("package-lock.json"));
}

Deno.test("the list of materials has every package that is inside, once, and none for development", async () => {
  const lock = await readLock();
  const bill = billOfMaterials(lock, "9.8.7") as unknown as Bill;
  const listed = bill.components.map(({ purl }) => purl);
  assert.equal(new Set(listed).size, listed.length);
  const { dependencies, devDependencies } = JSON.parse(await Deno.readTextFile("package.json"));
  const versionOf = (name: string) => lock.packages[`node_modules/${name}`]?.version;
  const purl = (name: string) => `pkg:npm/${name.replace("@", "%40")}@${versionOf(name)}`;
  for (const name of Object.keys(dependencies)) assert.ok(listed.includes(purl(name)), name);
  // What only the tests name may be inside all the same, for another package that needs it.
  const development = Object.keys(devDependencies).filter((name) =>
    lock.packages[`node_modules/${name}`]?.dev === true
  );
  assert.ok(development.length > 0);
  for (const name of development) assert.ok(!listed.includes(purl(name)), name);
  assert.ok(!listed.some((each) => each.includes("%40types/")));
  assert.ok(listed.includes("pkg:generic/deno@9.8.7"));
  assert.equal(bill.metadata.component.version, lock.version);
  for (const { name, type, hashes, licenses } of bill.components) {
    if (type === "library") assert.match(hashes?.[0]?.content ?? "", /^[0-9a-f]{128}$/, name);
    assert.ok((licenses ?? []).length > 0, `${name} has no licence`);
    for (const each of licenses ?? []) {
      // An identifier of SPDX, or an expression of several: a reader refuses the one in the place of the other.
      if ("expression" in each) assert.match(each.expression, / (?:OR|AND|WITH) /);
      else assert.match(each.license.id, /^[A-Za-z0-9.+-]+$/, name);
    }
  }
});

Deno.test("a release has a file for each target, sums that are right, and the list of what is inside", async () => {
  await using folder = await commandFolder();
  const compiler = await folder.write("deno", COMPILER);
  await Deno.chmod(compiler, 0o755);
  const output = `${folder.path}/release`;
  const release = (...targets: readonly string[]) => {
    const args = ["run", "--no-check", "--allow-all", "packaging/release.ts", "--deno", compiler, "--output", output];
    return runProcess(Deno.execPath(), { args: [...args, ...targets], timeoutMs: LIMIT_MS });
  };
  const targets = ["aarch64-unknown-linux-gnu", "x86_64-pc-windows-msvc"];
  const { code, stdout, stderr } = await release(...targets);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /: 3 files, checksums in SHA256SUMS\n$/);
  const names = [...Deno.readDirSync(output)].map(({ name }) => name).sort();
  assert.deepEqual(names, [
    "SHA256SUMS",
    "sbom.cdx.json",
    "synapse-ts-aarch64-unknown-linux-gnu",
    "synapse-ts-x86_64-pc-windows-msvc.exe",
  ]);
  assert.equal(await folder.read(`release/${names[2]}`), `made for ${targets[0]}\n`);
  const checked = await runProcess("sha256sum", { args: ["--check", "--strict", "SHA256SUMS"], cwd: output });
  assert.deepEqual([checked.code, checked.stdout.match(/: OK$/gm)?.length], [0, 3], checked.stderr);
  const bill = billOfMaterials(await readLock(), "9.8.7");
  assert.deepEqual(JSON.parse(await folder.read("release/sbom.cdx.json")), bill);

  const failed = await release("x86_64-unknown-linux-gnu", "x86_64-apple-darwin");
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /^x86_64-apple-darwin cannot be compiled:\n[^]*no runtime for x86_64-apple-darwin/);
  assert.ok(![...Deno.readDirSync(output)].some(({ name }) => name === "SHA256SUMS"), "half a release looks whole");
  const unknown = await release("sparc-sun-solaris");
  assert.deepEqual([unknown.code, unknown.stdout], [1, ""]);
  assert.match(unknown.stderr, /^sparc-sun-solaris is none of x86_64-unknown-linux-gnu, /);
});
