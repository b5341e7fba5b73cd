/**
 * Reading a web page for its preview, in the media child.
 *
 * The page is a stranger's: bytes, depth, and every text taken from it are bounded. Parsing stops where the bounds are
 * met, and what was found by then is the result.
 */
import { Parser } from "htmlparser2";
import type { PageResult } from "./messages.ts";

/** Bytes of a page that are looked at. */
const MAX_PAGE_BYTES = 524_288;
/** Elements inside each other; the parser's time grows with the square of it. */
const MAX_DEPTH = 256;
const CHUNK = 16_384;
const MAX_TEXT = 1_000;
const MAX_VALUE = 2_000;
const MAX_PROPERTIES = 100;
const MAX_BODY_TEXT = 2_000;

const VOID = new Set("area base br col embed hr img input link meta param source track wbr".split(" "));
/** Elements whose text says nothing of the page. */
const SILENT = new Set("script style noscript template svg nav header footer aside button form iframe".split(" "));

/** Returns what a page says of itself. `charset` is the one of the `Content-Type`. */
export function readPage(bytes: Uint8Array, charset: string | null): PageResult {
  const text = decodePage(bytes.subarray(0, MAX_PAGE_BYTES), charset);
  const reading = new PageReading();
  for (let start = 0; start < text.length && !reading.isDone; start += CHUNK) {
    reading.write(text.slice(start, start + CHUNK));
  }
  return reading.result();
}

/** Decodes by the header, a byte order mark, or what the page declares in its first bytes; else UTF-8, else Latin. */
function decodePage(bytes: Uint8Array, charset: string | null): string {
  const names = [bomOf(bytes), charset, declaredCharset(bytes)];
  for (const name of names) {
    const decoder = name === null ? null : decoderOf(name, { fatal: false });
    if (decoder !== null) return decoder.decode(bytes);
  }
  try {
    // A page that was cut may end within a character.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function decoderOf(name: string, options: TextDecoderOptions): TextDecoder | null {
  try {
    return new TextDecoder(name.trim(), options);
  } catch {
    return null;
  }
}

function bomOf(bytes: Uint8Array): string | null {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return "utf-8";
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  return bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : null;
}

function declaredCharset(bytes: Uint8Array): string | null {
  const start = new TextDecoder("latin1").decode(bytes.subarray(0, 2_048));
  const match = /<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})/i.exec(start) ??
    /<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w:.-]{1,40})/i.exec(start);
  const name = match?.[1] ?? null;
  // A page whose declaration could be read byte by byte is not UTF-16, whatever it says.
  return name !== null && /^utf-?16/i.test(name) ? "utf-8" : name;
}

class PageReading {
  readonly #parser: Parser;
  readonly #properties = new Map<string, string>();
  #depth = 0;
  #silence = 0;
  #silentName = "";
  #title: string | null = null;
  #isInTitle = false;
  #description: string | null = null;
  #image: string | null = null;
  #body = "";
  #isInBody = false;
  #oembed: string | null = null;
  #baseHref: string | null = null;
  isDone = false;

  constructor() {
    this.#parser = new Parser({
      onopentag: (name, attributes) => this.#open(name, attributes),
      ontext: (text) => this.#text(text),
      onclosetag: (name) => this.#close(name),
    }, { decodeEntities: true, lowerCaseTags: true, lowerCaseAttributeNames: true });
  }

  write(text: string): void {
    this.#parser.write(text);
  }

  result(): PageResult {
    return {
      properties: Object.fromEntries(this.#properties),
      title: tidy(this.#title, MAX_TEXT),
      description: tidy(this.#description, MAX_TEXT),
      image: this.#image,
      text: tidy(this.#body, MAX_BODY_TEXT),
      oembed: this.#oembed,
      baseHref: this.#baseHref,
    };
  }

  #open(name: string, attributes: Readonly<Record<string, string>>): void {
    if (this.isDone) return;
    if (!VOID.has(name) && ++this.#depth > MAX_DEPTH) {
      this.isDone = true;
      this.#parser.pause();
      return;
    }
    if (name === "body") this.#isInBody = true;
    else if (name === "title") this.#isInTitle = this.#title === null && this.#silentName !== "svg";
    else if (name === "meta") this.#meta(attributes);
    else if (name === "link") this.#link(attributes);
    else if (name === "base") this.#baseHref ??= bounded(attributes.href);
    else if (name === "img" && this.#silence === 0) this.#image ??= bounded(attributes.src);
    if (this.#silence > 0 ? name === this.#silentName : SILENT.has(name)) {
      this.#silentName = name;
      this.#silence++;
    }
  }

  #text(text: string): void {
    if (this.isDone) return;
    if (this.#isInTitle) {
      this.#title = ((this.#title ?? "") + text).slice(0, MAX_TEXT * 2);
    } else if (this.#isInBody && this.#silence === 0 && this.#body.length < MAX_BODY_TEXT * 2) {
      this.#body += text.slice(0, MAX_BODY_TEXT * 2);
    }
  }

  #close(name: string): void {
    if (this.isDone) return;
    if (!VOID.has(name)) this.#depth--;
    if (name === "title") this.#isInTitle = false;
    if (this.#silence > 0 && name === this.#silentName) this.#silence--;
    if (/^(p|div|br|li|h[1-6]|tr|section|article)$/.test(name) && this.#body !== "") this.#body += "\n";
  }

  #meta(attributes: Readonly<Record<string, string>>): void {
    const content = bounded(attributes.content);
    const name = (attributes.property ?? attributes.name ?? "").trim().toLowerCase();
    if (content === null || name === "") return;
    if (name === "description") this.#description ??= content;
    if (!/^(og|twitter|article|profile|book):[a-z_:]{1,64}$/.test(name)) return;
    if (!this.#properties.has(name) && this.#properties.size < MAX_PROPERTIES) this.#properties.set(name, content);
  }

  #link(attributes: Readonly<Record<string, string>>): void {
    const type = (attributes.type ?? "").trim().toLowerCase();
    const isOembed = /(^|\s)alternate(\s|$)/i.test(attributes.rel ?? "") && type === "application/json+oembed";
    if (isOembed) this.#oembed ??= bounded(attributes.href);
  }
}

/** Returns an attribute's value, or null where it is missing, empty or unreasonably long. */
function bounded(value: string | undefined): string | null {
  const text = value?.trim() ?? "";
  return text === "" || text.length > MAX_VALUE ? null : text.toWellFormed().replaceAll("\0", "");
}

/** Joins white space, keeping paragraphs apart; null when nothing is left. */
function tidy(text: string | null, maxLength: number): string | null {
  if (text === null) return null;
  const lines = text.toWellFormed().replaceAll("\0", "").split("\n").map((line) => line.trim().replace(/\s+/g, " "));
  const joined = lines.filter((line) => line !== "").join("\n");
  return joined === "" ? null : cut(joined, maxLength);
}

function cut(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1).toWellFormed().trimEnd()}…`;
}
