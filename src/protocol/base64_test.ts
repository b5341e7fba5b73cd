import assert from "node:assert/strict";
import { decodeAnyBase64, decodeBase64, decodeBase64Url, encodeBase64, encodeBase64Url } from "./base64.ts";

const VECTORS: readonly [string, string][] = [
  ["", ""],
  ["f", "Zg"],
  ["fo", "Zm8"],
  ["foo", "Zm9v"],
  ["foob", "Zm9vYg"],
  ["fooba", "Zm9vYmE"],
  ["foobar", "Zm9vYmFy"],
];

Deno.test("base64 gives the spec's examples, and reads them padded or not", () => {
  for (const [plain, encoded] of VECTORS) {
    const bytes = new TextEncoder().encode(plain);
    const padded = encoded.padEnd(Math.ceil(encoded.length / 4) * 4, "=");
    assert.equal(encodeBase64(bytes), encoded);
    assert.equal(encodeBase64Url(bytes), encoded);
    assert.deepEqual(decodeBase64(encoded), bytes);
    assert.deepEqual(decodeBase64(padded), bytes);
    assert.deepEqual(decodeBase64Url(padded), bytes);
  }
});

Deno.test("the two alphabets differ and are not mixed", () => {
  const bytes = new Uint8Array([0xfb, 0xff, 0xfe]);
  assert.equal(encodeBase64(bytes), "+//+");
  assert.equal(encodeBase64Url(bytes), "-__-");
  assert.deepEqual(decodeBase64Url("-__-"), bytes);
  assert.equal(decodeBase64("-__-"), null);
  assert.equal(decodeBase64Url("+//+"), null);
  assert.deepEqual(decodeAnyBase64("-__-"), bytes);
  assert.deepEqual(decodeAnyBase64("+//+"), bytes);
  assert.equal(decodeAnyBase64("-_/+"), null);
});

Deno.test("decodeBase64() refuses what is not base64", () => {
  for (const text of ["Z", "Zg=", "Zg===", "Zm9vYg=", "Z g", "Zg\n", "=", "Zm9v====", "é"]) {
    assert.equal(decodeBase64(text), null, JSON.stringify(text));
  }
});
