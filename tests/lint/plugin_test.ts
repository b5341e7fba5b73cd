import { deepEqual, equal, match } from "node:assert/strict";
import { importProblem, layerOf, projectPath, resolveImport } from "./layers.ts";
import plugin, { DATA_TABLE_MARK, MAX_FILE_LINES, MAX_FUNCTION_LINES } from "./plugin.ts";

/** Returns the rules that report something in `source`, without the plugin's name. */
function rulesHit(filename: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, filename, source).map((found) => found.id.replace("synapse-ts/", ""));
}

Deno.test("projectPath() finds the part below the project root", () => {
  equal(projectPath("/a/src/b/src/lib/clock.ts"), "src/lib/clock.ts");
  equal(projectPath("/a/main.ts"), "main.ts");
  equal(projectPath("/a/tests/run.ts"), null);
});

Deno.test("layerOf() is the folder or file below src", () => {
  deepEqual(["src/lib/a.ts", "src/server.ts", "main.ts", "tests/a.ts"].map(layerOf), [
    "lib",
    "server.ts",
    "main.ts",
    null,
  ]);
});

Deno.test("resolveImport() resolves relative specifiers only", () => {
  equal(resolveImport("src/http/client/a.ts", "../../rooms/b.ts"), "src/rooms/b.ts");
  equal(resolveImport("src/lib/a.ts", "./b.ts"), "src/lib/b.ts");
  equal(resolveImport("src/lib/a.ts", "hono"), null);
  equal(resolveImport("main.ts", "../x.ts"), null);
});

Deno.test("importProblem() refuses every higher layer and allows every lower one", () => {
  const layers = ["lib", "protocol", "config", "storage", "streams", "federation", "rooms", "services", "sync"];
  for (const [low, lower] of layers.entries()) {
    for (const higher of layers.slice(low + 1)) {
      match(importProblem(`src/${lower}/a.ts`, `../${higher}/b.ts`) ?? "", /must not import/);
      equal(importProblem(`src/${higher}/a.ts`, `../${lower}/b.ts`), null);
    }
  }
  equal(importProblem("src/sync/a.ts", "../media/b.ts"), null);
  equal(importProblem("src/server.ts", "./http/app.ts"), null);
  match(importProblem("src/http/a.ts", "../server.ts") ?? "", /below/);
  match(importProblem("src/lib/a.ts", "../../tests/harness/a.ts") ?? "", /product/);
  match(importProblem("src/new/a.ts", "../lib/a.ts") ?? "", /not a layer/);
  match(importProblem("src/rooms/a.ts", "../../migrations/0001_a.sql") ?? "", /only storage/);
  equal(importProblem("src/storage/a.ts", "../../migrations/0001_a.sql"), null);
});

Deno.test("import-order covers imports, re-exports, types and dynamic imports", () => {
  const file = "src/protocol/a.ts";
  deepEqual(rulesHit(file, `import { a } from "../storage/a.ts";\na();`), ["import-order"]);
  deepEqual(rulesHit(file, `import type { A } from "../storage/a.ts";\nexport type B = A;`), ["import-order"]);
  deepEqual(rulesHit(file, `export { a } from "../storage/a.ts";`), ["import-order"]);
  deepEqual(rulesHit(file, `await import("../storage/a.ts");`), ["import-order"]);
  deepEqual(rulesHit(file, `import { a } from "../lib/a.ts";\na();`), []);
});

Deno.test("no-ambient reports the clock, randomness, environment, network and console", () => {
  const sources = [
    "Date.now();",
    "new Date();",
    "Math.random();",
    "crypto.randomUUID();",
    'Deno.env.get("A");',
    'fetch("http://a");',
    "console.log(1);",
  ];
  for (const source of sources) {
    deepEqual(rulesHit("src/rooms/a.ts", source), ["no-ambient"], source);
    for (const file of ["src/lib/a.ts", "main.ts", "tests/client/a_test.ts", "src/rooms/a_test.ts", "bench/a.ts"]) {
      deepEqual(rulesHit(file, source), [], `${file}: ${source}`);
    }
  }
  deepEqual(rulesHit("src/rooms/a.ts", "new Date(5); clock.now(); client.fetch();"), []);
});

Deno.test("file-size refuses a long file unless it declares itself a data table", () => {
  const short = "a();\n".repeat(MAX_FILE_LINES - 1);
  deepEqual(rulesHit("src/lib/a.ts", short), []);
  deepEqual(rulesHit("src/lib/a.ts", `${short}a();\n`), ["file-size"]);
  deepEqual(rulesHit("src/lib/a.ts", `/** Rows. ${DATA_TABLE_MARK} */\n${short}`), []);
});

Deno.test("no-default-export reports both spellings", () => {
  deepEqual(rulesHit("src/lib/a.ts", "export default 1;"), ["no-default-export"]);
  deepEqual(rulesHit("src/lib/a.ts", "const a = 1;\nexport { a as default };"), ["no-default-export"]);
  deepEqual(rulesHit("src/lib/a.ts", "export const a = 1;"), []);
});

Deno.test("no-barrel and no-enum report", () => {
  deepEqual(rulesHit("src/lib/a.ts", `export * from "./b.ts";`), ["no-barrel"]);
  deepEqual(rulesHit("src/lib/a.ts", "export enum A { B }"), ["no-enum"]);
});

Deno.test("max-positional counts parameters before the options object", () => {
  deepEqual(rulesHit("src/lib/a.ts", "function f(a, b) {}"), []);
  deepEqual(rulesHit("src/lib/a.ts", "function f(a, b, { c }) {}"), []);
  deepEqual(rulesHit("src/lib/a.ts", "function f(a, b, options = {}) {}"), []);
  deepEqual(rulesHit("src/lib/a.ts", "function f(a, b, c) {}"), ["max-positional"]);
  deepEqual(rulesHit("src/lib/a.ts", "export async function f(a, b, c, { d }) {}"), ["max-positional"]);
});

Deno.test("function-size counts the lines of functions and methods of the product", () => {
  const body = "  a();\n".repeat(MAX_FUNCTION_LINES - 2);
  deepEqual(rulesHit("src/lib/a.ts", `function f() {\n${body}}`), []);
  deepEqual(rulesHit("src/lib/a.ts", `function f() {\n${body}\n}`), ["function-size"]);
  deepEqual(rulesHit("src/lib/a.ts", `class A {\n  f() {\n${body}\n}\n}`), ["function-size"]);
  deepEqual(rulesHit("tests/a_test.ts", `function f() {\n${body}\n}`), []);
});
