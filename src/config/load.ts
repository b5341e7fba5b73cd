/** Loads the configuration from files, or makes one for tests. */
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { StartupError } from "../lib/startup_error.ts";
import { type Config, pickOptions, readConfig } from "./config.ts";
import { rewriteOldNames } from "./legacy.ts";
import { withMasDefaults } from "./mas.ts";
import { listOptionNames, listOptions } from "./options.ts";
import { nearestName, type OptionPath, type Options, readOptions, type Report, type Values } from "./schema.ts";
import { resolveSecretFiles } from "./secret_files.ts";
import { listConfigFiles, readConfigFile, type SourceFile } from "./source.ts";

/** The configuration is wrong: each problem is one sentence with file, line and option. */
export class ConfigError extends StartupError {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** A configuration, and what the operator should know about it. */
export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
  /** The options as the files have them, in present names and with secrets from their files. */
  readonly given: Readonly<Record<string, unknown>>;
}

/** Where the configuration comes from. */
export interface LoadOptions {
  /** Files and folders, later ones winning. */
  readonly paths: readonly string[];
  /** Reads an environment variable; `SYNAPSE_CACHE_FACTOR` and the proxy variables count. */
  readonly env?: (name: string) => string | undefined;
  /** Passes over files of secrets that do not exist: to check a configuration before those are made. */
  readonly mayLackSecretFiles?: boolean;
}

/** A configuration as the files have it, with files of secrets not read. */
export interface RawFiles {
  readonly raw: Readonly<Record<string, unknown>>;
  /** The folder of the last file. */
  readonly configDirectory: string;
}

/** Reads and merges configuration files without checking options, for commands that need a few of them. */
export async function readRawConfig(paths: readonly string[]): Promise<RawFiles> {
  const sources = await readSources(paths, []);
  return { raw: merge(sources), configDirectory: dirname(sources.at(-1)?.path ?? ".") };
}

/**
 * Reads the options of one table from configuration files, with secrets from their files.
 *
 * Only these options are checked; throws `StartupError` when they cannot be used.
 */
export async function loadOptions<O extends Options>(paths: readonly string[], options: O): Promise<Values<O>> {
  const sources = await readSources(paths, []);
  const report = collector(sources, []);
  const secrets = await resolveSecretFiles(pickOptions(merge(sources), options), { report, mayBeMissing: false });
  const values = readOptions(options, { value: pickOptions(secrets, options), at: { path: [], report } });
  if (report.problems.length > 0) throw new ConfigError(report.problems);
  return values;
}

function merge(sources: readonly SourceFile[]): Record<string, unknown> {
  return Object.assign({}, ...sources.map(({ values }) => values));
}

/** Reads, merges and validates configuration files; throws `StartupError` when they cannot be used. */
export async function loadConfig(
  { paths, env = () => undefined, mayLackSecretFiles = false }: LoadOptions,
): Promise<LoadedConfig> {
  const warnings: string[] = [];
  const sources = await readSources(paths, warnings);
  const secrets = await resolveSecretFiles(merge(sources), {
    report: collector(sources, warnings),
    mayBeMissing: mayLackSecretFiles,
  });
  const lastPath = sources.at(-1)?.path ?? ".";
  return build(applyEnvironment(secrets, env), { sources, warnings, configDirectory: dirname(lastPath) });
}

/**
 * Makes a configuration without files.
 *
 * `overrides` are options as a file would write them: `{ enable_registration: true, rc_message: { per_second: 1 } }`.
 */
export function defaultConfig(serverName: string, overrides: Readonly<Record<string, unknown>> = {}): Config {
  const raw = { server_name: serverName, report_stats: false, ...overrides };
  return build(raw, { sources: [], warnings: [], configDirectory: "." }).config;
}

async function readSources(paths: readonly string[], warnings: string[]): Promise<readonly SourceFile[]> {
  const warn = (message: string) => void warnings.push(message);
  const sources: SourceFile[] = [];
  for (const path of await listConfigFiles(paths, warn)) {
    const source = await readConfigFile(path, warn);
    if (source !== null) sources.push(source);
  }
  if (sources.length === 0) throw new StartupError(`There are no options in ${paths.join(", ") || "no files"}`);
  return sources;
}

interface BuildContext {
  readonly sources: readonly SourceFile[];
  readonly warnings: string[];
  readonly configDirectory: string;
}

function build(
  given: Readonly<Record<string, unknown>>,
  { sources, warnings, configDirectory }: BuildContext,
): LoadedConfig {
  const report = collector(sources, warnings);
  const raw = withMasDefaults(rewriteOldNames(given, (name, message) => report.warning([name], message)));
  const known = listOptionNames();
  for (const name of Object.keys(raw).filter((key) => !known.includes(key))) {
    const nearest = nearestName(name, known);
    report.warning([name], nearest === null ? "is not an option" : `is not an option; did you mean "${nearest}"?`);
  }
  const hasProblems = () => report.problems.length > 0;
  const config = readConfig(raw, { at: { path: [], report }, configDirectory, hasProblems });
  if (config === null) throw new ConfigError(report.problems);
  const isWritten = (name: string) => sources.some(({ values }) => Object.hasOwn(values, name));
  for (const { name, effect, fallback } of listOptions()) {
    const isDefault = (raw[name] ?? null) === null || isDeepStrictEqual(raw[name], fallback);
    if (effect.status === "not yet" && isWritten(name) && !isDefault) {
      report.warning([name], "has no effect in this version yet");
    }
  }
  return { config, warnings, given: raw };
}

function collector(
  sources: readonly SourceFile[],
  warnings: string[],
): Report & { readonly problems: readonly string[] } {
  const problems: string[] = [];
  const say = (path: OptionPath, message: string) => {
    const source = sources.findLast(({ values }) => Object.hasOwn(values, String(path[0]))) ?? sources.at(-1);
    const place = source === undefined ? "" : `${source.locate(path)}: `;
    return `${place}option "${formatPath(path)}" ${message}`;
  };
  return {
    problems,
    problem: (path, message) => void problems.push(say(path, message)),
    warning: (path, message) => void warnings.push(say(path, message)),
  };
}

/** Returns a path as the manual writes it: `listeners[0].tls`. */
function formatPath(path: OptionPath): string {
  return path.map((part, i) => typeof part === "number" ? `[${part}]` : i === 0 ? part : `.${part}`).join("");
}

function applyEnvironment(
  raw: Readonly<Record<string, unknown>>,
  env: (name: string) => string | undefined,
): Readonly<Record<string, unknown>> {
  const result: Record<string, unknown> = { ...raw };
  for (const name of ["http_proxy", "https_proxy"]) {
    const value = env(name) ?? env(name.toUpperCase());
    if (result[name] === undefined && value !== undefined && value !== "") result[name] = value;
  }
  const factor = Number(env("SYNAPSE_CACHE_FACTOR") ?? "");
  if (env("SYNAPSE_CACHE_FACTOR") !== undefined && Number.isFinite(factor) && factor > 0) {
    const caches = typeof raw.caches === "object" && raw.caches !== null ? raw.caches : {};
    result.caches = { ...caches, global_factor: factor };
  }
  return result;
}
