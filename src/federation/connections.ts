/**
 * Connections to other servers: a pool for each route, with a connector of our own that decides which address is
 * connected to, what the TLS server name is and which certificate will do.
 *
 * undici would skip its lookup for IP literals, so the connector always resolves and judges addresses itself.
 */
import { connect as connectTcp, type Socket } from "node:net";
import { isIP } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { GatheredBytes } from "../lib/gathered_bytes.ts";
import { LruCache } from "../lib/lru.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { type buildConnector, type Dispatcher, loadUndici, type Pool } from "../lib/undici.ts";
import type { Dns } from "./dns.ts";
import { orderTargets, type RouteTarget, routeTo, type ServerRoute } from "./discovery.ts";
import type { IpPolicy } from "./ip_policy.ts";
import { type Proxy, tunnel } from "./proxy.ts";
import { MAX_WELL_KNOWN_BYTES, type WebAnswer } from "./well_known.ts";

/** How certificates are checked. */
export interface TlsPolicy {
  /** `federation_verify_certificates`. */
  readonly verify: boolean;
  /** Tells whether the certificate of a name need not be checked: `federation_certificate_verification_whitelist`. */
  readonly isExempt: (certName: string) => boolean;
  /** The authorities to trust in place of the usual ones, in PEM; null for those. */
  readonly authorities: readonly string[] | null;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

/** What connections are built from. */
export interface ConnectionsDeps {
  readonly dns: Pick<Dns, "lookup">;
  readonly ipPolicy: IpPolicy;
  readonly tls: TlsPolicy;
  /** Returns the proxy for a host, or null to connect directly. */
  readonly proxyFor: (host: string) => Proxy | null;
  /** A number from 0 up to 1, for the choice between equal targets. */
  readonly random: () => number;
}

/** A request over a route. `path` is raw and has the query. */
export interface RouteRequest {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

const CONNECT_TIMEOUT_MS = 10_000;
const WEB_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 30_000;
const MAX_CONNECTIONS = 16;
const MAX_POOLS = 2_000;
const MAX_ADDRESSES = 8;
/** This many TLS handshakes at once keep a processor busy; a thousand would all take longer, and more memory. */
const MAX_HANDSHAKES = 32;
/** Who takes longer than this waits for something else than our processor, and holds up nobody. */
const HANDSHAKE_TURN_MS = 250;

/** A connection that is not allowed, as opposed to one that failed. */
export class ConnectionDenied extends Error {
  override readonly name = "ConnectionDenied";
}

/** Makes and keeps connections. */
export class Connections implements AsyncDisposable {
  readonly #deps: ConnectionsDeps;
  readonly #pools: LruCache<string, Pool>;
  readonly #handshakes = new Semaphore(MAX_HANDSHAKES);
  #isClosed = false;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
    // Closing lets the requests of a pool end.
    this.#pools = new LruCache({ maxEntries: MAX_POOLS, onEvict: (pool) => void pool.close().catch(() => {}) });
  }

