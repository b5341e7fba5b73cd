import assert from "node:assert/strict";
import { foldText, wordsOf, wordsToFind } from "./words.ts";

Deno.test("foldText() ignores case, accents and compatibility forms", () => {
  assert.equal(foldText("Crème BRÛLÉE"), "creme brulee");
  assert.equal(foldText("Straße ﬁn ＡＢＣ ΟΔΟΣ"), "strasse fin abc οδοσ");
  assert.equal(foldText("がぎぐ"), "がぎぐ");
});

Deno.test("wordsOf() cuts spaced scripts at anything that is no letter or digit", () => {
  assert.deepEqual(wordsOf("Hello, hello world-wide 42", { max: 10 }), ["hello", "world", "wide", "42"]);
});

Deno.test("wordsOf() cuts unspaced scripts into characters and pairs", () => {
  assert.deepEqual(wordsOf("猫が好き", { max: 10 }), ["猫", "猫が", "が", "が好", "好", "好き", "き"]);
  assert.deepEqual(wordsOf("abc日本x", { max: 10 }), ["abc", "日", "日本", "本", "x"]);
});

Deno.test("wordsToFind() asks for pairs, and for a character only when it stands alone", () => {
  assert.deepEqual(wordsToFind("日本語", { max: 10 }), ["日本", "本語"]);
  assert.deepEqual(wordsToFind("猫", { max: 10 }), ["猫"]);
});

Deno.test("everything that wordsToFind() asks of a part of a text is among the words of the text", () => {
  const text = "東京タワー Тест Ünïcode ภาษาไทย 한국어 문장";
  const words = new Set(wordsOf(text, { max: 1000 }));
  for (const part of ["京タ", "ワー", "тест", "unicode", "ภาษา", "국어"]) {
    for (const word of wordsToFind(part, { max: 10 })) assert.ok(words.has(word), `${part}: ${word}`);
  }
});

Deno.test("wordsOf() is bounded", () => {
  assert.equal(wordsOf(Array.from({ length: 5000 }, (_, n) => `w${n}`).join(" "), { max: 100 }).length, 100);
  assert.equal(wordsOf("x".repeat(10_000), { max: 100 })[0]?.length, 64);
});
