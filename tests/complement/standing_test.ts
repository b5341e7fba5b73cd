import { deepEqual, equal, throws } from "node:assert/strict";
import { countTopLevel, formatStanding, mergeStanding, parseGoTest, parseStanding } from "./standing.ts";

const FILE = "package\ttest\toutcome\tdate\ntests\tTestB\tpass\t2026-01-01\ntests/csapi\tTestA\tpass\t2026-01-01\n";

function goTest(...events: object[]): string[] {
  return [
    "not json",
    ...events.map((event) => JSON.stringify({ Package: "github.com/matrix-org/complement/tests", ...event })),
  ];
}

Deno.test("the standing round-trips and is sorted", () => {
  equal(formatStanding(parseStanding(FILE)), FILE);
  const lines = FILE.trimEnd().split("\n");
  equal(formatStanding(parseStanding([lines[2], lines[1]].join("\n"))), FILE);
  throws(() => parseStanding("tests\tTestA\tperhaps\t2026-01-01"), /perhaps/);
});

Deno.test("parseGoTest() takes tests and subtests, and an unfinished one as failed", () => {
  const results = parseGoTest(
    goTest(
      { Action: "start" },
      { Action: "run", Test: "TestA" },
      { Action: "run", Test: "TestA/sub" },
      { Action: "output", Test: "TestA/sub", Output: "--- PASS" },
      { Action: "pass", Test: "TestA/sub" },
      { Action: "run", Test: "TestHangs" },
      { Action: "skip", Test: "TestA" },
      { Action: "fail" },
    ),
    "2026-02-02",
  );
  deepEqual([...results.values()].map(({ test, outcome }) => `${test} ${outcome}`), [
    "TestA skip",
    "TestA/sub pass",
    "TestHangs fail",
  ]);
  equal(results.get("tests\tTestA")?.date, "2026-02-02");
});

Deno.test("mergeStanding() names regressions and keeps what did not run", () => {
  const results = parseGoTest(
    goTest({ Action: "fail", Test: "TestB" }, { Action: "pass", Test: "TestC" }),
    "2026-02-02",
  );
  const { standing, regressions, gains } = mergeStanding(parseStanding(FILE), results);
  deepEqual(regressions.map(({ test }) => test), ["TestB"]);
  deepEqual(gains.map(({ test }) => test), ["TestC"]);
  equal(standing.get("tests/csapi\tTestA")?.outcome, "pass");
  deepEqual(countTopLevel(standing), ["tests: 1 of 2 pass, 0 skipped", "tests/csapi: 1 of 1 pass, 0 skipped"]);
});

Deno.test("mergeStanding() names subtests that are gone though their test ran", () => {
  const before = parseStanding("tests/csapi\tTestA\tpass\t2026-01-01\ntests/csapi\tTestA/sub\tpass\t2026-01-01\n");
  const line = JSON.stringify({ Package: "tests/csapi", Action: "pass", Test: "TestA" });
  const { standing, regressions, gone } = mergeStanding(before, parseGoTest([line], "2026-02-02"));
  deepEqual([...standing.keys()], ["tests/csapi\tTestA"]);
  deepEqual(gone.map(({ test }) => test), ["TestA/sub"]);
  deepEqual(regressions.map(({ test }) => test), ["TestA/sub"]);
});
