/** Programs of other people that tests run against, from Debian's packages. */
import { fail } from "node:assert/strict";
import { runProcess } from "./process.ts";

const FOLDERS = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
const INSTALL_LIMIT_MS = 300_000;
/** One installation at a time, among all test processes. */
const LOCK = "/tmp/synapse-ts-apt.lock";

async function find(program: string): Promise<string | null> {
  for (const folder of FOLDERS) {
    const path = `${folder}/${program}`;
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  return null;
}

/** Returns the path of a program; installs its package where it is missing and this is root. Fails the test without it. */
export async function requireProgram(program: string, debianPackage: string): Promise<string> {
  const found = await find(program);
  if (found !== null) return found;
  if (Deno.uid() !== 0) fail(`${program} is missing: install the package ${debianPackage}`);
  const install = `command -v ${program} >/dev/null || { apt-get update -q && ` +
    `DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends ${debianPackage}; }`;
  const { code, stdout, stderr } = await runProcess("flock", {
    args: [LOCK, "sh", "-c", install],
    timeoutMs: INSTALL_LIMIT_MS,
  });
  const path = await find(program);
  if (path === null) fail(`${debianPackage} cannot be installed (exit code ${code}):\n${stdout}${stderr}`);
  return path;
}
