import assert from "node:assert/strict";
import { formatDuration, parseDuration } from "./duration.ts";
import { formatSize, parseSize } from "./size.ts";

Deno.test("parseDuration() reads what Synapse reads", () => {
  const cases: readonly (readonly [unknown, number | null])[] = [
    [500, 500],
    ["500", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
    ["2w", 1_209_600_000],
    ["1y", 31_536_000_000],
    ["1.5h", null],
    ["-1s", null],
    [-1, null],
    ["", null],
    ["9999999999999999y", null],
    [null, null],
    [true, null],
  ];
  for (const [value, ms] of cases) assert.equal(parseDuration(value), ms, String(value));
});

Deno.test("formatDuration() is the shortest exact spelling", () => {
  const spelled = [0, 250, 90_000, 7_200_000, 604_800_000].map(formatDuration);
  assert.deepEqual(spelled, ["0s", "250ms", "90s", "2h", "7d"]);
});

Deno.test("parseSize() reads what Synapse reads", () => {
  const cases: readonly (readonly [unknown, number | null])[] = [
    [10, 10],
    ["10", 10],
    ["87K", 89_088],
    ["87KiB", 89_088],
    ["50M", 52_428_800],
    ["1G", 1_073_741_824],
    ["1X", null],
    ["M", null],
    [1.5, null],
  ];
  for (const [value, bytes] of cases) assert.equal(parseSize(value), bytes, String(value));
  assert.deepEqual([52_428_800, 1_000, 0].map(formatSize), ["50M", "1000", "0"]);
});
