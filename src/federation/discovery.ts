/**
 * From a server name to where its requests go. Spec: server-server API, "Resolving server names".
 *
 * The steps end in a `ServerRoute`: which hosts and ports to connect to, which name the certificate must be for, and what
 * the `Host` header says. Addresses are looked up only when a connection is made.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import type { ServerName } from "../protocol/ids.ts";
import { type ServerNameParts, splitServerName } from "../protocol/server_name.ts";
import type { Dns, SrvRecord } from "./dns.ts";
import type { WellKnown } from "./well_known.ts";

/** The port of servers that name none. */
export const DEFAULT_PORT = 8448;

/** Where to connect. `host` is a DNS name, or an IP address without brackets. */
export interface RouteTarget {
  readonly host: string;
  readonly port: number;
  /** As in service records: lower priorities first, then at random by weight. */
  readonly priority: number;
  readonly weight: number;
}

/** How a server is reached. */
export interface ServerRoute {
  readonly targets: readonly RouteTarget[];
  /** The DNS name or IP address that the certificate must be for; a name is also sent as SNI. */
  readonly certName: string;
  readonly hostHeader: string;
}

/** What discovery is built from. */
export interface DiscoveryDeps {
  readonly dns: Pick<Dns, "resolveSrv">;
  readonly wellKnown: Pick<WellKnown, "delegationOf">;
  readonly clock: Clock;
}

const SRV_TTL_MS = 5 * 60_000;
const MAX_CACHED = 10_000;
const MAX_TARGETS = 16;

/** Resolves server names. */
export class Discovery {
  readonly #dns: DiscoveryDeps["dns"];
  readonly #wellKnown: DiscoveryDeps["wellKnown"];
  readonly #clock: Clock;
  readonly #services = new LruCache<string, { records: Promise<readonly SrvRecord[]>; expiresAt: number }>({
    maxEntries: MAX_CACHED,
  });

  constructor({ dns, wellKnown, clock }: DiscoveryDeps) {
    this.#dns = dns;
    this.#wellKnown = wellKnown;
    this.#clock = clock;
  }

  /** Returns the route; it has no targets when the server's domain says that it offers no such service. */
  async resolve(serverName: ServerName): Promise<ServerRoute> {
    const parts = splitServerName(serverName);
    // Steps 1 and 2.
    const direct = directRoute(serverName, parts);
    if (direct !== null) return direct;
    const delegated = await this.#wellKnown.delegationOf(parts.host);
    // Steps 4 to 6.
    if (delegated === null) return await this.#serviceRoute(serverName, parts.host);
    const delegatedParts = splitServerName(delegated);
    // Steps 3.1 and 3.2, then 3.3 to 3.5.
    return directRoute(delegated, delegatedParts) ?? await this.#serviceRoute(delegated, delegatedParts.host);
  }

  async #serviceRoute(hostHeader: string, host: string): Promise<ServerRoute> {
    const records = await this.#records(host);
    if (records.length === 0) return routeTo({ host, port: DEFAULT_PORT, hostHeader, certName: host });
    // A single record with the root as its target means "not offered" (RFC 2782).
    const targets = records.filter((record) => record.host !== "" && record.port > 0).slice(0, MAX_TARGETS);
    return { targets, certName: host, hostHeader };
  }

  async #records(host: string): Promise<readonly SrvRecord[]> {
    const now = this.#clock.now();
    const known = this.#services.get(host);
    if (known !== undefined && now < known.expiresAt) return await known.records;
    const records = this.#askBoth(host);
    this.#services.set(host, { records, expiresAt: now + SRV_TTL_MS });
    return await records;
  }

  /** Asks for both names at once, so that a slow resolver is waited for once; the registered name wins. */
  async #askBoth(host: string): Promise<readonly SrvRecord[]> {
    const ask = (name: string) => this.#dns.resolveSrv(name).catch((): readonly SrvRecord[] => []);
    const [registered, deprecated] = await Promise.all([ask(`_matrix-fed._tcp.${host}`), ask(`_matrix._tcp.${host}`)]);
    return registered.length > 0 ? registered : deprecated;
  }
}

/** Returns the order in which to try targets: by priority, then at random by weight (RFC 2782). */
export function orderTargets(targets: readonly RouteTarget[], random: () => number): RouteTarget[] {
  const left = [...targets].sort((a, b) => a.priority - b.priority);
  const ordered: RouteTarget[] = [];
  while (left.length > 0) {
    const group = left.filter((target) => target.priority === left[0]?.priority);
    // A weight of zero still has a small chance, as the RFC asks for.
    const total = group.reduce((sum, { weight }) => sum + weight + 0.01, 0);
    let draw = random() * total;
    const chosen = group.find(({ weight }) => (draw -= weight + 0.01) < 0) ?? group[group.length - 1];
    if (chosen === undefined) break;
    ordered.push(chosen);
    left.splice(left.indexOf(chosen), 1);
  }
  return ordered;
}

/** Returns the route of a name that says all itself: an IP literal, or a name with a port. */
function directRoute(name: ServerName, { host, port, isIpLiteral }: ServerNameParts): ServerRoute | null {
  if (!isIpLiteral && port === null) return null;
  return routeTo({ host, port: port ?? DEFAULT_PORT, hostHeader: name, certName: host });
}

/** Returns the route to one host and port. */
export function routeTo(
  { host, port, hostHeader, certName }: { host: string; port: number; hostHeader: string; certName: string },
): ServerRoute {
  return { targets: [{ host, port, priority: 0, weight: 0 }], hostHeader, certName };
}
