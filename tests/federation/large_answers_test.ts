/** Large answers are parsed in parts: what comes out, and what is refused, is as if they were parsed at once. */
import assert from "node:assert/strict";
import { parseLargeJson } from "../../src/federation/large_answers.ts";
import { JsonSyntaxError, parseJsonStrict } from "../../src/protocol/canonical_json.ts";
import { setImmediate } from "node:timers";

const bytes = (text: string) => new TextEncoder().encode(text);
const FILLER = "x".repeat(2_000);
const items = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ n, text: `${FILLER}],"[{\\`, list: [[n]] }));

function manyItems(more: Record<string, unknown> = {}): string {
  return JSON.stringify({ pdus: items(500), name: "a [b], {c}", object: { list: [1, [2]] }, empty: [], ...more });
}

Deno.test("a large answer comes out as when it is parsed at once", async () => {
  for (const text of [manyItems(), ` ${manyItems({ second: items(300), ["__proto__x"]: [1] })}\n`]) {
    assert.ok(text.length > 1_000_000);
    assert.deepEqual(await parseLargeJson(bytes(text)), JSON.parse(text));
  }
});

Deno.test("of a key that is there twice the last counts", async () => {
  const text = `{"pdus":${JSON.stringify(items(400))},"pdus":[1,2],"x":[3],"x":"text"}`;
  assert.deepEqual(await parseLargeJson(bytes(text)), { pdus: [1, 2], x: "text" });
});

Deno.test("numbers in a large answer are kept as they are written where that is asked for", async () => {
  const text = manyItems({ odd: [{ n: "@" }] }).replace('"@"', "1.0");
  const exact = await parseLargeJson(bytes(text), { numbers: "exact" });
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
    await assert.rejects(() => parseLargeJson(bytes(text)), JsonSyntaxError, `text ${index}`);
  }
  await assert.rejects(() => parseLargeJson(new Uint8Array(600_000).fill(0xff)), JsonSyntaxError);
  const deep = `{"a":[${"[".repeat(255)}${"]".repeat(255)}],"b":"${FILLER.repeat(300)}"}`;
  await assert.rejects(() => parseLargeJson(bytes(deep)), JsonSyntaxError, "nested deeper than at once");
  const allowed = `{"a":[${"[".repeat(254)}${"]".repeat(254)}],"b":"${FILLER.repeat(300)}"}`;
  assert.deepEqual(await parseLargeJson(bytes(allowed)), JSON.parse(allowed));
});

Deno.test("others get their turn while a large answer is parsed", async () => {
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await parseLargeJson(bytes(manyItems()));
  isDone = true;
  assert.ok(turns >= 4, `${turns} turns`);
});
