/**
 * The figures of a comparison: where each is found in the results of load.mjs, and what this server is to reach.
 */

/** Results of load.mjs by scenario and figure, or an error instead. */
export type LoadResults = Readonly<Record<string, Readonly<Record<string, number | string>> | undefined>>;

/** One measured server. */
export interface Measurement {
  readonly name: string;
  readonly startMs: number;
  readonly restMb: number;
  /** Resident memory after the scenarios with many rooms; null when they were left out. */
  readonly manyRoomsMb: number | null;
  readonly load: LoadResults;
}

interface Figure {
  readonly title: string;
  readonly value: (measured: Measurement) => number | null;
  readonly unit: string;
  /** Whether a greater value is better. */
  readonly isRate: boolean;
  /** What this server is to reach on the 2-core reference machine, with rate limits off. */
  readonly target: number | null;
}

function fromLoad(scenario: string, figure: string): Figure["value"] {
  return ({ load }) => {
    const value = load[scenario]?.[figure];
    return typeof value === "number" ? value : null;
  };
}

const rate = (title: string, { value, target }: Pick<Figure, "value" | "target">): Figure => ({
  title,
  value,
  unit: "/s",
  isRate: true,
  target,
});
const time = (title: string, { value, target }: Pick<Figure, "value" | "target">): Figure => ({
  title,
  value,
  unit: "ms",
  isRate: false,
  target,
});

const FIGURES: readonly Figure[] = [
  rate("sends, one after another", { value: fromLoad("send", "per_s"), target: 1200 }),
  time("  p99 of a send", { value: fromLoad("send", "p99_ms"), target: null }),
  rate("sends, ten senders in ten rooms", { value: fromLoad("sendc", "per_s"), target: 4000 }),
  rate("sends, ten senders in one room", { value: fromLoad("send1c", "per_s"), target: null }),
  time("last of 50 listeners", { value: fromLoad("fanout", "last_of_50_p50_ms"), target: 20 }),
  time("room creation", { value: fromLoad("rooms", "create_ms"), target: 5 }),
  time("join", { value: fromLoad("rooms", "join_ms"), target: 1.5 }),
  time("page of 100 messages", { value: fromLoad("messages", "page100_p50_ms"), target: 3 }),
  rate("to-device sends", { value: fromLoad("todevice", "sends_per_s"), target: 6000 }),
  time("initial sync", { value: fromLoad("initsync", "full_ms"), target: 60 }),
  time("initial sync, lazy members", { value: fromLoad("initsync", "lazy_ms"), target: 30 }),
  time("incremental sync, idle", { value: fromLoad("incsync", "idle_p50_ms"), target: 1 }),
  time("incremental sync, one message", { value: fromLoad("incsync", "one_p50_ms"), target: 3 }),
  time("sliding sync, first window", { value: fromLoad("sliding", "first_window_p50_ms"), target: 10 }),
  { title: "memory at rest", value: ({ restMb }) => restMb, unit: "MB", isRate: false, target: 110 },
  { title: "memory after many rooms", value: ({ manyRoomsMb }) => manyRoomsMb, unit: "MB", isRate: false, target: 160 },
  time("start to first answer", { value: ({ startMs }) => startMs, target: 1000 }),
];

/** Writes a number with as many digits as are worth reading. */
export function show(value: number | null): string {
  if (value === null) return "-";
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

/** Renders the table: ours, the other server's, how many times better ours is, and whether the target is met. */
export function renderTable(ours: Measurement, other: Measurement | null): string {
  const head = ["figure", "unit", ours.name, ...(other === null ? [] : [other.name, "times better"]), "target", ""];
  const rows = FIGURES.flatMap((figure) => {
    const own = figure.value(ours);
    const theirs = other === null ? null : figure.value(other);
    if (own === null && theirs === null) return [];
    const better = own === null || theirs === null ? null : figure.isRate ? own / theirs : theirs / own;
    const bound = figure.target === null ? "" : `${figure.isRate ? ">=" : "<="} ${figure.target}`;
    const comparison = other === null ? [] : [show(theirs), better === null ? "-" : `${better.toFixed(1)} x`];
    return [[figure.title, figure.unit, show(own), ...comparison, bound, verdict(figure, own)]];
  });
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)).join(
      "  ",
    );
  return [line(head), ...rows.map(line)].map((text) => text.trimEnd()).join("\n");
}

function verdict({ target, isRate }: Figure, value: number | null): string {
  if (target === null) return "";
  if (value === null) return "not measured";
  return (isRate ? value >= target : value <= target) ? "met" : "MISSED";
}
