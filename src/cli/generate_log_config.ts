/** `generate-log-config`: a log configuration on its own. */
import { resolve } from "node:path";
import { type Command, lastValue } from "./command.ts";
import { writeNewFile } from "./files.ts";
import { logConfigText } from "./generated_files.ts";

/** The command. */
export const generateLogConfigCommand: Command = {
  name: "generate-log-config",
  aliases: ["generate_log_config"],
  summary: "Write a log configuration.",
  flags: {
    "output-file": { short: "o", value: "FILE", aliases: ["output_file"], doc: "Where to write it (standard output)." },
    "log-file": { short: "f", value: "FILE", doc: "Where it logs to (/var/log/matrix-synapse/homeserver.log)." },
  },
  async run(given, { terminal }) {
    const text = logConfigText(resolve(lastValue(given, "log-file") ?? "/var/log/matrix-synapse/homeserver.log"));
    const path = lastValue(given, "output-file") ?? "-";
    if (path === "-") terminal.out(text);
    else await writeNewFile(path, { text, mode: 0o644 });
    return 0;
  },
};
