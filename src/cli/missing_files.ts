/** Files that a configuration names and that are made when they are not there: signing key, log config, secrets. */
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { formatSigningKey, generateSigningKey } from "../protocol/signatures.ts";
import { loadConfig, readRawConfig } from "../config/load.ts";
import { exists, SECRET_MODE, writeNewFile } from "./files.ts";
import { logConfigText, makeSecret } from "./generated_files.ts";

const SECRET_OPTIONS = ["registration_shared_secret", "macaroon_secret_key", "form_secret"];

/** Makes the files missing to a configuration that is right otherwise, and says so by `say`. */
export async function makeMissingFiles(
  paths: readonly string[],
  { say, dataDirectory }: { say: (line: string) => void; dataDirectory: string },
): Promise<void> {
  await loadConfig({ paths, mayLackSecretFiles: true });
  const { raw, configDirectory } = await readRawConfig(paths);
  const keyPath = stringOf(raw.signing_key_path) ?? join(configDirectory, `${raw.server_name}.signing.key`);
  if (raw.signing_key === undefined && !await exists(keyPath)) {
    say(`Generating signing key file ${keyPath}`);
    await writeNewFile(keyPath, { text: formatSigningKey(generateSigningKey(randomBytes)), mode: SECRET_MODE });
  }
  const logConfig = stringOf(raw.log_config);
  if (logConfig !== null && !await exists(logConfig)) {
    const logFile = resolve(dataDirectory, "homeserver.log");
    say(`Generating log config file ${logConfig} which will log to ${logFile}`);
    await writeNewFile(logConfig, { text: logConfigText(logFile), mode: 0o644 });
  }
  for (const option of SECRET_OPTIONS) {
    const path = stringOf(raw[`${option}_path`]);
    if (path === null || await exists(path)) continue;
    say(`Generating secret file ${path}`);
    await writeNewFile(path, { text: `${makeSecret()}\n`, mode: SECRET_MODE });
  }
}

function stringOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