  /** Sends a request; the caller must read or destroy the body. Rejects when there is no answer. */
  async send(route: ServerRoute, request: RouteRequest): Promise<Dispatcher.ResponseData> {
    if (this.#isClosed) throw new Error("Connections are closed");
    const pool = await this.#poolOf(route);
    if (this.#isClosed) throw new Error("Connections are closed");
    return await pool.request({
      method: request.method,
      path: request.path,
      headers: { ...request.headers, host: route.hostHeader },
      body: request.body ?? null,
      signal: request.signal,
      // The signal bounds the whole exchange.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** Gets a document of the web, as `WebGet` describes. */
  async get(url: URL): Promise<WebAnswer> {
    const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
    const route = routeTo({
      host,
      port: url.port === "" ? 443 : Number(url.port),
      hostHeader: url.host,
      certName: host,
    });
    const signal = AbortSignal.timeout(WEB_TIMEOUT_MS);
    const answer = await this.send(route, { method: "GET", path: `${url.pathname}${url.search}`, signal });
    const header = (name: string) => {
      const value = answer.headers[name];
      return (Array.isArray(value) ? value[0] : value) ?? null;
    };
    const body = await readBody(answer.body, MAX_WELL_KNOWN_BYTES);
    return {
      ...{ status: answer.statusCode, body, location: header("location") },
      ...{ cacheControl: header("cache-control"), expires: header("expires") },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const pools = [...this.#pools.keys()].map((key) => this.#pools.peek(key));
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool?.destroy().catch(() => {})));
  }

  async #poolOf(route: ServerRoute): Promise<Pool> {
    const { Pool } = await loadUndici();
    const key = JSON.stringify([route.certName, route.hostHeader, route.targets]);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    // The origin only names the pool: the connector decides where it leads and `send` sets the Host header.
    const pool = new Pool("https://route.invalid", {
      connections: MAX_CONNECTIONS,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      connect: this.#connectorOf(route),
    });
    shrinkQueue(pool);
    this.#pools.set(key, pool);
    return pool;
  }

  #connectorOf(route: ServerRoute): buildConnector.connector {
    return (_options, callback) => {
      this.#connect(route).then(
        (socket) => callback(null, socket),
        (error) => callback(error instanceof Error ? error : new Error(String(error)), null),
      );
    };
  }

  async #connect(route: ServerRoute): Promise<TLSSocket> {
    let failure: unknown = new ConnectionDenied(`${route.certName} offers no such service`);
    for (const target of orderTargets(route.targets, this.#deps.random)) {
      try {
        return await this.#connectTarget(target, route.certName);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #connectTarget({ host, port }: RouteTarget, certName: string): Promise<TLSSocket> {
    const proxy = this.#deps.proxyFor(host);
    if (proxy !== null) return await this.#secure(await tunnel(proxy, { host, port }), certName);
    const addresses = isIP(host) !== 0 ? [host] : await this.#deps.dns.lookup(host);
    const allowed = addresses.filter((address) => this.#deps.ipPolicy.allows(address)).slice(0, MAX_ADDRESSES);
    let failure: unknown = new ConnectionDenied(`Addresses of ${host} are not allowed`);
    for (const address of allowed) {
      try {
        return await this.#secure(await openSocket(address, port), certName);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #secure(socket: Socket, certName: string): Promise<TLSSocket> {
    const { handshake } = await this.#handshakes.run(async () => {
      const begun = this.#shakeHands(socket, certName);
      await settled(begun, HANDSHAKE_TURN_MS);
      return { handshake: begun };
    });
    return await handshake;
  }

  #shakeHands(socket: Socket, certName: string): Promise<TLSSocket> {
    const { verify, isExempt, authorities, minVersion } = this.#deps.tls;
    const options: ConnectionOptions = {
      socket,
      // The name to check; an IP address is not sent as SNI.
      host: certName,
      ...(isIP(certName) === 0 ? { servername: certName } : {}),
      ...(authorities === null ? {} : { ca: [...authorities] }),
      rejectUnauthorized: verify && !isExempt(certName),
      minVersion,
      ALPNProtocols: ["http/1.1"],
    };
    return new Promise((resolve, reject) => {
      const secured = connectTls(options).on("error", ignore);
      const timer = setTimeout(() => fail(new Error("TLS handshake timed out")), CONNECT_TIMEOUT_MS);
      const onClose = () => fail(new Error("The connection was closed"));
      const fail = (error: Error) => {
        clearTimeout(timer);
        secured.destroy();
        socket.destroy();
        reject(error);
      };
      secured.once("error", fail).once("close", onClose);
      // The connection below may break without the one above noticing.
      socket.once("error", fail).once("close", onClose);
      secured.once("secureConnect", () => {
        clearTimeout(timer);
        secured.off("error", fail).off("close", onClose);
        socket.off("error", fail).off("close", onClose);
        secured.setNoDelay(true);
        resolve(secured);
      });
      if (socket.destroyed) onClose();
    });
  }
}

/**
 * Takes back the places for 2,048 waiting requests, 16 KB, that a new pool has: they come back as they are used. With a
 * thousand servers that is a tenth of all memory. A pool of another make is left as it is.
 */
function shrinkQueue(pool: Pool): void {
  const key = Object.getOwnPropertySymbols(pool).find(({ description }) => description === "queue");
  const queue = key === undefined ? undefined : (pool as unknown as Record<symbol, PoolQueue | undefined>)[key];
  const places = queue?.head?.list;
  if (Array.isArray(places) && places.every((place) => place === undefined)) places.length = 0;
}

interface PoolQueue {
  readonly head?: { readonly list?: unknown };
}

/** Resolves when the work has come to its end, in whatever way, or after so much time. */
function settled(work: Promise<unknown>, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    work.then(end, end);
  });
}

/** Stands in where an error has been dealt with or will be noticed otherwise: an error that nobody hears ends the process. */
export function ignore(): void {}

/** Opens a TCP connection to an address. */
export function openSocket(address: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: address, port }).on("error", ignore);
    const timer = setTimeout(() => fail(new Error("Connection timed out")), CONNECT_TIMEOUT_MS);
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** An answer that is longer than what is read. */
export class AnswerTooLarge extends Error {
  override readonly name = "AnswerTooLarge";
}

/** Goes through a body of at most `maxBytes`; more makes it throw `AnswerTooLarge` and drops the connection. */
export async function* chunksOf(body: Dispatcher.ResponseData["body"], maxBytes: number): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    length += chunk.byteLength;
    // Leaving the loop destroys the stream.
    if (length > maxBytes) throw new AnswerTooLarge(`The answer is longer than ${maxBytes} bytes`);
    yield chunk;
  }
}

/** Reads a body, as `chunksOf` does. */
export async function readBody(body: Dispatcher.ResponseData["body"], maxBytes: number): Promise<Uint8Array> {
  const gathered = new GatheredBytes();
  for await (const chunk of chunksOf(body, maxBytes)) gathered.add(chunk);
  return gathered.take();
}
