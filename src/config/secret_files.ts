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
const INNER_SECRETS: readonly (readonly string[])[] = [
  ["acme", "eab_hmac_key"],
  ["database", "args", "password"],
  ["email", "smtp_pass"],
  ["jwt_config", "secret"],
  ["matrix_authentication_service", "secret"],
  ["media_storage_providers", "config", "secret_access_key"],
  ["oidc_providers", "client_secret"],
  ["password_config", "pepper"],
  ["redis", "password"],
];

interface SecretContext {
  readonly report: Report;
  readonly mayBeMissing: boolean;
}

/** Returns the configuration with secrets read from their files. A secret given both ways is a problem. */
export async function resolveSecretFiles(
  raw: Readonly<Record<string, unknown>>,
  context: SecretContext,
): Promise<Record<string, unknown>> {
  const result: Record<string, unknown> = { ...raw };
  for (const name of SECRETS) await resolve(result, { name, within: [], ...context });
  for (const path of INNER_SECRETS) {
    const [parent = ""] = path;
    if (result[parent] === undefined) continue;
    result[parent] = await resolveInner(result[parent], { path, depth: 1, ...context });
  }
  return result;
}

/** Copies what is `depth` steps down the path, with the secret at the path's end read from its file. */
async function resolveInner(
  options: unknown,
  { path, depth, ...context }: { path: readonly string[]; depth: number } & SecretContext,
): Promise<unknown> {
  if (Array.isArray(options)) {
    return await Promise.all(options.map((item) => resolveInner(item, { path, depth, ...context })));
  }
  if (!isMap(options)) return options;
  const copy = { ...options };
  const name = path[depth] ?? "";
  if (depth === path.length - 1) await resolve(copy, { name, within: path.slice(0, depth), ...context });
  else if (copy[name] !== undefined) {
    copy[name] = await resolveInner(copy[name], { path, depth: depth + 1, ...context });
  }
  return copy;
}

async function resolve(
  options: Record<string, unknown>,
  { name, within, report, mayBeMissing }: { name: string; within: readonly string[] } & SecretContext,
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
