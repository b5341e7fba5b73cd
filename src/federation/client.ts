/**
 * Requests to other servers: routed, signed, bounded in time and size, tried again where that may help, and not made at
 * all to servers that are left alone. The typed calls are in `remote_*.ts`.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { Spread, Tally } from "../lib/tally.ts";
import type { Dispatcher } from "../lib/undici.ts";
import { canonicalJson, JsonSyntaxError, parseJsonStrict } from "../protocol/canonical_json.ts";
import type { ServerName } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { Signer } from "../protocol/signatures.ts";
import type { Backoff } from "./backoff.ts";
import {
  AnswerTooLarge,
  chunksOf,
  ConnectionDenied,
  type Connections,
  ignore,
  readBody,
  type RouteRequest,
} from "./connections.ts";
import type { Discovery, ServerRoute } from "./discovery.ts";
import { readJson } from "./large_answers.ts";
import { RemoteError } from "./remote_error.ts";
import { authorize } from "./x_matrix.ts";

/** `federation.*` of the configuration, in milliseconds. */
export interface ClientOptions {
  readonly clientTimeoutMs: number;
  readonly maxShortRetries: number;
  readonly maxShortRetryDelayMs: number;
  readonly maxLongRetries: number;
  readonly maxLongRetryDelayMs: number;
}

/** What the client is built from. */
export interface ClientDeps {
  readonly signer: Signer;
  readonly discovery: Discovery;
  readonly connections: Connections;
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly log: Logger;
  /** A number from 0 up to 1, which spreads the times of retries. */
  readonly random: () => number;
  /** Tells whether `federation_domain_whitelist` lets us talk to a server. */
  readonly isAllowed: (server: ServerName) => boolean;
  readonly userAgent: string;
  readonly options: ClientOptions;
}

/** One request. */
export interface RemoteRequest {
  readonly server: ServerName;
  readonly method: "GET" | "POST" | "PUT";
  /** The path, percent-encoded, with the query. */
  readonly path: string;
  readonly body?: JsonObject;
  /** The body as canonical JSON text, in place of `body`. */
  readonly bodyText?: string;
  /** `short` is for what a user waits for, `long` for what must arrive; `none` by default. */
  readonly retries?: "none" | "short" | "long";
  /** Asks also a server that is being left alone: for what a user wants done with just this server. */
  readonly ignoreBackoff?: boolean;
  /** For one try; `client_timeout` by default. */
  readonly timeoutMs?: number;
  /** The longest answer, in bytes of JSON. */
  readonly maxBytes?: number;
  /** Keeps numbers as they were written: for answers with events of old room versions. */
  readonly exactNumbers?: boolean;
  /** Leaves the signature away: for documents that anyone may read. */
  readonly unsigned?: boolean;
  readonly signal?: AbortSignal;
}

/** How long answers are unless a call says otherwise. */
const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;
const MAX_ERROR_BYTES = 65_536;
const FIRST_SHORT_DELAY_MS = 500;
const FIRST_LONG_DELAY_MS = 4_000;

/** Talks to other servers. */
export class FederationClient {
  readonly #deps: ClientDeps;
  /** Every try counts. */
  readonly requests = new Tally("method");
  readonly responses = new Tally("method", "code");
  readonly queries = new Tally("type");
  /** How long other servers take, until the head of their answer. */
  readonly times = new Spread([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]);

  constructor(deps: ClientDeps) {
    this.#deps = deps;
  }

  /** Our own name, which is never asked. */
  get serverName(): ServerName {
    return this.#deps.signer.serverName;
  }

