/**
 * Parsing the states of large rooms, some ten megabytes of JSON, without holding up the event loop: the lists of the
 * answer are parsed in parts.
 */
import { nextTurn } from "../lib/turn.ts";
import {
  endOfString,
  JsonSyntaxError,
  MAX_JSON_DEPTH,
  parseJsonStrict,
  type ParseOptions,
} from "../protocol/canonical_json.ts";
import { isJsonObject, type JsonValue } from "../protocol/json.ts";

/** Smaller answers are parsed at once. */
const MIN_LENGTH = 512 * 1024;
/** Parsing this much takes a few milliseconds. */
const PART_LENGTH = 128 * 1024;

/** As `parseJsonStrict` does of UTF-8 bytes. */
export async function parseLargeJson(bytes: Uint8Array, options: ParseOptions = {}): Promise<JsonValue> {
  if (bytes.length < MIN_LENGTH) return parseJsonStrict(bytes, options);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonSyntaxError("Not UTF-8");
  }
  if (!/^[ \t\r\n]*\{/.test(text)) return parseJsonStrict(text, options);
  return await new Splitter(text, options).parse();
}

/** Takes the lists out of an object, leaves their numbers in their places, and puts them back in once all is parsed. */
class Splitter {
  readonly #text: string;
  readonly #options: ParseOptions;
  readonly #lists: JsonValue[][] = [];
  /** The text without what is in the lists. */
  #rest = "";
  /** Where the text begins that was not taken yet. */
  #from = 0;
  #list: JsonValue[] | null = null;

  constructor(text: string, options: ParseOptions) {
    this.#text = text;
    this.#options = options;
  }

  async parse(): Promise<JsonValue> {
    const text = this.#text;
    let depth = 0;
    for (let at = 0; at < text.length; at++) {
      switch (text.charCodeAt(at)) {
        case 0x22: // "
          at = endOfString(text, at);
          break;
        case 0x2c: // ,
          if (depth === 2 && this.#list !== null && at - this.#from >= PART_LENGTH) {
            this.#takePart(at, this.#list);
            await nextTurn();
          }
          break;
        case 0x5b: // [
          if (++depth === 2) this.#open(at);
          break;
        case 0x7b: // {
          depth++;
          break;
        case 0x5d: // ]
        case 0x7d: // }
          if (depth-- === 2 && this.#list !== null) this.#close(at, this.#list);
      }
    }
    if (this.#list !== null) throw new JsonSyntaxError("Not JSON");
    return this.#assemble();
  }

  #open(at: number): void {
    this.#list = [];
    this.#rest += `${this.#text.slice(this.#from, at)}[${this.#lists.length}]`;
    this.#lists.push(this.#list);
    this.#from = at + 1;
  }

  #close(at: number, list: JsonValue[]): void {
    if (this.#text[at] !== "]") throw new JsonSyntaxError("Not JSON");
    const isAfterComma = list.length > 0;
    if (this.#takePart(at, list) === 0 && isAfterComma) throw new JsonSyntaxError("Not JSON");
    this.#list = null;
  }

  /** Parses what is between the last part and `at`. */
  #takePart(at: number, list: JsonValue[]): number {
    const items = this.#parse(`[${this.#text.slice(this.#from, at)}]`, 1);
    if (!Array.isArray(items) || (this.#text[at] === "," && items.length === 0)) throw new JsonSyntaxError("Not JSON");
    for (const item of items) list.push(item);
    this.#from = at + 1;
    return items.length;
  }

  #assemble(): JsonValue {
    const whole = this.#parse(this.#rest + this.#text.slice(this.#from), 0);
    if (!isJsonObject(whole)) return whole;
    for (const [key, value] of Object.entries(whole)) {
      // Every list of the object is the number of what stood there.
      const [index] = Array.isArray(value) ? value : [];
      const list = typeof index === "number" ? this.#lists[index] : undefined;
      if (list !== undefined) Object.defineProperty(whole, key, { value: list });
    }
    return whole;
  }

  #parse(text: string, depth: number): JsonValue {
    const { maxDepth = MAX_JSON_DEPTH } = this.#options;
    return parseJsonStrict(text, { ...this.#options, maxDepth: maxDepth - depth });
  }
}
