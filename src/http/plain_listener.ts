/**
 * A listener without TLS, on `Deno.serve`.
 *
 * `Deno.serve` ends when accepting fails, for example with no file descriptor left. The connections it has are served
 * on, so the listener waits a moment and listens again until it works.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { describeError } from "../lib/describe_error.ts";
import type { RequestHandler } from "./handler.ts";
import type { Listener } from "./listeners.ts";

/** What the listener uses. */
export interface PlainListenerDeps {
  readonly clock: Clock;
  readonly log: Logger;
}

/** A TCP address or the path of a UNIX socket. */
export type PlainListenerOptions =
  & {
    readonly handler: RequestHandler;
    /** Compresses answers for clients that ask for it. Deno 2.6, which executables may be built with, always does. */
    readonly compress?: boolean;
  }
  & ({ readonly hostname: string; readonly port: number } | { readonly path: string; readonly mode: number });

const RELISTEN_DELAY_MS = 200;

type Server = Deno.HttpServer<Deno.Addr>;

/** Opens a socket and serves it until it is stopped. */
export async function listenPlain(deps: PlainListenerDeps, options: PlainListenerOptions): Promise<Listener> {
  const listener = new PlainListener(deps, options);
  await listener.start();
  return listener;
}

class PlainListener implements Listener {
  readonly #deps: PlainListenerDeps;
  readonly #options: PlainListenerOptions;
  readonly #stopping = new AbortController();
  #server: Server | null = null;
  #port: number | null = null;

  constructor(deps: PlainListenerDeps, options: PlainListenerOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  get port(): number | null {
    return this.#port;
  }

  get address(): string {
    if ("path" in this.#options) return `unix:${this.#options.path}`;
    const host = this.#options.hostname;
    return `http://${host.includes(":") ? `[${host}]` : host}:${this.#port}`;
  }

  async start(): Promise<void> {
    if ("path" in this.#options) await removeStaleSocket(this.#options.path);
    const server = this.#listen();
    if ("path" in this.#options) await Deno.chmod(this.#options.path, this.#options.mode);
    this.#watch(server);
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const done = server.shutdown();
    const enough = new AbortController();
    // A client that never reads its answer must not hold the process: after the grace period it is left behind.
    await Promise.race([done, this.#deps.clock.sleep(graceMs, enough.signal)]);
    enough.abort();
    if ("path" in this.#options) await Deno.remove(this.#options.path).catch(() => {});
  }

  #listen(): Server {
    const { handler, compress: automaticCompression = false } = this.#options;
    const common = { automaticCompression, onListen: () => {} };
    const server: Server = "path" in this.#options
      ? Deno.serve({ path: this.#options.path, ...common }, (request) => handler(request, ""))
      : Deno.serve(
        { hostname: this.#options.hostname, port: this.#port ?? this.#options.port, ...common },
        (request, info) => handler(request, plainIp(info.remoteAddr.hostname)),
      );
    if (server.addr.transport === "tcp") this.#port = server.addr.port;
    this.#server = server;
    return server;
  }

  #watch(server: Server): void {
    server.finished.then(
      () => {},
      (error) => {
        if (this.#stopping.signal.aborted) return;
        this.#deps.log.error("Listener ended, listening again", {
          listener: this.address,
          error: describeError(error),
        });
        this.#relisten();
      },
    );
  }

  async #relisten(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#deps.clock.sleep(RELISTEN_DELAY_MS, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      try {
        if ("path" in this.#options) await removeStaleSocket(this.#options.path);
        this.#watch(this.#listen());
        return;
      } catch (error) {
        this.#deps.log.error("Cannot listen again yet", { listener: this.address, error: describeError(error) });
      }
    }
  }
}

/** Returns an IPv4 address that arrived on an IPv6 socket as IPv4. */
function plainIp(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

/** Removes a socket that a process left behind when it was killed; one that answers is left alone. */
async function removeStaleSocket(path: string): Promise<void> {
  const info = await Deno.lstat(path).catch(() => null);
  if (info === null || info.isSocket !== true) return;
  try {
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
  } catch {
    await Deno.remove(path).catch(() => {});
  }
}
