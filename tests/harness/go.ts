/** Programs of other people that tests run against, built from Go modules. */
import { fail } from "node:assert/strict";
import { tmpdir } from "node:os";
import { runProcess } from "./process.ts";

const BUILD_LIMIT_MS = 300_000;

/** A program of a Go module, with its version fixed. */
export interface GoProgram {
  readonly name: string;
  /** The package that is the program, for example `example.org/module/cmd/name`. */
  readonly package: string;
  readonly version: string;
}

/** Returns the path of a program; builds it the first time and keeps it between runs. Fails the test where it cannot. */
export async function requireGoProgram(program: GoProgram): Promise<string> {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? tmpdir()}/.cache`;
  const folder = `${cache}/synapse-ts-go/${program.version}`;
  const path = `${folder}/${program.name}`;
  await Deno.mkdir(folder, { recursive: true });
  const build = `test -x ${path} || go install ${program.package}@${program.version}`;
  const { code, stdout, stderr } = await runProcess("flock", {
    args: [`${folder}/lock`, "sh", "-c", build],
    env: { GOBIN: folder, PATH: `${Deno.env.get("PATH") ?? "/usr/bin:/bin"}:/usr/local/go/bin` },
    timeoutMs: BUILD_LIMIT_MS,
  });
  if (code !== 0) fail(`${program.package} cannot be built with go (exit code ${code}):\n${stdout}${stderr}`);
  return path;
}
