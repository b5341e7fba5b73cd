/**
 * Cutting text into words that searching compares: the same for every database, whatever the language.
 *
 * Case, accents and compatibility forms (full-width letters, ligatures) do not count. Scripts that do not put spaces
 * between words are cut into single characters and pairs of them, so that any part of such text is found.
 */

/** Points and accents of alphabets; in other scripts marks are parts of letters. */
const ACCENTS = /[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]/g;
const WORD = /[\p{L}\p{M}\p{N}]+/gu;
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー]+/gu;
const MAX_WORD_LENGTH = 64;

/** Returns text as it is compared. */
export function foldText(text: string): string {
  return text.normalize("NFKD").replace(ACCENTS, "").normalize("NFC").toLowerCase()
    .replaceAll("ß", "ss").replaceAll("ς", "σ");
}

/** Returns the words under which a text is found, each once; of unspaced scripts single characters and pairs. */
export function wordsOf(text: string, { max }: { max: number }): string[] {
  const words = new Set<string>();
  for (const { spaced, unspaced } of runs(text)) {
    if (spaced !== null) words.add(spaced);
    const characters = unspaced === null ? [] : [...unspaced];
    for (const [index, character] of characters.entries()) {
      words.add(character);
      const next = characters[index + 1];
      if (next !== undefined) words.add(character + next);
    }
    if (words.size >= max) break;
  }
  return [...words].slice(0, max);
}

/** Returns the words that a text must have to be found by `term`: the fewest that say it. */
export function wordsToFind(term: string, { max }: { max: number }): string[] {
  const words = new Set<string>();
  for (const { spaced, unspaced } of runs(term)) {
    if (spaced !== null) words.add(spaced);
    const characters = unspaced === null ? [] : [...unspaced];
    if (characters.length === 1) words.add(characters[0] ?? "");
    for (let index = 0; index + 1 < characters.length; index++) {
      words.add(`${characters[index]}${characters[index + 1]}`);
    }
    if (words.size >= max) break;
  }
  return [...words].slice(0, max);
}

interface Run {
  readonly spaced: string | null;
  readonly unspaced: string | null;
}

function* runs(text: string): Generator<Run> {
  for (const [word] of foldText(text).matchAll(WORD)) {
    let at = 0;
    for (const match of word.matchAll(UNSPACED)) {
      if (match.index > at) yield { spaced: cut(word.slice(at, match.index)), unspaced: null };
      yield { spaced: null, unspaced: match[0] };
      at = match.index + match[0].length;
    }
    if (at < word.length) yield { spaced: cut(word.slice(at)), unspaced: null };
  }
}

function cut(word: string): string {
  return word.length <= MAX_WORD_LENGTH ? word : word.slice(0, MAX_WORD_LENGTH).toWellFormed();
}
