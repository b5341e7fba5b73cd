/** `hash-password`: the hash of a password, for resetting one in the database. */
import { randomBytes } from "node:crypto";
import { loadOptions } from "../config/load.ts";
import { REGISTRATION_OPTIONS } from "../config/registration.ts";
import { PASSWORD_OPTIONS } from "../config/sso.ts";
import type { Terminal } from "../lib/terminal.ts";
import { computeHash, passwordBytes } from "../services/password_hash.ts";
import { type Command, type CommandContext, type Given, lastValue, UsageError } from "./command.ts";
import { requireFiles } from "./files.ts";
import { askNewPassword } from "./passwords.ts";

const OPTIONS = { bcrypt_rounds: REGISTRATION_OPTIONS.bcrypt_rounds, ...PASSWORD_OPTIONS };

/** The command. */
export const hashPasswordCommand: Command = {
  name: "hash-password",
  aliases: ["hash_password"],
  summary: "Show the hash of a password, as the database has it.",
  flags: {
    password: { short: "p", value: "PASSWORD", doc: "The password (asked for)." },
    config: {
      short: "c",
      value: "FILE",
      aliases: ["config-path"],
      doc: "Configuration with bcrypt_rounds and pepper.",
    },
  },
  run: hashPassword,
};

async function hashPassword(given: Given, { terminal }: CommandContext): Promise<number> {
  const paths = given.flags.config;
  if (paths === undefined) throw new UsageError("--config is missing: bcrypt_rounds and the pepper are in it");
  await requireFiles(paths);
  const { bcryptRounds, passwordConfig } = await loadOptions(paths, OPTIONS);
  const password = lastValue(given, "password") || await readPassword(terminal);
  if (password === null) return 1;
  const { bytes, isCut, length } = passwordBytes(password, passwordConfig.pepper);
  if (isCut) {
    terminal.out(
      `Password + pepper is too long (${length} bytes); truncating to 72 bytes for bcrypt. ` +
        "This is expected behaviour and will not affect a user's ability to log in. " +
        "72 bytes is sufficient entropy for a password.\n",
    );
  }
  const hash = await computeHash({ secret: bytes, salt: randomBytes(16), rounds: bcryptRounds });
  terminal.out(`${hash}\n`);
  return 0;
}

async function readPassword(terminal: Terminal): Promise<string | null> {
  if (terminal.isInteractive) return await askNewPassword(terminal);
  const line = (await terminal.ask(""))?.trim() ?? "";
  if (line !== "") return line;
  terminal.err("Password cannot be blank.\n");
  return null;
}
