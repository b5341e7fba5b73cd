/**
 * Requests that clients and servers make, by endpoint.
 *
 * This runs for every request, so it adds to plain numbers that are found by the endpoint; names and labels come with the
 * scrape. An endpoint is called by its path with the names of its parameters: a path as sent would be a series of its own
 * for each room.
 */
import type { AnsweredRequest, BegunRequest } from "../../http/middleware/access_log.ts";
import type { Labels, Metrics } from "../../lib/metrics.ts";
import { Spread } from "../../lib/tally.ts";

/** Synapse's. */
const TIMES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** What one endpoint answered on one listener. */
interface Figures {
  readonly labels: { readonly method: string; readonly servlet: string; readonly tag: string };
  count: number;
  dbCount: number;
  dbMs: number;
  /** By status. */
  readonly times: Map<number, Spread>;
}

type Read = (figures: Figures) => number;

/** Methods that are counted by their names; anybody can make up others. */
const METHODS: ReadonlySet<string> = new Set(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]);
const UNROUTED = "unrouted";

/** Counts requests. */
export class RequestMeter {
  /** By endpoint, then method, then listener. */
  readonly #byRoute = new Map<string, Map<string, Map<string, Figures>>>();
  readonly #inFlight = new Map<BegunRequest["info"], string>();

  constructor(metrics: Metrics) {
    this.#add(metrics);
    this.#addInFlight(metrics);
  }

  /** Notes a request that has come. */
  readonly onBegun = ({ request, info }: BegunRequest): void => {
    this.#inFlight.set(info, nameOf(request.method));
  };

  /** Notes its answer. */
  readonly onAnswered = ({ request, info, response, listener, durationMs }: AnsweredRequest): void => {
    this.#inFlight.delete(info);
    const figures = this.#of(info.route ?? UNROUTED, { method: nameOf(request.method), tag: listener });
    figures.count++;
    figures.dbCount += info.usage.count;
    figures.dbMs += info.usage.ms;
    let times = figures.times.get(response.status);
    if (times === undefined) figures.times.set(response.status, times = new Spread(TIMES));
    times.observe(durationMs / 1_000);
  };

  #of(servlet: string, { method, tag }: { method: string; tag: string }): Figures {
    const byMethod = this.#byRoute.get(servlet) ?? new Map<string, Map<string, Figures>>();
    if (byMethod.size === 0) this.#byRoute.set(servlet, byMethod);
    const byTag = byMethod.get(method) ?? new Map<string, Figures>();
    if (byTag.size === 0) byMethod.set(method, byTag);
    let figures = byTag.get(tag);
    if (figures === undefined) {
      figures = { labels: { method, servlet, tag }, count: 0, dbCount: 0, dbMs: 0, times: new Map() };
      byTag.set(tag, figures);
    }
    return figures;
  }

  #all(): Figures[] {
    return [...this.#byRoute.values()].flatMap((byMethod) =>
      [...byMethod.values()].flatMap((all) => [...all.values()])
    );
  }

  #add(metrics: Metrics): void {
    const labels = ["method", "servlet", "tag"];
    const counted = (name: string, help: string, read: Read) =>
      metrics.counted(
        { name: `synapse_http_server_${name}_total`, help, labels },
        () => this.#all().map((figures) => [figures.labels, read(figures)]),
      );
    counted("response_count", "Answers", ({ count }) => count);
    counted("response_db_txn_count", "Reads and transactions that answers took", ({ dbCount }) => dbCount);
    counted("response_db_txn_duration_seconds", "Time in the database that answers took", ({ dbMs }) => dbMs / 1_000);
    metrics.counted(
      { name: "synapse_http_server_responses_total", help: "Answers by status", labels: ["method", "code"] },
      () =>
        sumOf(
          this.#all().flatMap(({ labels: { method }, times }) =>
            [...times].map(([code, { count }]) => [{ method, code: String(code) }, count] as const)
          ),
        ),
    );
    metrics.spread(
      {
        name: "synapse_http_server_response_time_seconds",
        help: "Time from request to answer, long-polls included",
        labels: [...labels, "code"],
      },
      () =>
        this.#all().flatMap((figures) =>
          [...figures.times].map(([code, times]) => [{ ...figures.labels, code: String(code) }, times] as const)
        ),
    );
  }

  /** What is under way counts too, so that a request that takes long shows before it ends. */
  #addInFlight(metrics: Metrics): void {
    const labels = ["method", "servlet"];
    const under = () =>
      [...this.#inFlight].map(([info, method]) => ({ labels: { method, servlet: info.route ?? UNROUTED }, info }));
    // What has no endpoint yet would be taken from a counter again once it has one.
    const routed = () => under().filter(({ info }) => info.route !== null);
    metrics.gauge(
      { name: "synapse_http_server_in_flight_requests_count", help: "Requests that are being answered", labels },
      () => sumOf(under().map(({ labels }) => [labels, 1])),
    );
    const counted = (name: string, help: string, read: { done: Read; now: (usage: Usage) => number }) =>
      metrics.counted(
        { name: `synapse_http_server_${name}_total`, help, labels },
        () =>
          sumOf([
            ...this.#all().map((figures) => [withoutTag(figures), read.done(figures)] as const),
            ...routed().map(({ labels, info }) => [labels, read.now(info.usage)] as const),
          ]),
      );
    counted("requests_received", "Requests", { done: ({ count }) => count, now: () => 1 });
    counted("in_flight_requests_db_txn_count", "Reads and transactions, of requests under way too", {
      done: ({ dbCount }) => dbCount,
      now: ({ count }) => count,
    });
    counted("in_flight_requests_db_txn_duration_seconds", "Time in the database, of requests under way too", {
      done: ({ dbMs }) => dbMs / 1_000,
      now: ({ ms }) => ms / 1_000,
    });
  }
}

type Usage = BegunRequest["info"]["usage"];

function nameOf(method: string): string {
  return METHODS.has(method) ? method : "other";
}

function withoutTag({ labels: { method, servlet } }: Figures): Labels {
  return { method, servlet };
}

function sumOf(values: readonly (readonly [Labels, number])[]): [Labels, number][] {
  const sums = new Map<string, [Labels, number]>();
  for (const [labels, value] of values) {
    const key = Object.values(labels).join("\0");
    const known = sums.get(key);
    if (known === undefined) sums.set(key, [labels, value]);
    else known[1] += value;
  }
  return [...sums.values()];
}
