/** Parts shared by tests of federation: a clock to set, a resolver of one's own, and the outbound half over them. */
import { createHash } from "node:crypto";
import { defaultConfig } from "../../src/config/load.ts";
import type { Clock } from "../../src/lib/clock.ts";
import { consoleRoutes, setLogRoutes } from "../../src/lib/log.ts";
import { parseServerName, type ServerName } from "../../src/protocol/ids.ts";
import { type Signer, signingKeyFromSeed } from "../../src/protocol/signatures.ts";
import type { Database } from "../../src/storage/database.ts";
import type { Dns } from "../../src/federation/dns.ts";
import { type FederationOut, openFederation } from "../../src/federation/setup.ts";
import { CA_PATH } from "./certificates.ts";

await setLogRoutes(consoleRoutes("critical"));

/** A clock that stands still until it is moved, and whose sleeps take no time but move it. */
export class TestClock implements Clock {
  #now = 1_700_000_000_000;
  #monotonic = 0;
  readonly slept: number[] = [];

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  sleep(ms: number): Promise<void> {
    this.slept.push(ms);
    this.advance(ms);
    return Promise.resolve();
  }

  advance(ms: number): void {
    this.#now += ms;
    this.#monotonic += ms;
  }

  /** Puts the time of day right, forward or back, as an administrator or NTP does. */
  correct(ms: number): void {
    this.#now += ms;
  }
}

/** Returns a checked server name. */
export function server(name: string): ServerName {
  const parsed = parseServerName(name);
  if (parsed === null) throw new Error(`${name} is not a server name`);
  return parsed;
}

/** Returns a signer whose key follows from its name. */
export function signerOf(name: string, version = "1"): Signer {
  const seed = createHash("sha256").update(`${name} ${version}`).digest();
  return { serverName: server(name), key: signingKeyFromSeed(version, seed) };
}

/** A resolver that sends every name to 127.0.0.1 and has the given services. */
export function testDns(options: { hosts?: Record<string, string[]>; services?: Record<string, string> } = {}): Dns {
  return {
    lookup: (host) => Promise.resolve(options.hosts?.[host] ?? ["127.0.0.1"]),
    resolveSrv: (name) => {
      const target = options.services?.[name];
      if (target === undefined) return Promise.resolve([]);
      const [host = "", port = "0"] = target.split(":");
      return Promise.resolve([{ host, port: Number(port), priority: 0, weight: 0 }]);
    },
  };
}

/** How the outbound half of a test differs from the usual. */
export interface OutOptions {
  readonly db: Database;
  readonly clock?: Clock;
  readonly dns?: Dns;
  /** Options of the configuration by their names. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Makes the outbound half of the server `own.test`, which trusts the authority of these tests and may reach loopback. */
export async function openOut(
  { db, clock = new TestClock(), dns = testDns(), config }: OutOptions,
): Promise<FederationOut> {
  const usual = { federation_custom_ca_list: [CA_PATH], ip_range_blacklist: [], ...config };
  const parts = { db, clock, dns, signer: signerOf("own.test"), random: () => 0.5 };
  return await openFederation({ ...parts, config: defaultConfig("own.test", usual) });
}
