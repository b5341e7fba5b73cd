/** `export-signing-key`: the public halves of signing keys. */
import { StartupError } from "../lib/startup_error.ts";
import { parseSigningKeys, type SigningKey } from "../protocol/signatures.ts";
import { type Command, hasFlag, lastValue, UsageError } from "./command.ts";
import { readTextFile } from "./files.ts";

const EXPIRY_MS = 6 * 60 * 60 * 1000;

/** The command. */
export const exportSigningKeyCommand: Command = {
  name: "export-signing-key",
  aliases: ["export_signing_key"],
  summary: "Show the public half of signing keys.",
  words: "FILE…",
  flags: {
    "old-signing-key": { short: "x", doc: "Write lines for the option old_signing_keys." },
    "expiry-ts": {
      value: "MS",
      doc: "When the key ended, in milliseconds since 1970 (in 6 hours); used with -x.",
    },
  },
  async run(given, { terminal, clock }) {
    if (given.words.length === 0) throw new UsageError("name at least one file with a signing key");
    const expiry = lastValue(given, "expiry-ts") ?? String(clock.now() + EXPIRY_MS);
    if (!/^\d{1,16}$/.test(expiry)) throw new UsageError("--expiry-ts must be milliseconds since 1970");
    for (const path of given.words) {
      const keys = parseSigningKeys(await readTextFile(path));
      if (keys === null || keys.length === 0) throw new StartupError(`${path} is not a file with signing keys`);
      for (const key of keys) {
        const isOld = hasFlag(given, "old-signing-key");
        terminal.out(`${isOld ? oldKeyLine(key, expiry) : `${key.keyId} ${key.verifyKey.base64}`}\n`);
      }
    }
    return 0;
  },
};

function oldKeyLine(key: SigningKey, expiry: string): string {
  return `  "${key.keyId}": { key: "${key.verifyKey.base64}", expired_ts: ${expiry} }`;
}
