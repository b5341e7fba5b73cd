/**
 * A listener with TLS, on node:https: unlike `Deno.serve` it limits how long a client may take over its headers and its
 * request and how long it may idle, and it changes certificates without dropping a connection.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import type { Logger } from "../lib/log.ts";
import { describeError } from "../lib/describe_error.ts";
import type { Certificate } from "../services/acme_challenges.ts";
import type { RequestHandler } from "./handler.ts";
import type { Listener } from "./listeners.ts";

/** How to listen. */
export interface TlsListenerOptions {
  readonly handler: RequestHandler;
  readonly hostname: string;
  readonly port: number;
  readonly certificate: Certificate;
  readonly log: Logger;
}

const HEADERS_TIMEOUT_MS = 30_000;
/** Long enough for a large upload on a slow line. */
const REQUEST_TIMEOUT_MS = 600_000;
const KEEP_ALIVE_TIMEOUT_MS = 70_000;
const TAKE_OVER_TRIES = 50;
const TAKE_OVER_WAIT_MS = 20;
const MAX_HEADER_BYTES = 65_536;

/** Serves HTTPS until it is stopped. */
export class TlsListener implements Listener {
  readonly #options: TlsListenerOptions;
  /** Those of the server, and of servers before it that still answer requests. */
  readonly #connections = new Set<Connections>();
  #server: Server;
  #port = 0;

  /** Opens the socket. */
  static async listen(options: TlsListenerOptions): Promise<TlsListener> {
    const listener = new TlsListener(options);
    await listener.#open(options.port);
    return listener;
  }

  private constructor(options: TlsListenerOptions) {
    this.#options = options;
    this.#server = this.#create(options.certificate);
  }

  /** The port it listens on. */
  get port(): number {
    return this.#port;
  }

  /** Where it listens, as a URL. */
  get address(): string {
    const { hostname } = this.#options;
    return `https://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}`;
  }

  /** Uses another certificate for connections from now on. */
  setCertificate(certificate: Certificate): void {
    const old: Partial<Pick<Server, "setSecureContext">> & Pick<Server, "close"> = this.#server;
    if (old.setSecureContext !== undefined) {
      old.setSecureContext({ cert: certificate.cert, key: certificate.key });
      return;
    }
    // The oldest Deno cannot: another server takes over the port. What is being asked of the old one is still answered;
    // its connections are then closed, because it reads no further requests.
    old.close();
    for (const connections of this.#connections) connections.closeWhenUnused();
    this.#takeOver(certificate).catch((error) => this.#options.log.error("Listener failed", { error }));
  }

  /** Listens on the port again as soon as the old server has let go of it. */
  async #takeOver(certificate: Certificate): Promise<void> {
    for (let tries = 1;; tries++) {
      this.#server = this.#create(certificate);
      try {
        return await this.#open(this.#port);
      } catch (error) {
        if (tries === TAKE_OVER_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, TAKE_OVER_WAIT_MS));
      }
    }
  }

  #create(certificate: Certificate): Server {
    const { handler, log } = this.#options;
    const connections = new Connections();
    this.#connections.add(connections);
    const server = createServer({
      cert: certificate.cert,
      key: certificate.key,
      minVersion: "TLSv1.2",
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    }, (request, response) => {
      connections.addRequest(response);
      serve(handler, { request, response }).catch((error) => {
        log.error("Answer could not be sent", { error: describeError(error) });
        response.destroy();
      });
    });
    // Typed as any stream; a server of sockets gives sockets.
    server.on("connection", (socket) => connections.add(socket as Socket));
    server.on("secureConnection", (socket) => connections.add(socket));
    server.once("close", () => this.#connections.delete(connections));
    // A failed handshake is the client's affair.
    server.on("tlsClientError", () => {});
    return server;
  }

  async #open(port: number): Promise<void> {
    const { hostname, log } = this.#options;
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: hostname, port }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    this.#port = (server.address() as AddressInfo).port;
    server.on("error", (error) => log.error("Listener failed", { error }));
  }

  /** Stops accepting, waits up to `graceMs` for running requests, then closes every connection. */
  async stop(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const all = [...this.#connections];
    const timer = setTimeout(() => all.forEach((connections) => connections.closeAll()), graceMs);
    for (const connections of all) connections.closeWhenUnused();
    await closed;
    clearTimeout(timer);
  }
}