  /** Returns the JSON object that the server answers with; throws `RemoteError`. */
  async request(request: RemoteRequest): Promise<JsonObject> {
    return await this.#exchange(request, async ({ statusCode, body }) => {
      const chunks = chunksOf(body, request.maxBytes ?? DEFAULT_MAX_BYTES);
      return await parseAnswer(chunks, { request, status: statusCode });
    });
  }

  /** Hands the headers and the body of a successful answer to `read`, which must consume it; throws `RemoteError`. */
  async stream<T>(request: RemoteRequest, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    return await this.#exchange(request, read);
  }

  async #exchange<T>(given: RemoteRequest, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    const { backoff, clock } = this.#deps;
    // The other side may see the path as parsed by the rules for URLs, which encode this one character in queries.
    const request = { ...given, path: given.path.replaceAll("'", "%27") };
    const { server } = request;
    await this.#assertMayAsk(request);
    const query = queryOf(request.path);
    if (query !== null) this.queries.add([query]);
    const startedAt = clock.now();
    const retries = this.#retriesOf(request);
    for (let attempt = 0;; attempt++) {
      try {
        const result = await this.#attempt(request, read);
        await backoff.noteAlive(server);
        return result;
      } catch (failure) {
        // Anything else is a fault of whoever reads the answer.
        if (!(failure instanceof RemoteError)) throw failure;
        // Giving up on our side says nothing about the server.
        if (request.signal?.aborted) throw failure;
        if (failure.transient && attempt < retries.count) {
          await clock.sleep(this.#delayMs({ attempt, failure, ...retries }), request.signal);
          if (request.signal?.aborted) throw failure;
          continue;
        }
        await this.#noteOutcome(failure, startedAt);
        throw failure;
      }
    }
  }

  async #assertMayAsk({ server, ignoreBackoff }: RemoteRequest): Promise<void> {
    const { signer, backoff, isAllowed } = this.#deps;
    if (server === signer.serverName) throw new Error("This server does not ask itself over federation");
    if (!isAllowed(server)) {
      throw new RemoteError(`Federation with ${server} is not allowed`, { server, transient: false, reachable: false });
    }
    if (ignoreBackoff) return;
    const retryAfterMs = await backoff.waitMs(server);
    if (retryAfterMs === 0) return;
    const failure = { server, transient: true, reachable: false, retryAfterMs };
    throw new RemoteError(`${server} failed lately and is not asked now`, failure);
  }

  /** A server that answers sensibly works, whatever the answer; one that cannot serve anyone fails. */
  async #noteOutcome({ server, reachable, status }: RemoteError, startedAt: number): Promise<void> {
    const { backoff } = this.#deps;
    const isFailing = !reachable || (status !== null && status >= 500);
    await (isFailing ? backoff.noteFailure(server, startedAt) : backoff.noteAlive(server));
  }

  #retriesOf({ retries }: RemoteRequest): { count: number; firstMs: number; maxMs: number } {
    const { maxShortRetries, maxShortRetryDelayMs, maxLongRetries, maxLongRetryDelayMs } = this.#deps.options;
    if (retries === "short") {
      return { count: maxShortRetries, firstMs: FIRST_SHORT_DELAY_MS, maxMs: maxShortRetryDelayMs };
    }
    if (retries === "long") return { count: maxLongRetries, firstMs: FIRST_LONG_DELAY_MS, maxMs: maxLongRetryDelayMs };
    return { count: 0, firstMs: 0, maxMs: 0 };
  }

  #delayMs(
    { attempt, failure, firstMs, maxMs }: { attempt: number; failure: RemoteError; firstMs: number; maxMs: number },
  ): number {
    const spread = 0.8 + this.#deps.random() * 0.6;
    const delay = Math.min(maxMs, firstMs * 2 ** attempt * spread);
    return Math.max(delay, Math.min(failure.retryAfterMs ?? 0, maxMs));
  }

  async #attempt<T>(request: RemoteRequest, read: (answer: Dispatcher.ResponseData) => Promise<T>): Promise<T> {
    const { discovery, options, log, clock } = this.#deps;
    const limit = AbortSignal.timeout(request.timeoutMs ?? options.clientTimeoutMs);
    const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]);
    const { method, path, server } = request;
    const route = await discovery.resolve(server);
    this.requests.add([method]);
    const sentAt = clock.monotonic();
    const answer = await this.#send(route, { method, path, ...this.#payload(request), signal }).catch((error) => {
      throw unreachable(error, server);
    });
    this.responses.add([method, String(answer.statusCode)]);
    this.times.observe((clock.monotonic() - sentAt) / 1_000);
    log.debug("Asked a server", { server, method, path: path.split("?", 1)[0] ?? "", status: answer.statusCode });
    if (answer.statusCode !== 200) throw await refusal(answer, server);
    return await read(answer).catch((error) => {
      // What was left unread must not keep the connection.
      answer.body.on("error", ignore).destroy();
      throw signal.aborted || isNetworkError(error) ? unreachable(error, server) : readFailure(error, server);
    });
  }

  /** A kept connection may be closed by the other side just as it is used: that alone is worth a second try at once. */
  async #send(route: ServerRoute, request: RouteRequest): Promise<Dispatcher.ResponseData> {
    const { connections } = this.#deps;
    try {
      return await connections.send(route, request);
    } catch (error) {
      if (request.method === "POST" || !isBrokenConnection(error)) throw error;
      return await connections.send(route, request);
    }
  }

  #payload({ server, method, path, body, bodyText, unsigned }: RemoteRequest): {
    headers: Record<string, string>;
    body?: string;
  } {
    const { signer, userAgent } = this.#deps;
    const text = bodyText ?? (body === undefined ? null : canonicalJson(body, { lax: true }));
    const headers: Record<string, string> = { "user-agent": userAgent, accept: "application/json, */*" };
    if (!unsigned) {
      headers["authorization"] = authorize({ method, uri: path, destination: server, bodyText: text }, signer);
    }
    if (text === null) return { headers };
    return { headers: { ...headers, "content-type": "application/json" }, body: text };
  }
}

