/**
 * The configuration the server runs with: validated, frozen, in our own names.
 *
 * Each section is its table's values (`config.media.maxUploadSize` is `max_upload_size`) with what is derived from them
 * put beside. Durations are milliseconds and sizes are numbers.
 */
import { join } from "node:path";
import { parseServerName, type ServerName } from "../protocol/ids.ts";
import { checkConfig } from "./checks.ts";
import type { DatabaseConfig } from "./database.ts";
import type { ListenerConfig } from "./listeners.ts";
import { SECTIONS } from "./options.ts";
import { type At, type Options, readOptions, type Values } from "./schema.ts";

/** Values of the tables of all sections. */
export type SectionValues = { readonly [S in keyof typeof SECTIONS]: Values<(typeof SECTIONS)[S]> };

/** What is derived from several options or from where the files are. */
export interface Derived {
  readonly serverName: ServerName;
  /** The URL clients use, ending in `/`: `public_baseurl`, or `https://SERVER_NAME/`. */
  readonly publicBaseurl: string;
  /** Whether `public_baseurl` was set, which makes `/.well-known/matrix/client` available. */
  readonly hasPublicBaseurl: boolean;
  readonly listeners: readonly ListenerConfig[];
  readonly database: DatabaseConfig;
  /** The file that says what is logged, null where there is none. */
  readonly logConfigPath: string | null;
  /** The file of the signing key. Not used where `signingKeys.signingKey` is set. */
  readonly signingKeyPath: string;
  /** The folder of the last configuration file. */
  readonly configDirectory: string;
}

/** The whole configuration. */
export type Config = Omit<SectionValues, "database" | "legacy" | "listeners" | "logging"> & Derived;

/** Reads all sections of a configuration in present names; null when a problem was reported. */
export function readConfig(
  raw: Readonly<Record<string, unknown>>,
  { at, configDirectory, hasProblems }: { at: At; configDirectory: string; hasProblems: () => boolean },
): Config | null {
  const values: Record<string, unknown> = {};
  for (const [section, options] of Object.entries(SECTIONS)) {
    values[section] = readOptions(options as Options, { value: pickOptions(raw, options), at });
  }
  if (hasProblems()) return null;
  const sections = values as unknown as SectionValues;
  checkConfig(sections, at.report);
  const serverName = parseServerName(sections.server.serverName);
  if (hasProblems() || serverName === null) return null;
  return deepFreeze(assemble(sections, { serverName, configDirectory }));
}

function assemble(
  values: SectionValues,
  { serverName, configDirectory }: { serverName: ServerName; configDirectory: string },
): Config {
  const { legacy: _, listeners, database, logging, ...sections } = values;
  const { publicBaseurl } = sections.server;
  const baseurl = publicBaseurl ?? `https://${serverName}/`;
  return {
    ...sections,
    tls: withAcmePaths(sections.tls, join(configDirectory, serverName)),
    serverName,
    publicBaseurl: baseurl.endsWith("/") ? baseurl : `${baseurl}/`,
    hasPublicBaseurl: publicBaseurl !== null,
    listeners: listeners.listeners,
    database: database.database,
    logConfigPath: logging.logConfig,
    signingKeyPath: sections.signingKeys.signingKeyPath ?? join(configDirectory, `${serverName}.signing.key`),
    configDirectory,
  };
}

/** A certificate that the server gets by itself needs no option to say where it is kept. */
function withAcmePaths(tls: SectionValues["tls"], base: string): SectionValues["tls"] {
  if (!tls.acme.enabled) return tls;
  return {
    ...tls,
    tlsCertificatePath: tls.tlsCertificatePath ?? `${base}.tls.crt`,
    tlsPrivateKeyPath: tls.tlsPrivateKeyPath ?? `${base}.tls.key`,
  };
}

/** Returns the part of a configuration that one table has. */
export function pickOptions(raw: Readonly<Record<string, unknown>>, options: Options): Record<string, unknown> {
  return Object.fromEntries(Object.keys(options).filter((name) => Object.hasOwn(raw, name)).map((n) => [n, raw[n]]));
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
