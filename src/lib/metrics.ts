/**
 * Counters, durations and gauges for Prometheus. The package behind it is loaded only where metrics are wanted; without
 * them `NO_METRICS` takes the place of the real thing and costs a call that does nothing.
 */
import type { Metric, Registry } from "prom-client";
import { countOpenFiles } from "./system_files.ts";
import type { Spread } from "./tally.ts";

/** Values of the labels of one measurement. */
export type Labels = Readonly<Record<string, string>>;

/** A measurement that is taken when somebody asks for it: one number, or one for each set of labels. */
export type Reading = number | readonly (readonly [Labels, number])[];

/** What is measured under one name. */
export interface Definition {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** It is of the process, and has none of the labels that all others share. */
  readonly isOfProcess?: boolean;
}

/** Where measurements go. */
export interface Metrics {
  readonly isEnabled: boolean;
  /** Adds a gauge that is read at each scrape; what `read` throws leaves the gauge out of that scrape. */
  gauge(definition: Definition, read: () => Reading | Promise<Reading>): void;
  /** Adds a counter that is counted elsewhere and read at each scrape. */
  counted(definition: Definition, read: () => Reading): void;
  /** Adds a histogram that is kept elsewhere and read at each scrape. */
  spread(definition: Definition, read: () => Spread | readonly (readonly [Labels, Spread])[]): void;
  /** Adds a histogram of what is now, read at each scrape: its counts go down too, which is why the sum has another name. */
  gaugeSpread(definition: Definition, read: () => Promise<Spread>): void;
  /** Returns everything in the text format of Prometheus, with its media type. */
  render(): Promise<{ readonly text: string; readonly contentType: string }>;
}

/** Measures nothing. */
export const NO_METRICS: Metrics = {
  isEnabled: false,
  gauge: () => {},
  counted: () => {},
  spread: () => {},
  gaugeSpread: () => {},
  render: () => Promise.resolve({ text: "", contentType: "text/plain; version=0.0.4; charset=utf-8" }),
};

const UNREADABLE = [
  // V8's garbage collector tells nobody but Node of what it does.
  "nodejs_gc_duration_seconds",
  "process_heap_bytes",
  "process_max_fds",
  "process_open_fds",
  "process_resident_memory_bytes",
  "process_virtual_memory_bytes",
];

const OPEN_FILES = [
  ["process_open_fds", "Open file descriptors", "open"],
  ["process_max_fds", "The most file descriptors that may be open", "max"],
] as const;

/** The package reads the rest from /proc, which is closed to a program with named permissions. */
function replaceUnreadable(registry: Registry, Gauge: typeof import("prom-client").Gauge): void {
  for (const name of UNREADABLE) registry.removeSingleMetric(name);
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Memory in RAM",
    registers: [registry],
    collect() {
      this.set(Deno.memoryUsage().rss);
    },
  });
  for (const [name, help, which] of OPEN_FILES) {
    new Gauge({
      ...{ name, help, registers: [registry] },
      async collect() {
        const files = await countOpenFiles();
        if (files === null) this.reset();
        else this.set(files[which]);
      },
    });
  }
}

type Sample = { readonly labels: Labels; readonly value: number; readonly metricName?: string };

/** What the registry asks of a metric. */
function metricOf(
  { name, help }: Definition,
  { type, read }: { type: "counter" | "gauge" | "histogram"; read: () => Promise<readonly Sample[]> },
): Metric {
  const get = async () => ({ name, help, type, values: await read(), aggregator: "sum" });
  return { name, get } as unknown as Metric;
}

function samplesOf(reading: Reading | null): Sample[] {
  if (reading === null) return [];
  if (typeof reading === "number") return [{ labels: {}, value: reading }];
  return reading.map(([labels, value]) => ({ labels, value }));
}

function samplesOfSpread(name: string, { labels, spread }: { labels: Labels; spread: Spread }): Sample[] {
  let below = 0;
  const ranges = spread.counts.map((count, index) => {
    below += count;
    const le = String(spread.bounds[index] ?? "+Inf");
    return { labels: { le, ...labels }, value: below, metricName: `${name}_bucket` };
  });
  return [
    ...ranges,
    { labels, value: spread.sum, metricName: `${name}_sum` },
    { labels, value: spread.count, metricName: `${name}_count` },
  ];
}

/** Adds a histogram of what is now: its count and sum are gauges, with names of their own. */
function addGaugeSpread(
  registry: Registry,
  { name, help, read }: Definition & { readonly read: () => Promise<Spread> },
): void {
  const samples = async () => {
    const spread = await read().catch(() => null);
    return spread === null ? [] : samplesOfSpread(name, { labels: {}, spread });
  };
  const only = (suffix: string) => async () =>
    (await samples()).filter(({ metricName }) => metricName === `${name}_${suffix}`);
  registry.registerMetric(metricOf({ name, help }, { type: "histogram", read: only("bucket") }));
  for (const suffix of ["count", "sum"]) {
    const values = async () => (await only(suffix)()).map(({ labels, value }) => ({ labels, value }));
    registry.registerMetric(metricOf({ name: `${name}_g${suffix}`, help }, { type: "gauge", read: values }));
  }
}

/** Returns metrics of a process, its own (memory, CPU, event loop) included. All others get the labels in `shared`. */
export async function loadMetrics(shared: Labels = {}): Promise<Metrics> {
  const prometheus = (await import("prom-client")).default;
  const [process, registry]: readonly [Registry, Registry] = [new prometheus.Registry(), new prometheus.Registry()];
  prometheus.collectDefaultMetrics({ register: process });
  replaceUnreadable(process, prometheus.Gauge);
  registry.setDefaultLabels(shared);
  return {
    isEnabled: true,
    gauge(definition, read) {
      // What cannot be read now leaves the rest of the scrape alone.
      const tried = () => Promise.resolve().then(read).catch(() => null);
      const target = definition.isOfProcess ? process : registry;
      target.registerMetric(metricOf(definition, { type: "gauge", read: async () => samplesOf(await tried()) }));
    },
    counted(definition, read) {
      const samples = () => Promise.resolve(samplesOf(read()));
      registry.registerMetric(metricOf(definition, { type: "counter", read: samples }));
    },
    spread(definition, read) {
      const samples = () => {
        const found = read();
        const all = "bounds" in found ? [[{}, found] as const] : found;
        return all.flatMap(([labels, spread]) => samplesOfSpread(definition.name, { labels, spread }));
      };
      registry.registerMetric(metricOf(definition, { type: "histogram", read: () => Promise.resolve(samples()) }));
    },
    gaugeSpread: (definition, read) => addGaugeSpread(registry, { ...definition, read }),
    async render() {
      const parts = [await process.metrics(), await registry.metrics()];
      return { text: parts.join("\n"), contentType: registry.contentType };
    },
  };
}
