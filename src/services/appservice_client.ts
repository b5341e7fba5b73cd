/**
 * Requests to application services. Spec: application service API, "Homeserver -> Application Service API".
 *
 * Where a service is is the operator's word, so no address is refused. Redirects are not followed.
 */
import { readBody } from "../federation/connections.ts";
import { RequestTallies } from "../lib/tally.ts";
import { type Agent, loadUndici } from "../lib/undici.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { Appservice } from "./appservices.ts";

/** What requests are made with. */
export interface AppserviceClientDeps {
  readonly userAgent: string;
  /** Synapse's `use_appservice_legacy_authorization`: the token goes into the query too. */
  readonly tokenInQuery: boolean;
}

/** A request below the service's address. */
export interface AppserviceRequest {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What a service answered; `json` is null where the body is none. */
export interface AppserviceAnswer {
  readonly status: number;
  readonly text: string;
  readonly json: JsonValue;
}

const QUERY_TIMEOUT_MS = 20_000;
const KEEP_ALIVE_MS = 60_000;
const MAX_CONNECTIONS = 8;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Asks and tells application services. */
export class AppserviceClient implements AsyncDisposable {
  readonly counts = new RequestTallies();
  readonly #deps: AppserviceClientDeps;
  #agent: Promise<Agent> | null = null;

  constructor(deps: AppserviceClientDeps) {
    this.#deps = deps;
  }

  /** Sends one request. Throws when the service cannot be reached or does not answer in time. */
  async request(service: Appservice, request: AppserviceRequest): Promise<AppserviceAnswer> {
    const { method, path, query = {}, body, timeoutMs = QUERY_TIMEOUT_MS, signal } = request;
    if (service.url === null) throw new Error("The application service has no URL");
    const url = new URL(service.url + path);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    if (this.#deps.tokenInQuery) url.searchParams.set("access_token", service.hsToken);
    const timeout = AbortSignal.timeout(timeoutMs);
    const agent = await (this.#agent ??= openAgent());
    this.counts.requests.add([method]);
    const answer = await agent.request({
      origin: url.origin,
      method,
      path: url.pathname + url.search,
      headers: {
        "authorization": `Bearer ${service.hsToken}`,
        "user-agent": this.#deps.userAgent,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.counts.responses.add([method, String(answer.statusCode)]);
    const text = new TextDecoder().decode(await readBody(answer.body, MAX_ANSWER_BYTES));
    return { status: answer.statusCode, text, json: parseJson(text) };
  }

  /** Tells whether a service has, or now makes, a user or a room alias; false when it cannot be asked. */
  async has(service: Appservice, kind: "rooms" | "users", id: string): Promise<boolean> {
    if (service.url === null) return false;
    try {
      const path = `/_matrix/app/v1/${kind}/${encodeURIComponent(id)}`;
      return (await this.request(service, { method: "GET", path })).status === 200;
    } catch {
      return false;
    }
  }

  /** Returns what a service says of a protocol of its own, or null. */
  async protocol(service: Appservice, name: string): Promise<JsonObject | null> {
    const json = await this.#lookUp(service, `protocol/${encodeURIComponent(name)}`, {});
    return isJsonObject(json) ? json : null;
  }

  /** Returns what a service finds of locations or users. */
  async find(
    service: Appservice,
    { kind, protocol, fields }: {
      kind: "location" | "user";
      protocol: string | null;
      fields: Readonly<Record<string, string>>;
    },
  ): Promise<JsonObject[]> {
    const path = protocol === null ? kind : `${kind}/${encodeURIComponent(protocol)}`;
    const json = await this.#lookUp(service, path, fields);
    return Array.isArray(json) ? json.filter(isJsonObject) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#agent)?.destroy();
  }

  async #lookUp(service: Appservice, path: string, query: Readonly<Record<string, string>>): Promise<JsonValue> {
    if (service.url === null) return null;
    for (const prefix of ["/_matrix/app/v1/thirdparty/", "/_matrix/app/unstable/thirdparty/"]) {
      try {
        const { status, json } = await this.request(service, { method: "GET", path: prefix + path, query });
        if (status === 200) return json;
      } catch {
        return null;
      }
    }
    return null;
  }
}

function parseJson(text: string): JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function openAgent(): Promise<Agent> {
  const { Agent } = await loadUndici();
  return new Agent({
    connections: MAX_CONNECTIONS,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
  });
}
