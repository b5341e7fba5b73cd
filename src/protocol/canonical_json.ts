/**
 * Canonical JSON, and reading JSON that others wrote. Spec: appendices, "Canonical JSON".
 *
 * Canonical text is built by hand: `JSON.stringify` of a sorted copy puts integer-like keys first and sorts by UTF-16 unit,
 * whereas the spec sorts by code point.
 *
 * Numbers. `JSON.parse` loses integers beyond 2^53 and tells `1.0` from `1` no more. Rooms of versions 1-5 hold such
 * numbers and their hashes cover them, so `parseJsonStrict(text, { numbers: "exact" })` keeps every number that is not already
 * canonical as an *exact number* (V8's `JSON.rawJSON`, which `JSON.stringify` writes back unchanged). Strict canonical
 * JSON refuses them; lax canonical JSON writes them as the servers that made those rooms did.
 */
import { Buffer } from "node:buffer";
import type { JsonObject, JsonValue } from "./json.ts";

/** Deeper JSON than this is refused, so that recursion over parsed JSON is safe. */
export const MAX_JSON_DEPTH = 256;

/** A value that has no canonical form. */
export class CanonicalJsonError extends Error {
  override readonly name = "CanonicalJsonError";
}

/** Text that is not JSON, or is nested too deeply. */
export class JsonSyntaxError extends Error {
  override readonly name = "JsonSyntaxError";
}

/** `lax` also writes the floats and big integers of room versions 1-5. */
export interface CanonicalOptions {
  readonly lax?: boolean;
}

/** `exact` keeps numbers that are not canonical integers as they were written; `plain` is `JSON.parse`. */
export interface ParseOptions {
  readonly numbers?: "plain" | "exact";
  readonly maxDepth?: number;
}

interface RawJson extends JsonObject {
  readonly rawJSON: string;
}
/** `JSON` with the parts that TypeScript's library does not list. */
const rawApi = JSON as unknown as {
  rawJSON(text: string): RawJson;
  isRawJSON(value: unknown): value is RawJson;
  parse(text: string, reviver: (key: string, value: JsonValue, context: { source?: string }) => JsonValue): JsonValue;
};

// The quoted form of keys seen before: a memo of a pure function, emptied when full. Only ASCII keys are in it.
const QUOTED_KEYS = new Map<string, string>();
const MAX_QUOTED_KEYS = 4096;
const MAX_QUOTED_KEY_LENGTH = 64;
// deno-lint-ignore no-control-regex
const ASCII_ONLY = /^[\x00-\x7f]*$/;
const SURROGATE = /[\ud800-\udfff]/;
// deno-lint-ignore no-control-regex
const NEEDS_ESCAPE = /["\\\u0000-\u001f\ud800-\udfff]/;

/** Returns the canonical JSON text; throws `CanonicalJsonError` when `value` has none. */
export function canonicalJson(value: JsonValue, options: CanonicalOptions = {}): string {
  // What was canonical when it was parsed still is, and the built-in writer is three times as fast.
  if (isInCanonicalOrder(value, 0)) {
    const text = JSON.stringify(value);
    if (!SURROGATE.test(text)) return checkWellFormed(text);
  }
  return checkWellFormed(new Writer(options.lax === true).write(value));
}

/** Returns the canonical JSON of `object` as if the keys in `omit` were absent. */
export function canonicalJsonWithout(
  object: Readonly<JsonObject>,
  { omit, lax = false }: { omit: ReadonlySet<string>; lax?: boolean },
): string {
  const keys = Object.keys(object).filter((key) => !omit.has(key));
  return checkWellFormed(new Writer(lax).writeKeys(object, keys));
}

/** Returns how many bytes `text` takes in UTF-8. */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text);
}

/** Tells whether `value` is a number kept as written by `parseJsonStrict` with `numbers: "exact"`. */
export function isExactNumber(value: unknown): boolean {
  return rawApi.isRawJSON(value);
}

/** Returns `value` with exact numbers turned into the nearest doubles; the same object when there are none. */
export function toPlainJson<T extends JsonValue>(value: T): T {
  return plain(value) as T;
}