/** The kinds of questions that Synapse counts, by its names. */
const QUERIES = [
  [/^\/_matrix\/federation\/v1\/query\/(profile|directory)\b/, null],
  [/^\/_matrix\/federation\/v1\/user\/keys\/query$/, "client_device_keys"],
  [/^\/_matrix\/federation\/v1\/user\/keys\/claim$/, "client_one_time_keys"],
  [/^\/_matrix\/federation\/v1\/user\/devices\//, "user_devices"],
] as const;

function queryOf(path: string): string | null {
  for (const [pattern, name] of QUERIES) {
    const match = pattern.exec(path);
    if (match !== null) return name ?? match[1] ?? null;
  }
  return null;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

function isBrokenConnection(error: unknown): boolean {
  return ["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"].includes(codeOf(error));
}

function isNetworkError(error: unknown): boolean {
  return isBrokenConnection(error) || codeOf(error).startsWith("UND_ERR_");
}

async function parseAnswer(
  chunks: AsyncIterable<Uint8Array>,
  { request, status }: { request: RemoteRequest; status: number },
): Promise<JsonObject> {
  let value: JsonValue;
  try {
    value = await readJson(chunks, { numbers: request.exactNumbers ? "exact" : "plain" });
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    value = null;
  }
  if (isJsonObject(value)) return value;
  const failure = { server: request.server, transient: false, reachable: true, status };
  throw new RemoteError(`${request.server} answered with something else than a JSON object`, failure);
}

/** Returns the error for an answer other than 200. */
async function refusal(answer: Dispatcher.ResponseData, server: ServerName): Promise<RemoteError> {
  const status = answer.statusCode;
  const body = parseErrorBody(await readBody(answer.body, MAX_ERROR_BYTES).catch(() => new Uint8Array()));
  return new RemoteError(`${server} answered with status ${status}`, {
    ...{ server, status, body },
    transient: status >= 500 || status === 429,
    reachable: true,
    retryAfterMs: retryAfterOf(answer, body),
  });
}

function parseErrorBody(bytes: Uint8Array): JsonObject | null {
  try {
    const value = parseJsonStrict(Buffer.from(bytes));
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

function retryAfterOf({ headers }: Dispatcher.ResponseData, body: JsonObject | null): number | null {
  const header = headers["retry-after"];
  if (typeof header === "string" && /^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const stated = body?.["retry_after_ms"];
  return typeof stated === "number" && stated >= 0 ? stated : null;
}

/** Returns the error for an answer that did not come, or not to its end. */
function unreachable(error: unknown, server: ServerName): RemoteError {
  const transient = !(error instanceof ConnectionDenied);
  const reason = error instanceof Error ? error.message : String(error);
  return new RemoteError(`${server} cannot be reached: ${reason}`, {
    server,
    transient,
    reachable: false,
    cause: error,
  });
}

/** Returns what is thrown when reading an answer failed for another reason than the connection. */
function readFailure(error: unknown, server: ServerName): unknown {
  if (!(error instanceof AnswerTooLarge)) return error;
  return new RemoteError(`${server}: ${error.message}`, { server, transient: false, reachable: true, status: 200 });
}
