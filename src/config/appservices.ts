/**
 * Registration files of application services, as `app_service_config_files` names them.
 * Spec: application service API, "Registration".
 */
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { parseYaml } from "./source.ts";

/** Ids that a service has a say in. */
export interface Namespace {
  /** Matches from the start of the id, as in Synapse; the end is open unless the expression closes it. */
  readonly regex: RegExp;
  /** Nobody else may make users or aliases in it. */
  readonly isExclusive: boolean;
}

/** What a registration file says. */
export interface AppserviceRegistration {
  readonly id: string;
  /** Null for a service that is told nothing; without a slash at the end. */
  readonly url: string | null;
  readonly asToken: string;
  readonly hsToken: string;
  readonly senderLocalpart: string;
  readonly users: readonly Namespace[];
  readonly aliases: readonly Namespace[];
  readonly rooms: readonly Namespace[];
  readonly protocols: readonly string[];
  readonly isRateLimited: boolean;
  /** Typing, receipts, presence and messages to devices (MSC2409). */
  readonly receivesEphemeral: boolean;
  /** Changes of device lists and counts of one-time keys (MSC3202). */
  readonly receivesDeviceData: boolean;
  /** Makes its devices by `PUT /devices` and does not log in (MSC4190). */
  readonly managesDevices: boolean;
}

const MAX_FILE_BYTES = 1024 * 1024;

/** Reads the files; throws `StartupError` with a sentence for the operator. */
export async function loadAppservices(paths: readonly string[]): Promise<AppserviceRegistration[]> {
  const services: AppserviceRegistration[] = [];
  for (const path of paths) {
    const service = parseRegistration(await readFile(path), path);
    for (const other of services) {
      if (other.id === service.id) throw new StartupError(`Two application services have the id "${service.id}"`);
      if (other.asToken === service.asToken) {
        throw new StartupError(`The application services "${other.id}" and "${service.id}" have the same as_token`);
      }
    }
    services.push(service);
  }
  return services;
}

async function readFile(path: string): Promise<string> {
  try {
    const { size } = await Deno.stat(path);
    if (size > MAX_FILE_BYTES) throw new Error("the file is too large");
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read ${path}: ${reasonOf(error)}`);
  }
}

/** Reads the text of a registration file; throws `StartupError`. */
export function parseRegistration(text: string, path: string): AppserviceRegistration {
  const raw = parseMap(text, path);
  const fail = (problem: string): never => {
    throw new StartupError(`${path}: ${problem}`);
  };
  const required = (name: string): string => {
    const value = raw[name];
    return typeof value === "string" && value !== "" ? value : fail(`"${name}" must be a text`);
  };
  const namespaces = raw["namespaces"];
  if (!isMap(namespaces)) return fail('"namespaces" must be a map');
  const namespace = (name: string) =>
    readNamespaces(namespaces[name], (problem) => fail(`namespaces.${name}${problem}`));
  const flag = (...names: string[]) => names.some((name) => raw[name] === true);
  return {
    id: required("id"),
    url: readUrl(raw["url"], fail),
    asToken: required("as_token"),
    hsToken: required("hs_token"),
    senderLocalpart: required("sender_localpart"),
    users: namespace("users"),
    aliases: namespace("aliases"),
    rooms: namespace("rooms"),
    protocols: readProtocols(raw["protocols"], fail),
    isRateLimited: raw["rate_limited"] !== false,
    receivesEphemeral: flag("receive_ephemeral", "de.sorunome.msc2409.push_ephemeral"),
    receivesDeviceData: flag("org.matrix.msc3202"),
    managesDevices: flag("io.element.msc4190"),
  };
}

function parseMap(text: string, path: string): Record<string, unknown> {
  const { value: raw } = parseYaml(text, path);
  if (!isMap(raw)) throw new StartupError(`${path} must hold a map`);
  return raw;
}

function readUrl(value: unknown, fail: (problem: string) => never): string | null {
  if (value === undefined) return fail('"url" must be there; null where the service is told nothing');
  if (value === null || value === "") return null;
  if (typeof value !== "string" || !/^https?:\/\/./i.test(value) || !URL.canParse(value)) {
    return fail('"url" must be a URL of http or https');
  }
  return value.replace(/\/+$/, "");
}

function readProtocols(value: unknown, fail: (problem: string) => never): string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  return fail('"protocols" must be a list of texts');
}

function readNamespaces(value: unknown, fail: (problem: string) => never): Namespace[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return fail(" must be a list");
  return value.map((item, index) => {
    if (!isMap(item) || typeof item["regex"] !== "string") return fail(`.${index} must have a "regex"`);
    if (typeof item["exclusive"] !== "boolean") return fail(`.${index} must say whether it is "exclusive"`);
    try {
      return { regex: new RegExp(`^(?:${item["regex"]})`), isExclusive: item["exclusive"] };
    } catch {
      return fail(`.${index} has a "regex" that is not a regular expression`);
    }
  });
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
