/**
 * Requests as spans for an OpenTelemetry collector, by OTLP over HTTP in JSON
 * (https://opentelemetry.io/docs/specs/otlp/#otlphttp). A request of a proxy with `traceparent` continues its trace.
 *
 * Deno has an exporter of its own (`OTEL_DENO`), but that sends whole URLs, in which access tokens and room ids stand.
 */
import { randomBytes } from "node:crypto";
import { BackgroundPost } from "./background_post.ts";
import { VERSION } from "./version.ts";

/** Where spans go. */
export interface TracerOptions {
  /** The collector, for example `http://localhost:4318`. */
  readonly endpoint: string;
  /** The share of requests that are traced, from 0 to 1. A trace of the proxy is decided there. */
  readonly share: number;
  readonly serverName: string;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** One request that was answered. */
export interface RequestSpan {
  readonly method: string;
  /** The path of the endpoint with the names of its parameters. */
  readonly route: string;
  readonly status: number;
  readonly durationMs: number;
  /** The header `traceparent`, null where there is none. */
  readonly traceparent: string | null;
  readonly attributes: Readonly<Record<string, string | number>>;
}

interface Trace {
  readonly traceId: string;
  /** The span that this one is part of. */
  readonly spanId: string | null;
}

const BATCH = 200;
const SEND_EVERY_MS = 2_000;
const SERVER_KIND = 2;
const STATUS_ERROR = 2;

/** Gathers spans and sends them. */
export class Tracer {
  readonly #options: TracerOptions;
  readonly #post = new BackgroundPost();
  #spans: unknown[] = [];
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  /** Notes a request that was just answered. */
  note(span: RequestSpan): void {
    const { share, now } = this.#options;
    const given = parseTraceparent(span.traceparent);
    if (given === "off") return;
    const trace = given ?? { traceId: randomBytes(16).toString("hex"), spanId: null };
    if (given === null && Number.parseInt(trace.traceId.slice(0, 8), 16) >= share * 2 ** 32) return;
    this.#spans.push(toOtlp(span, { trace, endMs: now() }));
    if (this.#spans.length >= BATCH) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), SEND_EVERY_MS);
  }

  /** Sends what is left. */
  async stop(): Promise<void> {
    this.#send();
    await this.#post.flush();
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const spans = this.#spans.splice(0);
    if (spans.length === 0) return;
    const { endpoint, serverName } = this.#options;
    const resource = { "service.name": "synapse-ts", "service.version": VERSION, "service.instance.id": serverName };
    const scope = { name: "synapse-ts", version: VERSION };
    const body = {
      resourceSpans: [{ resource: { attributes: toAttributes(resource) }, scopeSpans: [{ scope, spans }] }],
    };
    this.#post.add({
      url: `${endpoint.replace(/\/+$/, "")}/v1/traces`,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }
}

/** Reads the header of W3C's Trace Context; "off" where the trace is not recorded. */
function parseTraceparent(header: string | null): Trace | "off" | null {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(header ?? "");
  const [, traceId, spanId, flags = "0"] = match ?? [];
  if (traceId === undefined || spanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return (Number.parseInt(flags, 16) & 1) === 0 ? "off" : { traceId, spanId };
}

function toOtlp(span: RequestSpan, { trace, endMs }: { trace: Trace; endMs: number }): unknown {
  const { method, route, status, durationMs } = span;
  const attributes = {
    "http.request.method": method,
    "http.route": route,
    "http.response.status_code": status,
    ...span.attributes,
  };
  return {
    traceId: trace.traceId,
    spanId: randomBytes(8).toString("hex"),
    ...(trace.spanId === null ? {} : { parentSpanId: trace.spanId }),
    name: `${method} ${route}`,
    kind: SERVER_KIND,
    startTimeUnixNano: toNanoseconds(endMs - durationMs),
    endTimeUnixNano: toNanoseconds(endMs),
    attributes: toAttributes(attributes),
    ...(status >= 500 ? { status: { code: STATUS_ERROR } } : {}),
  };
}

function toNanoseconds(ms: number): string {
  return `${BigInt(Math.round(ms * 1000)) * 1000n}`;
}

function toAttributes(values: Readonly<Record<string, string | number>>): unknown[] {
  return Object.entries(values).map(([key, value]) => ({
    key,
    value: typeof value === "string"
      ? { stringValue: value }
      : Number.isInteger(value)
      ? { intValue: String(value) }
      : { doubleValue: value },
  }));
}
