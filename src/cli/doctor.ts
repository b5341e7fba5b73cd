/** `doctor`: looks at the whole installation and says what is wrong and what to do about it. */
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Terminal } from "../lib/terminal.ts";
import { type Command, type CommandContext, type Given, hasFlag } from "./command.ts";
import { CONFIG_FLAG, configPaths } from "./config_flag.ts";
import { examine } from "./doctor/examine.ts";
import { fail, type Finding, ok, warn } from "./doctor/finding.ts";

const GREEN = "\x1b[32m";
const YELLOW = "\x1b[33m";
const RED = "\x1b[31m";
const NORMAL = "\x1b[m";

/** The command. */
export const doctorCommand: Command = {
  name: "doctor",
  aliases: [],
  summary: "Look at the whole installation: what is wrong, and what to do about it.",
  flags: {
    "config-path": CONFIG_FLAG,
    json: { doc: "Write one JSON object with all findings." },
  },
  run: doctor,
};

async function doctor(given: Given, { terminal, clock, env }: CommandContext): Promise<number> {
  const paths = configPaths(given);
  const findings: Finding[] = [];
  const show = (finding: Finding) => {
    findings.push(finding);
    if (!hasFlag(given, "json")) print(finding, terminal);
  };
  const loaded = await load(paths, { env, show });
  if (loaded !== null) { for await (const finding of examine(loaded.config, { clock })) show(finding); }
  const count = (status: Finding["status"]) => findings.filter((finding) => finding.status === status).length;
  if (hasFlag(given, "json")) {
    const counts = { ok: count("ok"), warn: count("warn"), fail: count("fail") };
    terminal.out(`${JSON.stringify({ ...counts, findings }, null, 2)}\n`);
  } else {
    terminal.out(`\n${count("ok")} ok, ${count("warn")} warnings, ${count("fail")} failures\n`);
  }
  return count("fail") > 0 ? 1 : 0;
}

async function load(
  paths: readonly string[],
  { env, show }: { env: (name: string) => string | undefined; show: (finding: Finding) => void },
): Promise<LoadedConfig | null> {
  try {
    const loaded = await loadConfig({ paths, env });
    show(ok("configuration", `${paths.join(", ")} of ${loaded.config.serverName}`));
    for (const message of loaded.warnings) {
      show(warn("configuration", { message, advice: "docs/configuration.md says what each option does" }));
    }
    return loaded;
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    for (const message of error.message.split("\n")) {
      show(fail("configuration", { message, advice: "correct it; nothing else was looked at" }));
    }
    return null;
  }
}

function print({ check, status, message, advice }: Finding, terminal: Terminal): void {
  const colour = status === "ok" ? GREEN : status === "warn" ? YELLOW : RED;
  const word = Deno.stdout.isTerminal() ? `${colour}${status.padEnd(4)}${NORMAL}` : status.padEnd(4);
  terminal.out(`${word}  ${check}: ${message}\n`);
  if (advice !== undefined) terminal.out(`      → ${advice}\n`);
}
