/** Secrets that stand in files of their own: `NAME_path` in place of `NAME`. */
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { isMap, type Report } from "./schema.ts";

const MAX_SECRET_BYTES = 64 * 1024;

/** Secrets of the top level. Sorted. */
const SECRETS = [
  "form_secret",
  "macaroon_secret_key",
  "recaptcha_private_key",
  "recaptcha_public_key",
  "registration_shared_secret",
  "turn_password",
  "turn_shared_secret",
  "worker_replication_secret",
];

/** Secrets within other options, or within each item of a list. Sorted. */
const INNER_SECRETS: readonly (readonly [string, string])[] = [
  ["acme", "eab_hmac_key"],
  ["email", "smtp_pass"],
  ["jwt_config", "secret"],
  ["matrix_authentication_service", "secret"],
  ["oidc_providers", "client_secret"],
  ["password_config", "pepper"],
  ["redis", "password"],
];

/** Returns the configuration with secrets read from their files. A secret given both ways is a problem. */
export async function resolveSecretFiles(
  raw: Readonly<Record<string, unknown>>,
  context: { readonly report: Report; readonly mayBeMissing: boolean },
): Promise<Record<string, unknown>> {
  const result: Record<string, unknown> = { ...raw };
  for (const name of SECRETS) await resolve(result, { name, within: [], ...context });
  for (const [parent, name] of INNER_SECRETS) {
    const options = result[parent];
    if (Array.isArray(options)) {
      result[parent] = await Promise.all(options.map((item) => resolveInner(item, { name, parent, ...context })));
    } else {
      result[parent] = await resolveInner(options, { name, parent, ...context });
    }
    if (result[parent] === undefined) delete result[parent];
  }
  return result;
}

async function resolveInner(
  options: unknown,
  { parent, ...context }: { name: string; parent: string; readonly report: Report; readonly mayBeMissing: boolean },
): Promise<unknown> {
  if (!isMap(options)) return options;
  const copy = { ...options };
  await resolve(copy, { within: [parent], ...context });
  return copy;
}

async function resolve(
  options: Record<string, unknown>,
  { name, within, report, mayBeMissing }: {
    name: string;
    within: readonly string[];
    report: Report;
    mayBeMissing: boolean;
  },
): Promise<void> {
  const path = options[`${name}_path`];
  if (typeof path !== "string") return;
  if (options[name] !== undefined && options[name] !== null) {
    const problem = [...within, name].join(".");
    throw new StartupError(`Options "${problem}" and "${problem}_path" are both set; leave one of them out`);
  }
  const text = await readSecret(path, { option: `${[...within, name].join(".")}_path`, mayBeMissing });
  options[name] = text;
  if (text === "") report.warning([...within, `${name}_path`], "names an empty file");
}

async function readSecret(
  path: string,
  { option, mayBeMissing }: { option: string; mayBeMissing: boolean },
): Promise<string | null> {
  try {
    const info = await Deno.stat(path);
    if (info.size > MAX_SECRET_BYTES) throw new Error("it is too large for a secret");
    return (await Deno.readTextFile(path)).trim();
  } catch (error) {
    if (mayBeMissing && error instanceof Deno.errors.NotFound) return null;
    throw new StartupError(`Cannot read ${path}, named by option "${option}": ${reasonOf(error)}`);
  }
}
