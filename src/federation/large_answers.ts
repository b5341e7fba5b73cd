/**
 * Reading JSON from other servers. The states of large rooms have some ten megabytes of it: their lists are parsed in
 * parts while they arrive, so that they neither hold up the event loop nor are in memory as bytes and as text.
 */
import { GatheredBytes } from "../lib/gathered_bytes.ts";
import { nextTurn } from "../lib/turn.ts";
import { JsonSyntaxError, MAX_JSON_DEPTH, parseJsonStrict, type ParseOptions } from "../protocol/canonical_json.ts";
import { isJsonObject, type JsonValue } from "../protocol/json.ts";

/** Shorter answers are parsed at once. */
const MIN_LENGTH = 512 * 1024;
/** Parsing this much takes a few milliseconds. */
const PART_LENGTH = 128 * 1024;
const BLOCK_LENGTH = 64 * 1024;

/** As `parseJsonStrict` does of UTF-8 bytes; of something long only an object. What `chunks` throws goes to the caller. */
export async function readJson(chunks: AsyncIterable<Uint8Array>, options: ParseOptions = {}): Promise<JsonValue> {
  const gathered = new GatheredBytes();
  let splitter: Splitter | null = null;
  for await (const chunk of chunks) {
    gathered.add(chunk);
    if (gathered.length < (splitter === null ? MIN_LENGTH : BLOCK_LENGTH)) continue;
    splitter ??= new Splitter(options);
    await splitter.add(gathered.take());
  }
  if (splitter === null) return parseJsonStrict(gathered.take(), options);
  await splitter.add(gathered.take());
  return splitter.end();
}

/** Takes the lists out of an object, leaves their numbers in their places, and puts them back in once all is parsed. */
class Splitter {
  readonly #options: ParseOptions;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #lists: JsonValue[][] = [];
  /** The text without what is in the lists. */
  #rest = "";
  /** What was looked through and not taken yet, before `#text`. */
  #before: string[] = [];
  #beforeLength = 0;
  #text = "";
  /** Where in `#text` begins what was not taken yet. */
  #from = 0;
  #depth = 0;
  #hasBegun = false;
  #list: JsonValue[] | null = null;
  #isInString = false;
  /** Within a string: the next character is escaped by what `#before` ends with. */
  #isEscaped = false;

  constructor(options: ParseOptions) {
    this.#options = options;
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#before.push(this.#text.slice(this.#from));
    this.#beforeLength += this.#text.length - this.#from;
    this.#from = 0;
    const text = this.#text = this.#decode(bytes);
    if (!this.#hasBegun) this.#begin(text);
    for (let at = this.#isInString ? this.#endOfString(0) + 1 : 0; at < text.length; at++) {
      switch (text.charCodeAt(at)) {
        case 0x22: // "
          at = this.#endOfString(at + 1);
          break;
        case 0x2c: // ,
          if (this.#depth === 2 && this.#list !== null && this.#beforeLength + at - this.#from >= PART_LENGTH) {
            this.#takePart(at, this.#list);
            await nextTurn();
          }
          break;
        case 0x5b: // [
          if (++this.#depth === 2) this.#open(at);
          break;
        case 0x7b: // {
          this.#depth++;
          break;
        case 0x5d: // ]
        case 0x7d: // }
          if (this.#depth-- === 2 && this.#list !== null) this.#close(at, this.#list);
      }
    }
  }

  end(): JsonValue {
    this.#decode(new Uint8Array(), { isLast: true });
    if (this.#list !== null) throw new JsonSyntaxError("Not JSON");
    const whole = this.#parse(this.#rest + this.#take(this.#text.length), 0);
    if (!isJsonObject(whole)) return whole;
    for (const [key, value] of Object.entries(whole)) {
      // Every list of the object is the number of what stood there.
      const [index] = Array.isArray(value) ? value : [];
      const list = typeof index === "number" ? this.#lists[index] : undefined;
      if (list !== undefined) Object.defineProperty(whole, key, { value: list });
    }
    return whole;
  }

  #decode(bytes: Uint8Array, { isLast = false } = {}): string {
    try {
      return this.#decoder.decode(bytes, { stream: !isLast });
    } catch {
      throw new JsonSyntaxError("Not UTF-8");
    }
  }

  /** Something else than an object is not worth reading to its end. */
  #begin(text: string): void {
    const start = /[^ \t\r\n]/.exec(text)?.[0];
    if (start === undefined) return;
    if (start !== "{") throw new JsonSyntaxError("Not a JSON object");
    this.#hasBegun = true;
  }

  /** Returns where the string that goes on at `start` ends, in this text or behind it. */
  #endOfString(start: number): number {
    const text = this.#text;
    let from = start;
    if (this.#isEscaped && text.length > start) {
      this.#isEscaped = false;
      from++;
    }
    for (let end = text.indexOf('"', from); end !== -1; end = text.indexOf('"', end + 1)) {
      if (backslashesBefore(text, { end, from }) % 2 === 1) continue;
      this.#isInString = false;
      return end;
    }
    this.#isInString = true;
    if (text.length > start) this.#isEscaped = backslashesBefore(text, { end: text.length, from }) % 2 === 1;
    return text.length;
  }

  #open(at: number): void {
    this.#list = [];
    this.#rest += `${this.#take(at)}[${this.#lists.length}]`;
    this.#lists.push(this.#list);
  }

  #close(at: number, list: JsonValue[]): void {
    if (this.#text[at] !== "]") throw new JsonSyntaxError("Not JSON");
    const isAfterComma = list.length > 0;
    if (this.#takePart(at, list) === 0 && isAfterComma) throw new JsonSyntaxError("Not JSON");
    this.#list = null;
  }

  /** Parses what is between the last part and `at`. */
  #takePart(at: number, list: JsonValue[]): number {
    const isBeforeComma = this.#text[at] === ",";
    const items = this.#parse(`[${this.#take(at)}]`, 1);
    if (!Array.isArray(items) || (isBeforeComma && items.length === 0)) throw new JsonSyntaxError("Not JSON");
    for (const item of items) list.push(item);
    return items.length;
  }

  /** Returns what was not taken yet up to `at`, and goes on behind the character there. */
  #take(at: number): string {
    const taken = this.#before.join("") + this.#text.slice(this.#from, at);
    this.#before = [];
    this.#beforeLength = 0;
    this.#from = at + 1;
    return taken;
  }

  #parse(text: string, depth: number): JsonValue {
    const { maxDepth = MAX_JSON_DEPTH } = this.#options;
    return parseJsonStrict(text, { ...this.#options, maxDepth: maxDepth - depth });
  }
}

function backslashesBefore(text: string, { end, from }: { end: number; from: number }): number {
  let count = 0;
  while (end - 1 - count >= from && text.charCodeAt(end - 1 - count) === 0x5c) count++;
  return count;
}
