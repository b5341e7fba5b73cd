/**
 * What is counted as it happens and read by whoever collects metrics: plain numbers, so that counting costs next to
 * nothing, whether anybody collects or not.
 */

/** The value that stands for all that came after `MAX_VALUES` others. */
const OTHER = "other";
/** So that nobody outside can make up as many values as they like. */
const MAX_VALUES = 200;

/** Counts by the values of labels. */
export class Tally<L extends string> {
  readonly labels: readonly L[];
  readonly #counts = new Map<string, { readonly values: readonly string[]; count: number }>();

  constructor(...labels: readonly L[]) {
    this.labels = labels;
  }

  /** Adds to the count of these values, one for each label. */
  add(values: readonly string[], by = 1): void {
    const key = values.join("\0");
    const known = this.#counts.get(key);
    if (known !== undefined) known.count += by;
    else if (this.#counts.size < MAX_VALUES) this.#counts.set(key, { values, count: by });
    else this.#addOther(values, by);
  }

  /** Returns the counts with their labels. */
  read(): [Readonly<Record<string, string>>, number][] {
    return [...this.#counts.values()].map(({ values, count }) => {
      return [Object.fromEntries(this.labels.map((label, index) => [label, values[index] ?? ""])), count];
    });
  }

  #addOther(values: readonly string[], by: number): void {
    const others = values.map(() => OTHER);
    const key = others.join("\0");
    const known = this.#counts.get(key);
    if (known !== undefined) known.count += by;
    else this.#counts.set(key, { values: others, count: by });
  }
}

/** Synapse's ranges for numbers of things. */
export const NUMBER_RANGES = [1, 2, 3, 5, 7, 10, 15, 20, 50, 100, 200, 500] as const;
/** Ranges for the seconds that work in this process takes. */
export const WORK_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
/** Ranges for the seconds that others wait for this process. */
export const WAIT_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/** How sizes or times are spread over ranges. */
export class Spread {
  readonly bounds: readonly number[];
  /** One for each bound, and the last for what is above all. */
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array(bounds.length + 1).fill(0);
  }

  /** Adds a value, so many times. */
  observe(value: number, times = 1): void {
    let index = 0;
    while (index < this.bounds.length && value > (this.bounds[index] ?? Infinity)) index++;
    this.counts[index] = (this.counts[index] ?? 0) + times;
    this.sum += value * times;
    this.count += times;
  }
}

/** Adds up counts of the same labels from several places. */
export function sumTallies<L extends string>(tallies: readonly Tally<L>[]): ReturnType<Tally<L>["read"]> {
  const [first] = tallies;
  if (first === undefined) return [];
  const sum = new Tally<L>(...first.labels);
  for (const tally of tallies) {
    for (const [labels, count] of tally.read()) sum.add(first.labels.map((label) => labels[label] ?? ""), count);
  }
  return sum.read();
}

/** Requests to others than homeservers, and their answers. */
export class RequestTallies {
  readonly requests = new Tally("method");
  readonly responses = new Tally("method", "code");
}
