/** Builds the outbound half of federation from the configuration. */
import { randomInt } from "node:crypto";
import type { Config } from "../config/config.ts";
import { userAgentOf } from "../config/user_agent.ts";
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import { reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import { matchesGlob } from "../protocol/glob.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Signer } from "../protocol/signatures.ts";
import type { Database } from "../storage/database.ts";
import { Backoff } from "./backoff.ts";
import { FederationClient } from "./client.ts";
import { Connections, type ConnectionsDeps, type TlsPolicy } from "./connections.ts";
import { Discovery } from "./discovery.ts";
import { type Dns, systemDns } from "./dns.ts";
import { IpPolicy } from "./ip_policy.ts";
import { bypassesProxy } from "./proxy.ts";
import { proxyOf } from "./web_proxies.ts";
import { WellKnown } from "./well_known.ts";

/** What the configuration does not say. */
export interface FederationEnvironment {
  readonly config: Config;
  readonly db: Database;
  readonly clock: Clock;
  readonly signer: Signer;
  /** The machine's resolver unless given. */
  readonly dns?: Dns;
  /** A number from 0 up to 1. */
  readonly random?: () => number;
}

/** The outbound half. `connections` is closed last. */
export interface FederationOut {
  readonly client: FederationClient;
  readonly backoff: Backoff;
  readonly discovery: Discovery;
  readonly connections: Connections;
  /** Tells whether `federation_domain_whitelist` lets a server talk to us and us to it. */
  readonly isAllowed: (server: ServerName) => boolean;
}

const RANDOM_STEPS = 2 ** 32;

/** Builds everything; throws `StartupError` when a file with authorities cannot be read. */
export async function openFederation(environment: FederationEnvironment): Promise<FederationOut> {
  const { config, db, clock, signer } = environment;
  const dns = environment.dns ?? systemDns();
  const random = environment.random ?? (() => randomInt(RANDOM_STEPS) / RANDOM_STEPS);
  const ipPolicy = new IpPolicy({ denied: config.server.ipRangeBlacklist, allowed: config.server.ipRangeWhitelist });
  const tls = await tlsPolicyOf(config);
  const connections = new Connections({ dns, ipPolicy, tls, random, proxyFor: proxiesOf(config) });
  const wellKnown = new WellKnown({ get: (url) => connections.get(url), clock });
  const discovery = new Discovery({ dns, wellKnown, clock });
  const { federation } = config.federation;
  const backoff = new Backoff({
    ...{ db, clock, random },
    options: {
      minRetryIntervalMs: federation.destinationMinRetryInterval,
      retryMultiplier: federation.destinationRetryMultiplier,
      maxRetryIntervalMs: federation.destinationMaxRetryInterval,
    },
  });
  const isAllowed = allowedServers(config);
  const client = new FederationClient({
    ...{ signer, discovery, connections, backoff, clock, random, isAllowed },
    log: getLogger("synapse.federation.client"),
    userAgent: userAgentOf(config),
    options: {
      clientTimeoutMs: federation.clientTimeout,
      maxShortRetries: federation.maxShortRetries,
      maxShortRetryDelayMs: federation.maxShortRetryDelay,
      maxLongRetries: federation.maxLongRetries,
      maxLongRetryDelayMs: federation.maxLongRetryDelay,
    },
  });
  return { client, backoff, discovery, connections, isAllowed };
}

/** Returns whom `federation_domain_whitelist` lets us talk to: all, unless it is set. */
export function allowedServers(config: Config): (server: ServerName) => boolean {
  const listed = config.federation.federationDomainWhitelist;
  if (listed === null) return () => true;
  const allowed = new Set<string>(listed);
  return (server) => allowed.has(server) || server === config.serverName;
}

async function tlsPolicyOf({ tls }: Config): Promise<TlsPolicy> {
  const files = tls.federationCustomCaList;
  const authorities = files.length === 0 ? null : await Promise.all(files.map(readAuthorities));
  const exempt = tls.federationCertificateVerificationWhitelist;
  return {
    verify: tls.federationVerifyCertificates,
    isExempt: (certName) => exempt.some((glob) => matchesGlob(certName, glob)),
    authorities,
    // The runtime speaks nothing older than 1.2.
    minVersion: String(tls.federationClientMinimumTlsVersion) === "1.3" ? "TLSv1.3" : "TLSv1.2",
  };
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new StartupError(`Cannot read the certificates ${path} of "federation_custom_ca_list": ${reasonOf(error)}`);
  }
}

function proxiesOf({ server }: Config): ConnectionsDeps["proxyFor"] {
  const proxy = proxyOf("https_proxy", server.httpsProxy);
  if (proxy === null) return () => null;
  return (host) => bypassesProxy(host, server.noProxyHosts) ? null : proxy;
}
