/** `generate-signing-key`: a signing key on its own. */
import { randomBytes } from "node:crypto";
import { formatSigningKey, generateSigningKey } from "../protocol/signatures.ts";
import { type Command, lastValue } from "./command.ts";
import { SECRET_MODE, writeNewFile } from "./files.ts";

/** The command. */
export const generateSigningKeyCommand: Command = {
  name: "generate-signing-key",
  aliases: ["generate_signing_key"],
  summary: "Make a signing key.",
  flags: {
    "output-file": { short: "o", value: "FILE", aliases: ["output_file"], doc: "Where to write it (standard output)." },
  },
  async run(given, { terminal }) {
    const text = formatSigningKey(generateSigningKey(randomBytes));
    const path = lastValue(given, "output-file") ?? "-";
    if (path === "-") terminal.out(text);
    else await writeNewFile(path, { text, mode: SECRET_MODE });
    return 0;
  },
};
