/**
 * The standing of every Complement test, as `tests/complement.tsv` keeps it: package, test, outcome and the day it was
 * last run. A test that did not run this time keeps its line, so that a partial run loses nothing.
 */

/** How a test ended. */
export type Outcome = "pass" | "fail" | "skip";

/** The last result of one test or subtest. */
export interface Result {
  readonly package: string;
  readonly test: string;
  readonly outcome: Outcome;
  /** `YYYY-MM-DD` */
  readonly date: string;
}

/** Results by package and test. */
export type Standing = Map<string, Result>;

const HEADER = "package\ttest\toutcome\tdate";
const OUTCOMES: readonly string[] = ["pass", "fail", "skip"] satisfies Outcome[];

function isOutcome(text: unknown): text is Outcome {
  return typeof text === "string" && OUTCOMES.includes(text);
}

function keyOf({ package: name, test }: { package: string; test: string }): string {
  return `${name}\t${test}`;
}

/** Reads the file's text. Throws on a line that is none of its own. */
export function parseStanding(text: string): Standing {
  const standing: Standing = new Map();
  for (const line of text.split("\n").filter((line) => line !== "" && line !== HEADER)) {
    const [name, test, outcome, date] = line.split("\t");
    if (name === undefined || test === undefined || date === undefined || !isOutcome(outcome)) {
      throw new Error(`not a line of the standing: ${line}`);
    }
    standing.set(`${name}\t${test}`, { package: name, test, outcome, date });
  }
  return standing;
}

/** Renders the file's text, sorted by package and test. */
export function formatStanding(standing: Standing): string {
  const lines = [...standing.values()]
    .map((result) => [result.package, result.test, result.outcome, result.date].join("\t"))
    .sort((a, b) => (a < b ? -1 : 1));
  return [HEADER, ...lines, ""].join("\n");
}

/**
 * Reads the output of `go test -json`. A test that began and has no outcome, because the run was cut off, failed.
 * Tab and newline never occur in names: Go replaces them.
 */
export function parseGoTest(lines: Iterable<string>, date: string): Standing {
  const results: Standing = new Map();
  for (const line of lines) {
    if (!line.startsWith("{")) continue;
    const event = JSON.parse(line) as { Action?: string; Package?: string; Test?: string };
    if (event.Test === undefined || event.Package === undefined) continue;
    const name = event.Package.replace(/^github\.com\/matrix-org\/complement\//, "");
    const key = keyOf({ package: name, test: event.Test });
    if (event.Action === "run") results.set(key, { package: name, test: event.Test, outcome: "fail", date });
    else if (isOutcome(event.Action)) {
      results.set(key, { package: name, test: event.Test, outcome: event.Action, date });
    }
  }
  return results;
}

/** What a run changed. */
export interface Change {
  readonly standing: Standing;
  /** Passed at its last run and does not now. */
  readonly regressions: readonly Result[];
  /** Subtests that are gone although the test they belong to ran; those that passed are regressions as well. */
  readonly gone: readonly Result[];
  /** Passes now and did not, or was not known. */
  readonly gains: readonly Result[];
}

/** Lays the results of a run over the standing. */
export function mergeStanding(before: Standing, results: Standing): Change {
  const standing = new Map(before);
  const regressions: Result[] = [];
  const gains: Result[] = [];
  for (const [key, result] of results) {
    const previous = before.get(key)?.outcome;
    if (previous === "pass" && result.outcome !== "pass") regressions.push(result);
    if (previous !== "pass" && result.outcome === "pass") gains.push(result);
    standing.set(key, result);
  }
  const gone = [...before].filter(([key]) => !results.has(key) && hasRun(results, key)).map(([key, result]) => {
    standing.delete(key);
    return result;
  });
  regressions.push(...gone.filter(({ outcome }) => outcome === "pass"));
  return { standing, regressions, gone, gains };
}

/** Tells whether the top-level test of a subtest's key is among the results. */
function hasRun(results: Standing, key: string): boolean {
  const [name = "", test = ""] = key.split("\t");
  const top = test.split("/")[0] ?? "";
  return results.has(keyOf({ package: name, test: top }));
}

/** Counts the top-level tests by package: one line each, `tests/csapi: 75 of 106 pass, 1 skipped`. */
export function countTopLevel(standing: Standing): string[] {
  const byPackage = Map.groupBy([...standing.values()].filter(({ test }) => !test.includes("/")), (r) => r.package);
  return [...byPackage].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, results]) => {
    const count = (outcome: Outcome) => results.filter((result) => result.outcome === outcome).length;
    return `${name}: ${count("pass")} of ${results.length} pass, ${count("skip")} skipped`;
  });
}