/** Parses JSON from text or UTF-8 bytes; throws `JsonSyntaxError`, also when nested deeper than `maxDepth`. */
export function parseJsonStrict(source: string | Uint8Array, options: ParseOptions = {}): JsonValue {
  const text = typeof source === "string" ? source : decodeUtf8(source);
  if (exceedsDepth(text, options.maxDepth ?? MAX_JSON_DEPTH)) throw new JsonSyntaxError("JSON is nested too deeply");
  try {
    if (options.numbers === "exact" && MAY_HOLD_ODD_NUMBER.test(text)) return rawApi.parse(text, keepExact);
    return JSON.parse(text) as JsonValue;
  } catch {
    throw new JsonSyntaxError("Not JSON");
  }
}

/** Tells whether JSON text nests deeper than `maxDepth`; never recurses. The text need not be valid. */
export function exceedsDepth(text: string, maxDepth: number): boolean {
  if (hasFewBrackets(text, maxDepth)) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        i = endOfString(text, i);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
    }
  }
  return false;
}

// A number that JSON.parse may change: sixteen digits or more, a fraction or an exponent. Text in strings may match too,
// which only costs time.
const MAY_HOLD_ODD_NUMBER = /(?:^|[\s:,[])-?(?:\d{16}|\d+[.eE])/;

function keepExact(_key: string, value: JsonValue, { source }: { source?: string }): JsonValue {
  if (typeof value !== "number" || source === undefined) return value;
  const isCanonical = Number.isSafeInteger(value) && (source === String(value) || source === "-0");
  return isCanonical ? value : rawApi.rawJSON(source);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonSyntaxError("Not UTF-8");
  }
}

/** Depth cannot exceed the number of brackets, and most texts have few. */
function hasFewBrackets(text: string, limit: number): boolean {
  let count = 0;
  for (const bracket of ["{", "["]) {
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1)) {
      if (++count > limit) return false;
    }
  }
  return true;
}

/** Returns where the string that starts at a quotation mark ends: at the next one, or at the end of the text. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

class Writer {
  readonly #lax: boolean;
  #depth = 0;

  constructor(lax: boolean) {
    this.#lax = lax;
  }

  write(value: JsonValue): string {
    switch (typeof value) {
      case "string":
        return quoteJson(value);
      case "number":
        return Number.isSafeInteger(value) ? String(value) : writeOddNumber(value, this.#lax);
      case "boolean":
        return value ? "true" : "false";
      case "object":
        return value === null ? "null" : this.#writeNested(value);
      default:
        throw new CanonicalJsonError(`A ${typeof value} is not JSON`);
    }
  }

  /** Sorts `keys` in place. */
  writeKeys(object: Readonly<JsonObject>, keys: string[]): string {
    if (!isSorted(keys)) keys.sort();
    let out = "{";
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      const quoted = QUOTED_KEYS.get(key) ?? quoteKey(key);
      // UTF-16 order differs from code-point order only where there are surrogates, which no ASCII key has.
      if (quoted === null) return this.#writeKeysByCodePoint(object, keys);
      if (i > 0) out += ",";
      out += quoted + this.write(object[key] as JsonValue);
    }
    return out + "}";
  }

  #writeNested(value: JsonValue[] | JsonObject): string {
    if (rawApi.isRawJSON(value)) return writeExact(value.rawJSON, this.#lax);
    if (this.#depth >= MAX_JSON_DEPTH) throw new CanonicalJsonError("JSON is nested too deeply");
    this.#depth++;
    const text = Array.isArray(value) ? this.#writeArray(value) : this.writeKeys(value, Object.keys(value));
    this.#depth--;
    return text;
  }

  #writeArray(values: readonly JsonValue[]): string {
    let out = "[";
    for (let i = 0; i < values.length; i++) {
      if (i > 0) out += ",";
      out += this.write(values[i] as JsonValue);
    }
    return out + "]";
  }

  #writeKeysByCodePoint(object: Readonly<JsonObject>, keys: string[]): string {
    keys.sort(compareCodePoints);
    return `{${keys.map((key) => `${quoteJson(key)}:${this.write(object[key] as JsonValue)}`).join(",")}}`;
  }
}

