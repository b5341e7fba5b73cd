/** Everything the doctor looks at, in order. */
import type { Config } from "../../config/config.ts";
import { type Dns, systemDns } from "../../federation/dns.ts";
import type { Clock } from "../../lib/clock.ts";
import { checkCertificate } from "./certificate.ts";
import { checkClients } from "./clients.ts";
import { checkDatabase } from "./database.ts";
import { fail, type Finding, ok, reasonText, warn } from "./finding.ts";
import { checkSecrets, checkSigningKey } from "./keys.ts";
import { checkListeners } from "./listeners.ts";
import { checkMachine } from "./machine.ts";
import { checkMail } from "./mail.ts";
import { checkServers } from "./servers.ts";
import { checkTurn } from "./turn.ts";
import { openWeb, type Web } from "./web.ts";

/** What tests put in place of the real thing. */
export interface ExamineOptions {
  readonly clock: Clock;
  readonly dns?: Dns;
  /** Where a port of the outside is. */
  readonly mapPort?: (host: string, port: number) => number;
}

const SMALL_SKEW_MS = 5_000;
const BIG_SKEW_MS = 60_000;

/** Looks at everything. */
export async function* examine(
  config: Config,
  { clock, dns = systemDns(), mapPort }: ExamineOptions,
): AsyncIterableIterator<Finding> {
  const authorities = await readAuthorities(config);
  const web = openWeb({ dns, authorities, ...(mapPort === undefined ? {} : { mapPort }) });
  const { findings, key } = await checkSigningKey(config);
  yield* findings;
  yield* checkSecrets(config);
  const checks: readonly (readonly [string, () => Promise<Finding[]>])[] = [
    ["database", () => checkDatabase(config, clock)],
    ["machine", () => checkMachine(config)],
    ["listener", () => checkListeners(config, web)],
    ["certificate", () => checkCertificate(config, clock)],
    ["clock", () => checkClock(config, { web, clock })],
    ["public URL", () => checkClients(config, web)],
    ["federation", () => checkServers({ config, web, dns, clock, key })],
    ["mail", () => checkMail(config)],
    ["TURN", () => checkTurn(config, { dns, clock })],
  ];
  for (const [name, check] of checks) {
    try {
      yield* await check();
    } catch (error) {
      const advice = "please report this: the doctor should have understood it";
      yield fail(name, { message: `the check itself failed: ${reasonText(error)}`, advice });
    }
  }
}

async function readAuthorities({ tls }: Config): Promise<string[]> {
  const files = await Promise.all(
    tls.federationCustomCaList.map((path) => Deno.readTextFile(path).catch(() => "")),
  );
  return files.filter((text) => text !== "");
}

/** Compares with the clock of a key server; events and signatures carry times that others check. */
async function checkClock(config: Config, { web, clock }: { web: Web; clock: Clock }): Promise<Finding[]> {
  const [trusted] = config.signingKeys.trustedKeyServers;
  if (trusted === undefined) return [];
  const url = `https://${trusted.serverName}/.well-known/matrix/server`;
  let given: number;
  try {
    given = Date.parse((await web({ url })).header("date") ?? "");
  } catch (error) {
    return [warn("clock", {
      message: `${trusted.serverName} cannot be reached to compare clocks: ${reasonText(error)}`,
      advice: "check that this machine may reach the internet; other servers' keys come from there",
    })];
  }
  const skew = Math.abs(clock.now() - given);
  // The header counts whole seconds.
  if (!(skew > SMALL_SKEW_MS)) return [ok("clock", `as ${trusted.serverName} has it`)];
  const message = `it is ${Math.round(skew / 1000)} seconds off from that of ${trusted.serverName}`;
  const advice = "turn on time synchronisation: timedatectl set-ntp true";
  return [(skew > BIG_SKEW_MS ? fail : warn)("clock", { message, advice })];
}
