/**
 * The sockets of the server, from the option `listeners`.
 *
 * Plain ones, which stand behind a proxy, use `Deno.serve`; TLS ones face the world and use node:https (tls_listener.ts),
 * which limits how long headers and idle connections may take. Both feed the same handler.
 */
import type { ListenerConfig } from "../config/listeners.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Certificate } from "../services/acme_challenges.ts";
import { createHandler, type HandlerDeps, impliedResources, type RequestHandler } from "./handler.ts";
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
        if (config.type === "http" || config.type === "metrics") await all.#add(deps, { config, certificate });
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
    if (config.path !== null) {
      this.#open.push(await listenPlain(deps, { handler, path: config.path, mode: config.mode }));
      return;
    }
    const bound: string[] = [];
    for (const hostname of config.bindAddresses) {
      const listener = await this.#bind(deps, { config, certificate, handler, hostname, bound });
      if (listener === null) continue;
      bound.push(hostname);
      this.#open.push(listener);
    }
  }

  async #bind(
    deps: ListenersDeps,
    { config, certificate, handler, hostname, bound }: {
      config: ListenerConfig;
      certificate: Certificate | null;
      handler: RequestHandler;
      hostname: string;
      bound: readonly string[];
    },
  ): Promise<Listener | null> {
    const port = config.port ?? 0;
    try {
      if (!config.tls) return await listenPlain(deps, { handler, hostname, port });
      if (certificate === null) throw new Error(`The listener on port ${port} has no TLS certificate`);
      return await TlsListener.listen({ handler, hostname, port, certificate, log: deps.log });
    } catch (error) {
      if (isCovered(hostname, { bound, error })) return null;
      throw error;
    }
  }
}

/** Opens a plain port on several addresses, or on none. */
export async function listenOnAll(
  deps: Pick<ListenersDeps, "clock" | "log">,
  { handler, port, bindAddresses }: { handler: RequestHandler; port: number; bindAddresses: readonly string[] },
): Promise<readonly Listener[]> {
  const open: Listener[] = [];
  try {
    for (const hostname of bindAddresses) {
      const listener = await listenPlain(deps, { handler, hostname, port }).catch((error) => {
        if (isCovered(hostname, { bound: bindAddresses, error })) return null;
        throw error;
      });
      if (listener !== null) open.push(listener);
    }
  } catch (error) {
    await Promise.all(open.map((listener) => listener.stop(0)));
    throw error;
  }
  return open;
}

/** "::" usually takes IPv4 as well, so listening on both addresses is asking twice for the same. */
function isCovered(hostname: string, { bound, error }: { bound: readonly string[]; error: unknown }): boolean {
  return hostname === "0.0.0.0" && bound.includes("::") && isAddressInUse(error);
}

function handlerFor(deps: ListenersDeps, config: ListenerConfig): RequestHandler {
  const names = config.resources.flatMap((resource) => resource.names);
  return createHandler(deps, {
    resources: impliedResources(config.type === "metrics" ? ["metrics"] : names),
    xForwarded: config.xForwarded,
    requestIdHeader: config.requestIdHeader,
    name: config.tag ?? String(config.port ?? config.path),
  });
}

/** Tells whether a socket could not be opened because another one is there. */
export function isAddressInUse(error: unknown): boolean {
  if (error instanceof Deno.errors.AddrInUse) return true;
  return error instanceof Error && "code" in error && error.code === "EADDRINUSE";
}