/** Tells whether `JSON.stringify` writes `value` canonically, but for keys with surrogates. False needs no reason. */
function isInCanonicalOrder(value: JsonValue, depth: number): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (typeof value !== "object" || value === null) return value !== undefined;
  if (depth >= MAX_JSON_DEPTH || rawApi.isRawJSON(value)) return false;
  if (Array.isArray(value)) return value.every((item) => isInCanonicalOrder(item, depth + 1));
  let previous = "";
  for (const key of Object.keys(value)) {
    if (key < previous || !isInCanonicalOrder(value[key] as JsonValue, depth + 1)) return false;
    previous = key;
  }
  return true;
}

function isSorted(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i++) {
    if ((keys[i - 1] as string) > (keys[i] as string)) return false;
  }
  return true;
}

/** Compares by code point: surrogates, which stand for U+10000 and above, come after U+E000 to U+FFFF. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rankUnit(x) - rankUnit(y);
  }
  return a.length - b.length;
}

function rankUnit(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Returns `"key":`, or null when the key is not ASCII. */
function quoteKey(key: string): string | null {
  if (!ASCII_ONLY.test(key)) return null;
  const quoted = `${JSON.stringify(key)}:`;
  if (key.length > MAX_QUOTED_KEY_LENGTH) return quoted;
  if (QUOTED_KEYS.size >= MAX_QUOTED_KEYS) QUOTED_KEYS.clear();
  QUOTED_KEYS.set(key, quoted);
  return quoted;
}

/** Writes a string as canonical JSON does, quotes included. */
export function quoteJson(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

function writeExact(source: string, lax: boolean): string {
  if (!lax) throw new CanonicalJsonError(`The number ${source.slice(0, 32)} is not allowed`);
  // JSON has no leading zeros, so an integer is canonical as it stands.
  if (/^-?\d+$/.test(source)) return source;
  return writeFloat(Number(source));
}

function writeOddNumber(value: number, lax: boolean): string {
  if (!Number.isFinite(value)) throw new CanonicalJsonError(`The number ${value} is not allowed`);
  if (!lax) throw new CanonicalJsonError(`The number ${value} is not an integer between -(2^53-1) and 2^53-1`);
  return Number.isInteger(value) ? BigInt(value).toString() : writeFloat(value);
}

/** Writes a float as Python's `repr` does, since the hashes of the events that hold one were made by Python servers. */
function writeFloat(value: number): string {
  if (!Number.isFinite(value)) throw new CanonicalJsonError("A number is out of range");
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  if (value === 0) return `${sign}0.0`;
  const [mantissa = "", exponentText = "0"] = Math.abs(value).toExponential().split("e");
  const digits = mantissa.replace(".", "");
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const power = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${mantissa}e${exponent < 0 ? "-" : "+"}${power}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

/** Refuses lone surrogates, which UTF-8 cannot carry; `JSON.stringify` leaves them as escapes that nothing else makes. */
function checkWellFormed(text: string): string {
  if (text.includes("\\ud") && /(?:^|[^\\])(?:\\\\)*\\ud/.test(text)) {
    throw new CanonicalJsonError("A string holds half of a surrogate pair");
  }
  return text;
}

function plain(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) return value;
  if (rawApi.isRawJSON(value)) return Number(value.rawJSON);
  if (Array.isArray(value)) {
    const items = value.map(plain);
    return items.some((item, i) => item !== value[i]) ? items : value;
  }
  let isChanged = false;
  const entries = Object.entries(value).map(([key, member]): [string, JsonValue] => {
    const plainMember = plain(member);
    isChanged ||= plainMember !== member;
    return [key, plainMember];
  });
  // fromEntries defines properties, so that a key "__proto__" stays a key.
  return isChanged ? Object.fromEntries(entries) : value;
}
