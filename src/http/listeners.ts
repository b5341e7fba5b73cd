/**
 * The sockets of the server, from the option `listeners`.
 *
 * Plain ones, which stand behind a proxy, use `Deno.serve`; TLS ones face the world and use node:https (tls_listener.ts),
 * which limits how long headers and idle connections may take. Both feed the same handler.
 */
import type { ListenerConfig } from "../config/listeners.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { type Metrics, NO_METRICS } from "../lib/metrics.ts";
import { codeOf, reasonOf } from "../lib/reason.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Certificate } from "../services/acme_challenges.ts";
import { createHandler, type HandlerDeps, impliedResources, type RequestHandler } from "./handler.ts";
import { metricsHandler } from "./metrics.ts";
import { TlsListener } from "./tls_listener.ts";
import { listenPlain } from "./plain_listener.ts";

/** A socket that accepts requests. */
export interface Listener {
  /** Where it listens, as a URL or a path. */
  readonly address: string;
  /** Null on a UNIX socket. */
  readonly port: number | null;
  /** Stops accepting, lets running requests finish for `graceMs`, then cuts them off. */
  stop(graceMs: number): Promise<void>;
}

/** What sockets are made from. */
export interface ListenersDeps extends HandlerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** What listeners of the type `metrics` serve. */
  readonly metrics?: Metrics;
}

/** How to open the sockets. */
export interface ListenersOptions {
  readonly listeners: readonly ListenerConfig[];
  /** For listeners with `tls: true`. */
  readonly certificate: Certificate | null;
}

/** All sockets of the server. */
export class Listeners {
  readonly #open: Listener[] = [];

  /** Opens every socket, or none: a failure closes those already open and is thrown. */
  static async open(deps: ListenersDeps, { listeners, certificate }: ListenersOptions): Promise<Listeners> {
    const all = new Listeners();
    try {
      for (const config of listeners) {
        if (config.type === "metrics" && deps.metrics?.isEnabled !== true) {
          deps.log.warn("There is a listener for metrics, but enable_metrics is not true", { port: config.port });
        } else if (config.type !== "manhole") await all.#add(deps, { config, certificate });
      }
    } catch (error) {
      await all.stop(0);
      throw error;
    }
    return all;
  }

  /** Where the server listens. */
  get addresses(): readonly string[] {
    return this.#open.map((listener) => listener.address);
  }

  /** The port of the first TCP listener, or null. */
  get port(): number | null {
    return this.#open.find((listener) => listener.port !== null)?.port ?? null;
  }

  /** Replaces the certificate of the TLS listeners without closing any connection. */
  setCertificate(certificate: Certificate): void {
    for (const listener of this.#open) {
      if (listener instanceof TlsListener) listener.setCertificate(certificate);
    }
  }

  /** Closes all sockets, giving running requests `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    const open = this.#open.splice(0);
    await Promise.all(open.map((listener) => listener.stop(graceMs)));
  }

  async #add(
    deps: ListenersDeps,
    { config, certificate }: { config: ListenerConfig; certificate: Certificate | null },
  ): Promise<void> {
    const handler = handlerFor(deps, config);
    const { path, mode, bindAddresses, tls, resources } = config;
    const compress = resources.some((resource) => resource.compress);
    if (path !== null) {
      const opened = listenPlain(deps, { handler, path, mode, compress });
      this.#open.push(await opened.catch((error) => refuse(path, error)));
      return;
    }
    const port = config.port ?? 0;
    if (tls && certificate === null) throw new StartupError(`The listener on port ${port} has no TLS certificate`);
    const open = async (hostname: string): Promise<Listener> =>
      tls && certificate !== null
        ? await TlsListener.listen({ handler, hostname, port, certificate, log: deps.log })
        : await listenPlain(deps, { handler, hostname, port, compress });
    this.#open.push(...await openAddresses(bindAddresses, { port, open, log: deps.log }));
  }
}

/** Opens a plain port on several addresses, or on none. */
export async function listenOnAll(
  deps: Pick<ListenersDeps, "clock" | "log">,
  { handler, port, bindAddresses }: { handler: RequestHandler; port: number; bindAddresses: readonly string[] },
): Promise<readonly Listener[]> {
  const open = async (hostname: string): Promise<Listener> => await listenPlain(deps, { handler, hostname, port });
  return await openAddresses(bindAddresses, { port, open, log: deps.log });
}

/** Opens one port on several addresses, or on none. Throws `StartupError` that names the address. */
export async function openAddresses(
  addresses: readonly string[],
  { port, open, log }: { port: number; open: (hostname: string) => Promise<Listener>; log: Logger },
): Promise<readonly Listener[]> {
  const opened: Listener[] = [];
  const bound: string[] = [];
  let missing: StartupError | null = null;
  try {
    for (const hostname of addresses) {
      try {
        opened.push(await open(hostname));
        bound.push(hostname);
      } catch (error) {
        if (isCovered(hostname, { bound, error })) continue;
        if (!lacksIpv6(hostname, error)) refuse(placeOf(hostname, port), error);
        missing = startupError(placeOf(hostname, port), error);
      }
    }
    if (opened.length === 0 && missing !== null) throw missing;
  } catch (error) {
    await Promise.all(opened.map((listener) => listener.stop(0)));
    throw error;
  }
  if (missing !== null) log.warn(`${missing.message}; going on with ${bound.join(", ")}`);
  return opened;
}

/** "::" usually takes IPv4 as well, so listening on both addresses is asking twice for the same. */
function isCovered(hostname: string, { bound, error }: { bound: readonly string[]; error: unknown }): boolean {
  return hostname === "0.0.0.0" && bound.includes("::") && codeOf(error) === "EADDRINUSE";
}

/** Generated configurations ask for `::1` beside `127.0.0.1`, also on machines and in containers without IPv6. */
function lacksIpv6(hostname: string, error: unknown): boolean {
  const code = codeOf(error);
  return (hostname === "::1" || hostname === "::") && (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT");
}

function refuse(place: string, error: unknown): never {
  throw startupError(place, error);
}

function startupError(place: string, error: unknown): StartupError {
  return new StartupError(`Cannot listen on ${place}: ${reasonOf(error)}`, { cause: error });
}

function placeOf(hostname: string, port: number): string {
  return `${hostname} port ${port}`;
}

function handlerFor(deps: ListenersDeps, config: ListenerConfig): RequestHandler {
  if (config.type === "metrics") return metricsHandler(deps.metrics ?? NO_METRICS);
  const names = config.resources.flatMap((resource) => resource.names);
  return createHandler(deps, {
    resources: impliedResources(names),
    xForwarded: config.xForwarded,
    requestIdHeader: config.requestIdHeader,
    name: config.tag ?? String(config.port ?? config.path),
  });
}
