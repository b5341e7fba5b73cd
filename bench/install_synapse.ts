/** Gets a Synapse to measure or to talk with. */
import { runProcess } from "../tests/harness/process.ts";

const SYNAPSE_VERSION = "1.163.2";
const STEP_TIMEOUT_MS = 3_600_000;
const VENV = "data/synapse-venv";

/** Makes a virtual environment with Synapse beside the project's data, unless it is there, and returns its path. */
export async function installSynapse(): Promise<string> {
  if (await Deno.stat(`${VENV}/bin/synapse_homeserver`).then(() => true, () => false)) return VENV;
  await Deno.mkdir("data", { recursive: true });
  const steps: [string, string[]][] = [
    ["python3", ["-m", "venv", VENV]],
    [`${VENV}/bin/pip`, ["install", "--quiet", `matrix-synapse==${SYNAPSE_VERSION}`]],
  ];
  for (const [command, args] of steps) {
    const { code, stdout, stderr } = await runProcess(command, { args, timeoutMs: STEP_TIMEOUT_MS });
    if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  }
  return VENV;
}
