import assert from "node:assert/strict";
import fc from "fast-check";
import laxNumbers from "../../tests/fixtures/protocol/lax_numbers.json" with { type: "json" };
import vectors from "../../tests/fixtures/protocol/canonical_json.json" with { type: "json" };
import {
  canonicalJson,
  CanonicalJsonError,
  canonicalJsonWithout,
  compareCodePoints,
  exceedsDepth,
  isExactNumber,
  JsonSyntaxError,
  MAX_JSON_DEPTH,
  parseJsonStrict,
  toPlainJson,
  utf8Length,
} from "./canonical_json.ts";
import type { JsonObject, JsonValue } from "./json.ts";

for (const { source, input, canonical } of vectors) {
  Deno.test(`canonicalJson() of ${input.slice(0, 40)} (${source})`, () => {
    assert.equal(canonicalJson(JSON.parse(input)), canonical);
    assert.equal(canonicalJson(JSON.parse(input), { lax: true }), canonical);
  });
}

Deno.test("lax canonicalJson() writes exact numbers as Python servers did, strict refuses them", () => {
  for (const { input, canonical } of laxNumbers) {
    const parse = () => parseJsonStrict(`[${input}]`, { numbers: "exact" });
    if (input === "00") {
      assert.throws(parse, JsonSyntaxError);
    } else if (canonical === null) {
      assert.throws(() => canonicalJson(parse(), { lax: true }), CanonicalJsonError);
    } else {
      assert.equal(canonicalJson(parse(), { lax: true }), `[${canonical}]`);
      assert.equal(JSON.stringify(parse()), `[${input === "-0" ? "0" : input}]`);
      if (input !== "-0") assert.throws(() => canonicalJson(parse()), CanonicalJsonError, input);
    }
  }
});

Deno.test("strict canonicalJson() refuses floats, big integers and half surrogates", () => {
  for (const value of [1.5, 2 ** 53, -(2 ** 53), NaN, Infinity, "\ud800", { "\udfff": 1 }, ['\\\\"\ud800']]) {
    assert.throws(() => canonicalJson({ value } as JsonObject), CanonicalJsonError);
  }
  assert.equal(canonicalJson("\\ud800"), '"\\\\ud800"'); // a backslash, not an escape
});

Deno.test("canonicalJson() bounds depth", () => {
  const nest = (depth: number): JsonValue => depth === 0 ? 1 : [nest(depth - 1)];
  assert.equal(canonicalJson(nest(MAX_JSON_DEPTH)).length, 2 * MAX_JSON_DEPTH + 1);
  assert.throws(() => canonicalJson(nest(MAX_JSON_DEPTH + 1)), CanonicalJsonError);
  assert.equal(
    canonicalJson(Array.from({ length: 3 * MAX_JSON_DEPTH }, () => [{}])).length,
    3 * MAX_JSON_DEPTH * 5 + 1,
  );
});

Deno.test("canonicalJsonWithout() omits top-level keys only", () => {
  const object = { c: 1, b: { c: 2 }, a: 3 };
  assert.equal(canonicalJsonWithout(object, { omit: new Set(["c"]) }), '{"a":3,"b":{"c":2}}');
});

Deno.test("canonical JSON is stable, means the same, and has its keys in code-point order", () => {
  const json = fc.jsonValue({ noUnicodeString: false }).map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);
  fc.assert(fc.property(json, (value) => {
    const hasOddNumber = /(?:^|[\s:,[])-?(?:\d{16}|\d+[.eE])/.test(JSON.stringify(value));
    const text = canonicalJson(value, { lax: true });
    if (!hasOddNumber) assert.equal(canonicalJson(JSON.parse(text)), text);
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
  }));
  fc.assert(fc.property(fc.uniqueArray(fc.string({ unit: "grapheme" })), (keys) => {
    const text = canonicalJson(Object.fromEntries(keys.map((key) => [key, 1])));
    const byCodePoint = [...keys].sort((a, b) => {
      const [x, y] = [[...a], [...b]].map((s) => s.map((c) => c.codePointAt(0) ?? 0)) as [number[], number[]];
      for (let i = 0; i < Math.min(x.length, y.length); i++) {
        if (x[i] !== y[i]) return (x[i] ?? 0) - (y[i] ?? 0);
      }
      return x.length - y.length;
    });
    assert.equal(text, `{${byCodePoint.map((key) => `${JSON.stringify(key)}:1`).join(",")}}`);
  }));
});

Deno.test("compareCodePoints() puts astral characters last", () => {
  assert.ok(compareCodePoints("\uffff", "\u{10000}") < 0);
  assert.ok(compareCodePoints("a", "ab") < 0);
  assert.equal(compareCodePoints("é", "é"), 0);
});

Deno.test("parseJsonStrict() reads bytes, and refuses what is not JSON in UTF-8", () => {
  assert.deepEqual(parseJsonStrict(new TextEncoder().encode('{"a":"é"}')), { a: "é" });
  const bad = [new Uint8Array([0x22, 0xff, 0x22]), new TextEncoder().encode("\ufeff{}"), "", "{", "[1,]", "NaN", "'a'"];
  for (const source of bad) assert.throws(() => parseJsonStrict(source), JsonSyntaxError);
});

Deno.test("parseJsonStrict() bounds depth, not counting brackets in strings", () => {
  const nest = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  parseJsonStrict(nest(MAX_JSON_DEPTH));
  assert.throws(() => parseJsonStrict(nest(MAX_JSON_DEPTH + 1)), JsonSyntaxError);
  assert.throws(() => parseJsonStrict("[".repeat(1_000_000)), JsonSyntaxError);
  parseJsonStrict(JSON.stringify(`${"[".repeat(1000)}"\\`));
  parseJsonStrict(`[${Array(1000).fill("[]").join(",")}]`);
  assert.equal(exceedsDepth('["\\"[[[[", {}]', 2), false);
  assert.equal(exceedsDepth('["\\"[[[[", [{}]]', 2), true);
});

Deno.test("toPlainJson() turns exact numbers into doubles and copies only what it must", () => {
  const value = parseJsonStrict('{"__proto__":[1.0,{"a":12345678901234567890}],"b":{}}', {
    numbers: "exact",
  }) as JsonObject;
  const plain = toPlainJson(value);
  assert.equal(JSON.stringify(plain), '{"__proto__":[1,{"a":12345678901234567000}],"b":{}}');
  assert.equal(plain["b"], value["b"]);
  assert.ok(isExactNumber((Object.values(value)[0] as JsonValue[])[0]));
  const nothingOdd = parseJsonStrict('{"a":[1,{"b":"3.5"}]}', { numbers: "exact" });
  assert.equal(toPlainJson(nothingOdd), nothingOdd);
});

Deno.test("utf8Length() counts bytes", () => {
  assert.equal(utf8Length("aé本\u{1f600}"), 1 + 2 + 3 + 4);
});
