/**
 * Named pieces of work: how often they are done, how long they take, and what of the database. `Blocks` are parts of
 * answering somebody, `BackgroundWork` is what the server does by itself; both are Synapse's notions.
 */
import type { Clock } from "../lib/clock.ts";
import { countApart } from "./database_usage.ts";

/** Does a piece of work under a name, which must be one of few. */
export type Measure = <T>(name: string, work: () => Promise<T>) => Promise<T>;

/** Does the work and measures nothing. */
export function unmeasured<T>(_name: string, work: () => Promise<T>): Promise<T> {
  return work();
}

/** What was done under one name. */
export interface WorkFigures {
  readonly name: string;
  started: number;
  inFlight: number;
  ms: number;
  dbCount: number;
  dbMs: number;
}

/** Measures work by its name. */
export class WorkMeter {
  readonly #clock: Clock;
  readonly #figures = new Map<string, WorkFigures>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What was done so far. */
  read(): readonly WorkFigures[] {
    return [...this.#figures.values()];
  }

  /** Does the work and measures it. What it takes of the database counts for whoever asked for it too. */
  readonly measure: Measure = async (name, work) => {
    const figures = this.#of(name);
    const started = this.#clock.monotonic();
    figures.started++;
    figures.inFlight++;
    const usage = { count: 0, ms: 0 };
    try {
      return await countApart(usage, work);
    } finally {
      figures.inFlight--;
      figures.ms += this.#clock.monotonic() - started;
      figures.dbCount += usage.count;
      figures.dbMs += usage.ms;
    }
  };

  #of(name: string): WorkFigures {
    let figures = this.#figures.get(name);
    if (figures === undefined) {
      figures = { name, started: 0, inFlight: 0, ms: 0, dbCount: 0, dbMs: 0 };
      this.#figures.set(name, figures);
    }
    return figures;
  }
}
