/** What the benches of federation share: a database, time and memory, and a line for each figure. */
import process from "node:process";
import type { TestDatabase } from "../../tests/harness/databases.ts";

/** One measured figure, as `run.ts` reads it from a bench's output. */
export interface Figure {
  readonly title: string;
  readonly unit: string;
  readonly value: number;
  /** Null where nothing is to be reached: a figure that explains another. */
  readonly target: number | null;
  /** Whether a greater value is better. */
  readonly isRate: boolean;
}

/** What a line with a figure begins with. */
export const FIGURE_MARK = "FIGURE ";

/** Tells a figure. A target of a rate is the least, one of anything else the most. */
export function tell(
  title: string,
  { target = null, ...figure }: { unit: string; value: number; target?: number | null; isRate?: boolean },
): void {
  const told: Figure = { isRate: false, ...figure, title, target };
  console.log(FIGURE_MARK + JSON.stringify(told));
}

/** An SQLite database in a folder of its own, with `synchronous=FULL`. */
export async function openBenchDatabase(): Promise<TestDatabase & { readonly folder: string }> {
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-bench-" });
  return {
    folder,
    dialect: "sqlite",
    options: { sqlite: { path: `${folder}/homeserver.db` } },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** How long something took, and how long this process was on a processor for it. */
export interface Took {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** Runs the work and measures it. */
export async function measure(work: () => Promise<void>): Promise<Took> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs: performance.now() - start, cpuMs: (user + system) / 1000 };
}

/** Returns the middle one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
