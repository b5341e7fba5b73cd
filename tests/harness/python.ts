/** Programs in Python: their packages are installed once, into virtual environments below `node_modules/.cache`. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { runProcess } from "./process.ts";

const CACHE = new URL("../../node_modules/.cache/", import.meta.url).pathname;
const INSTALL_MS = 300_000;

async function run(command: string, args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await runProcess(command, { args, timeoutMs: INSTALL_MS });
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${stdout}${stderr}`);
}

/** Returns a Python that has the packages of `FOLDER/NAME_requirements.txt`; makes it the first time. */
export async function pythonWith(name: string, { folder: source }: { folder: string }): Promise<string> {
  const requirements = `${source}/${name}_requirements.txt`;
  const digest = createHash("sha256").update(await Deno.readFile(requirements)).digest("hex").slice(0, 16);
  const folder = `${CACHE}${name}-${digest}`;
  const python = `${folder}/bin/python`;
  if (await Deno.stat(python).then(() => true, () => false)) return python;
  await Deno.mkdir(CACHE, { recursive: true });
  const fresh = await Deno.makeTempDir({ dir: CACHE, prefix: `${name}-new-` });
  await run("python3", ["-m", "venv", fresh]);
  await run(`${fresh}/bin/python`, ["-m", "pip", "install", "--quiet", "--requirement", requirements]);
  // Another run may have been quicker: its folder is as good.
  await Deno.rename(fresh, folder).catch(() => Deno.remove(fresh, { recursive: true }));
  return python;
}
