/**
 * Counters, durations and gauges for Prometheus. The package behind it is loaded only where metrics are wanted; without
 * them `NO_METRICS` takes the place of the real thing and costs a call that does nothing.
 */
import type { Registry } from "prom-client";
import { countOpenFiles } from "./system_files.ts";

/** Values of the labels of one measurement. */
export type Labels = Readonly<Record<string, string>>;

/** Something that is counted up. */
export interface Counter {
  inc(labels?: Labels, by?: number): void;
}

/** Something whose sizes are sorted into buckets. */
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

/** A measurement that is taken when somebody asks for it: one number, or one for each set of labels. */
export type Reading = number | readonly (readonly [Labels, number])[];

/** What is measured under one name. */
export interface Definition {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Where measurements go. */
export interface Metrics {
  readonly isEnabled: boolean;
  counter(definition: Definition): Counter;
  histogram(definition: Definition & { readonly buckets: readonly number[] }): Histogram;
  /** Adds a gauge that is read at each scrape; what `read` throws leaves the gauge out of that scrape. */
  gauge(definition: Definition, read: () => Reading | Promise<Reading>): void;
  /** Returns everything in the text format of Prometheus, with its media type. */
  render(): Promise<{ readonly text: string; readonly contentType: string }>;
}

/** Measures nothing. */
export const NO_METRICS: Metrics = {
  isEnabled: false,
  counter: () => ({ inc: () => {} }),
  histogram: () => ({ observe: () => {} }),
  gauge: () => {},
  render: () => Promise.resolve({ text: "", contentType: "text/plain; version=0.0.4; charset=utf-8" }),
};

const UNREADABLE = [
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

/** The package reads these from /proc, which is closed to a program with named permissions. */
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

/** Returns metrics of a process, its own (memory, CPU, event loop) included. */
export async function loadMetrics(): Promise<Metrics> {
  const prometheus = await import("prom-client");
  const { Counter, Gauge, Histogram } = prometheus.default;
  const registry: Registry = new prometheus.default.Registry();
  prometheus.default.collectDefaultMetrics({ register: registry });
  replaceUnreadable(registry, Gauge);
  const own = ({ name, help, labels = [] }: Definition) => ({
    ...{ name, help },
    labelNames: [...labels],
    registers: [registry],
  });
  return {
    isEnabled: true,
    counter(definition) {
      const counter = new Counter(own(definition));
      return { inc: (labels = {}, by = 1) => counter.inc(labels, by) };
    },
    histogram({ buckets, ...definition }) {
      const histogram = new Histogram({ ...own(definition), buckets: [...buckets] });
      return { observe: (value, labels = {}) => histogram.observe(labels, value) };
    },
    gauge(definition, read) {
      new Gauge({
        ...own(definition),
        async collect() {
          const reading = await Promise.resolve().then(read).catch(() => null);
          this.reset();
          if (reading === null) return;
          if (typeof reading === "number") this.set(reading);
          else for (const [labels, value] of reading) this.set(labels, value);
        },
      });
    },
    async render() {
      return { text: await registry.metrics(), contentType: registry.contentType };
    },
  };
}
