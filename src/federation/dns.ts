/** Names to addresses and services. Addresses come from the system, so that `/etc/hosts` counts. */
import { promises as dns } from "node:dns";

/** A service record. */
export interface SrvRecord {
  /** Without a trailing dot; empty where the record says that there is no such service. */
  readonly host: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** What discovery asks of the name system. */
export interface Dns {
  /** Returns the addresses of a name, in the order to try them; rejects when there are none. */
  lookup(host: string): Promise<readonly string[]>;
  /** Returns the records of a service, none when there are none or nobody can tell. */
  resolveSrv(name: string): Promise<readonly SrvRecord[]>;
}

const SRV_TIMEOUT_MS = 3_000;

/** The machine's own resolver. */
export function systemDns(): Dns {
  const resolver = new dns.Resolver({ timeout: SRV_TIMEOUT_MS, tries: 2 });
  return {
    async lookup(host) {
      const found = await dns.lookup(host, { all: true });
      return found.map(({ address }) => address);
    },
    async resolveSrv(name) {
      try {
        const records = await resolver.resolveSrv(name);
        return records.map(({ name: host, port, priority, weight }) => ({
          ...{ port, priority, weight },
          host: host.replace(/\.$/, ""),
        }));
      } catch {
        // The runtime reports a missing record and a broken resolver alike. Going on is safe: the certificate is
        // checked against the same name whatever the records say.
        return [];
      }
    },
  };
}
