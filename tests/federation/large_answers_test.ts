/** Large answers are parsed in parts: what comes out, and what is refused, is as if they were parsed at once. */
import assert from "node:assert/strict";
import { readJson } from "../../src/federation/large_answers.ts";
import { JsonSyntaxError, parseJsonStrict, type ParseOptions } from "../../src/protocol/canonical_json.ts";
import type { JsonValue } from "../../src/protocol/json.ts";
import { setImmediate } from "node:timers";

const bytes = (text: string) => new TextEncoder().encode(text);

async function* inChunks(all: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < all.length; at += size) yield all.subarray(at, at + size);
}

/** Reads bytes that arrive in chunks of several sizes, and makes sure that what comes out does not depend on them. */
async function readChunked(all: Uint8Array, options: ParseOptions = {}): Promise<JsonValue> {
  const results = await Promise.allSettled(
    [all.length, 65_537, 1_000].map((size) => readJson(inChunks(all, size), options)),
  );
  const [whole] = results;
  for (const result of results) assert.deepEqual(result, whole);
  return await readJson(inChunks(all, 16_384), options);
}
const FILLER = "x".repeat(2_000);
const items = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ n, text: `${FILLER}],"[{\\`, list: [[n]] }));

function manyItems(more: Record<string, unknown> = {}): string {
  return JSON.stringify({ pdus: items(500), name: "a [b], {c}", object: { list: [1, [2]] }, empty: [], ...more });
}

Deno.test("a large answer comes out as when it is parsed at once", async () => {
  for (const text of [manyItems(), ` ${manyItems({ second: items(300), ["__proto__x"]: [1] })}\n`]) {
    assert.ok(text.length > 1_000_000);
    assert.deepEqual(await readChunked(bytes(text)), JSON.parse(text));
  }
});

Deno.test("a large answer may be cut anywhere", async () => {
  // Each of these stands at the border of two blocks once: quotes, escapes, characters of several bytes.
  const odd = `\\\\"é€😀\\u00e9,[{]}`;
  const text = JSON.stringify({ pdus: items(300), odd: Array.from({ length: 200 }, (_, n) => [n, odd.repeat(n % 7)]) });
  for (const size of [997, 4_099, 30_011]) {
    assert.deepEqual(await readJson(inChunks(bytes(text), size)), JSON.parse(text), `chunks of ${size}`);
  }
  const border = 512 * 1024 + 64 * 1024;
  for (let shift = 0; shift < 24; shift++) {
    const before = `{"list":["${"x".repeat(border - 30 + shift)}`;
    const cut = `${before}a\\\\\\"é€😀\\\\"],"more":[${"1,".repeat(10_000)}2]}`;
    assert.deepEqual(await readJson(inChunks(bytes(cut), 1 << 20)), JSON.parse(cut), `shifted by ${shift}`);
    assert.deepEqual(await readJson(inChunks(bytes(cut), 1 << 16)), JSON.parse(cut), `shifted by ${shift}`);
  }
});

Deno.test("a large answer that is no object is refused before its end", async () => {
  let given = 0;
  const endless = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes("[");
    for (; given < 1_000; given++) yield new Uint8Array(100_000).fill(0x20);
  };
  await assert.rejects(() => readJson(endless()), JsonSyntaxError);
  assert.ok(given < 10, `${given} chunks were taken`);
});

Deno.test("an answer that comes byte by byte is read", async () => {
  const text = JSON.stringify({ pdus: [1, "é", { a: FILLER }] });
  assert.deepEqual(await readJson(inChunks(bytes(text), 1)), JSON.parse(text));
});

Deno.test("of a key that is there twice the last counts", async () => {
  const text = `{"pdus":${JSON.stringify(items(400))},"pdus":[1,2],"x":[3],"x":"text"}`;
  assert.deepEqual(await readChunked(bytes(text)), { pdus: [1, 2], x: "text" });
});

Deno.test("numbers in a large answer are kept as they are written where that is asked for", async () => {
  const text = manyItems({ odd: [{ n: "@" }] }).replace('"@"', "1.0");
  const exact = await readChunked(bytes(text), { numbers: "exact" });
  assert.deepEqual(exact, parseJsonStrict(text, { numbers: "exact" }));
});

Deno.test("a large answer that is not JSON is refused", async () => {
  const good = manyItems();
  const list = JSON.stringify(items(500));
  const bad = [
    good.slice(0, -1),
    `${good}]`,
    `${good},`,
    `{"pdus":${list.slice(0, -1)}}}`,
    `{"pdus":${list.slice(0, -1)},]}`,
    `{"pdus":${list.slice(0, 1)},${list.slice(1)}}`,
    `{"pdus":[${list.slice(1, -1)},,1]}`,
    `{"pdus":[${" ".repeat(600_000)},1]}`,
    `{"pdus":${list.slice(0, -1)}`,
    `{"pdus":[${"[".repeat(600_000)}`,
    `{"pdus":["${FILLER.repeat(300)}`,
  ];
  for (const [index, text] of bad.entries()) {
    await assert.rejects(() => readChunked(bytes(text)), JsonSyntaxError, `text ${index}`);
  }
  await assert.rejects(() => readChunked(new Uint8Array(600_000).fill(0xff)), JsonSyntaxError);
  const deep = `{"a":[${"[".repeat(255)}${"]".repeat(255)}],"b":"${FILLER.repeat(300)}"}`;
  await assert.rejects(() => readChunked(bytes(deep)), JsonSyntaxError, "nested deeper than at once");
  const allowed = `{"a":[${"[".repeat(254)}${"]".repeat(254)}],"b":"${FILLER.repeat(300)}"}`;
  assert.deepEqual(await readChunked(bytes(allowed)), JSON.parse(allowed));
});

Deno.test("others get their turn while a large answer is parsed", async () => {
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await readJson(inChunks(bytes(manyItems()), 16_384));
  isDone = true;
  assert.ok(turns >= 4, `${turns} turns`);
});
