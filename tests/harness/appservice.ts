/** An application service for tests: a real HTTP server that keeps what it is told and answers as the test says. */
import assert from "node:assert/strict";
import { stringify } from "yaml";
import type { Json } from "./client.ts";

/** A request that the service got. */
export interface ServiceRequest {
  readonly method: string;
  /** Percent-decoded, without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly authorization: string | null;
  readonly text: string;
  readonly body: Json;
}

/** How the service answers; undefined stands for 200 and an empty object. */
export type ServiceAnswer = { readonly status?: number; readonly body?: Json } | undefined;

/** The token with which the service calls the server. */
export const AS_TOKEN = "test-as-token";
/** The token with which the server calls the service. */
export const HS_TOKEN = "test-hs-token";
const WAIT_MS = 20_000;

/** A running service. */
export class TestAppservice implements AsyncDisposable {
  readonly requests: ServiceRequest[] = [];
  /** Answers what comes in. */
  answer: (request: ServiceRequest) => ServiceAnswer | Promise<ServiceAnswer> = () => undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #folder: string;
  #waiting: (() => void)[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => this.#take(request));
  }

  /** Starts a service and writes its registration, which `registration` may change. */
  static async start(registration: Readonly<Record<string, Json>> = {}): Promise<TestAppservice> {
    const service = new TestAppservice(await Deno.makeTempDir({ prefix: "synapse-ts-as-" }));
    const yaml = {
      id: "bridge",
      url: service.url,
      as_token: AS_TOKEN,
      hs_token: HS_TOKEN,
      sender_localpart: "bridgebot",
      namespaces: {
        users: [{ exclusive: true, regex: "@bridge_.*:hs\\.test" }],
        aliases: [{ exclusive: true, regex: "#bridge_.*" }],
        rooms: [],
      },
      ...registration,
    };
    await Deno.writeTextFile(service.file, stringify(yaml));
    return service;
  }

  /** Where it listens. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** The registration file. */
  get file(): string {
    return `${this.#folder}/registration.yaml`;
  }

  /** What a test server is configured with. */
  get config(): Readonly<Record<string, Json>> {
    return { app_service_config_files: [this.file] };
  }

  /** The transactions that came, in order, repetitions included. */
  get transactions(): ServiceRequest[] {
    return this.requests.filter(({ path }) => path.startsWith("/_matrix/app/v1/transactions/"));
  }

  /** All events that came, in order. */
  get events(): Json[] {
    return this.transactions.flatMap(({ body }) => body.events);
  }

  /** All ephemeral events that came, in order. */
  get ephemeral(): Json[] {
    return this.transactions.flatMap(({ body }) => body.ephemeral ?? []);
  }

  /** Waits until `found` gives something, which is returned; looks again after each request. */
  async until<T>(found: () => T | undefined | null | false): Promise<T> {
    const deadline = performance.now() + WAIT_MS;
    while (true) {
      const result = found();
      if (result) return result;
      const left = deadline - performance.now();
      if (left <= 0) assert.fail(`It did not come; there came ${JSON.stringify(this.requests).slice(0, 4000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Waits for an event that `matches`, and returns it. */
  untilEvent(matches: (event: Json) => boolean): Promise<Json> {
    return this.until(() => this.events.find(matches));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #take(request: Request): Promise<Response> {
    const url = new URL(request.url);
    // A server that stops lets go in the middle of a request.
    const text = await request.text().catch(() => null);
    if (text === null) return new Response(null, { status: 400 });
    const seen: ServiceRequest = {
      method: request.method,
      path: decodeURIComponent(url.pathname),
      query: Object.fromEntries(url.searchParams),
      authorization: request.headers.get("authorization"),
      text,
      body: text === "" ? null : JSON.parse(text),
    };
    const { status = 200, body = {} } = await this.answer(seen) ?? {};
    this.requests.push(seen);
    for (const wake of this.#waiting.splice(0)) wake();
    return Response.json(body, { status });
  }
}