/**
 * The open connections and the requests that are being answered. Kept here because under Deno neither
 * `closeIdleConnections` nor `closeAllConnections` knows a connection on which nothing was asked yet.
 */
class Connections {
  readonly #sockets = new Set<Socket>();
  #running = 0;
  #isClosing = false;

  /** Keeps a connection until it closes. */
  add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    if (this.#isClosing && this.#running === 0) this.closeAll();
  }

  /** Counts a request until its answer is sent or its client gone. */
  addRequest(response: ServerResponse): void {
    this.#running++;
    let isRunning = true;
    const end = () => {
      if (!isRunning) return;
      isRunning = false;
      this.#running--;
      if (this.#isClosing && this.#running === 0) this.closeAll();
    };
    response.once("finish", end);
    response.once("close", end);
  }

  /** Closes all connections as soon as no request is running. */
  closeWhenUnused(): void {
    this.#isClosing = true;
    if (this.#running === 0) this.closeAll();
  }

  /** Closes all connections. What was written is still sent. */
  closeAll(): void {
    for (const socket of this.#sockets) socket.destroySoon();
  }
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

async function serve(handler: RequestHandler, { request, response }: Exchange): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort();
  });
  const incoming = toWebRequest(request, gone.signal);
  if (incoming === null) {
    response.writeHead(400, { "content-type": "application/json" });
    response.end('{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}');
    return;
  }
  const answer = await handler(incoming, request.socket.remoteAddress?.replace(/^::ffff:(?=.*\.)/, "") ?? "");
  response.writeHead(answer.status, [...answer.headers].flat());
  if (answer.body === null || request.method === "HEAD") {
    response.end();
    return;
  }
  await writeBody(answer.body, { response, gone: gone.signal });
}

/**
 * Writes a body piece by piece. Not by `stream.pipeline`: under Deno that leaves a kept connection stuck after a body of
 * declared length.
 */
async function writeBody(
  body: ReadableStream<Uint8Array>,
  { response, gone }: { response: ServerResponse; gone: AbortSignal },
): Promise<void> {
  try {
    for await (const piece of body) {
      if (gone.aborted) return;
      if (!response.write(piece)) await drained(response, gone);
    }
    response.end();
  } catch (error) {
    response.destroy();
    if (!gone.aborted) throw error;
  }
}

function drained(response: ServerResponse, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      response.off("drain", finish);
      gone.removeEventListener("abort", finish);
      resolve();
    };
    response.once("drain", finish);
    gone.addEventListener("abort", finish);
  });
}

/** Makes a web request; the host is not taken from the client, since nothing may rely on it. */
function toWebRequest(request: IncomingMessage, signal: AbortSignal): Request | null {
  const target = request.url ?? "/";
  const path = target.startsWith("/") ? target : target.replace(/^[a-z]+:\/\/[^/?#]*/i, "");
  const headers = new Headers();
  const raw = request.rawHeaders;
  for (let index = 0; index + 1 < raw.length; index += 2) headers.append(raw[index] ?? "", raw[index + 1] ?? "");
  const method = request.method ?? "GET";
  const hasBody = method !== "GET" && method !== "HEAD" &&
    (headers.has("content-length") || headers.has("transfer-encoding"));
  try {
    return new Request(`https://server.invalid${path.startsWith("/") ? path : `/${path}`}`, {
      method,
      headers,
      body: hasBody ? Readable.toWeb(request) as unknown as ReadableStream<Uint8Array> : null,
      signal,
    });
  } catch {
    return null;
  }
}
