import { deepEqual } from "node:assert/strict";
import { parseJunit } from "./junit.ts";

Deno.test("parseJunit() counts cases by what they hold and decodes their names", () => {
  const xml = `<?xml version="1.0"?><testsuites name="deno test" tests="4" failures="1" errors="1">
    <testsuite name="a_test.ts">
      <testcase name="a &gt; &quot;b&quot; &#955;" line="1">
      </testcase>
      <testcase name="closed" line="2"/>
      <testcase name="bad &lt;failure" line="3">
        <failure message="no">&lt;skipped/&gt;</failure>
      </testcase>
      <testcase name="not run"><skipped/></testcase>
    </testsuite></testsuites>`;
  deepEqual(parseJunit(xml), { passed: 2, failed: 1, ignored: 1, failures: ["bad <failure"] });
});

Deno.test("parseJunit() of an unfinished report has no case that did not end", () => {
  deepEqual(parseJunit(`<testsuites><testcase name="a" line="1">`), { passed: 0, failed: 0, ignored: 0, failures: [] });
});
