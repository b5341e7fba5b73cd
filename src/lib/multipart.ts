/** Reading `multipart/mixed` bodies as they arrive. RFC 2046, section 5.1. */
import { Buffer } from "node:buffer";

/** One part of a body. */
export interface MultipartPart {
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  /** To be read to its end before the next part is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** A body that is not what its content type says. */
export class MultipartError extends Error {
  override readonly name = "MultipartError";
}

const MAX_HEADER_BYTES = 16_384;
const MAX_BOUNDARY_LENGTH = 70;

/** Returns the boundary that a content type names; null when it is not multipart. */
export function boundaryOf(contentType: string): string | null {
  const match = /^multipart\/[a-z]+\s*;(?:.*;)?\s*boundary=(?:"([^"]+)"|([^\s";]+))/i.exec(contentType);
  const boundary = match?.[1] ?? match?.[2] ?? null;
  return boundary === null || boundary.length > MAX_BOUNDARY_LENGTH ? null : boundary;
}

/** Yields the parts of a body. Holds no more of it in memory than a chunk and the headers of a part. */
export async function* readMultipart(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
): AsyncGenerator<MultipartPart, void> {
  const reader = new PartReader(source, boundary);
  await reader.skipToFirst();
  while (await reader.hasPart()) {
    yield { headers: parseHeaders(await reader.headers()), body: reader.body() };
  }
}

class PartReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  #held: Buffer = Buffer.from("\r\n");

  constructor(source: AsyncIterable<Uint8Array>, boundary: string) {
    this.#chunks = source[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  async skipToFirst(): Promise<void> {
    for await (const _preamble of this.body()) { /* Not part of anything. */ }
  }

  /** After a delimiter: tells whether a part follows, as opposed to the end. */
  async hasPart(): Promise<boolean> {
    while (this.#held.length < 2) await this.#more();
    return this.#held.subarray(0, 2).toString("latin1") !== "--";
  }

  async headers(): Promise<string> {
    for (;;) {
      const end = this.#held.indexOf("\r\n\r\n");
      if (end >= 0) {
        const text = this.#held.subarray(0, end).toString("utf8");
        // The line feed before the next delimiter may be that which ends the headers.
        this.#held = this.#held.subarray(end + 4);
        if (this.#held.length < this.#delimiter.length) await this.#tryMore();
        if (this.#startsWithBareDelimiter()) this.#held = Buffer.concat([Buffer.from("\r\n"), this.#held]);
        return text;
      }
      if (this.#held.length > MAX_HEADER_BYTES) throw new MultipartError("The headers of a part are too long");
      await this.#more();
    }
  }

  /** Yields what comes before the next delimiter, and takes the delimiter away. */
  async *body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const at = this.#held.indexOf(this.#delimiter);
      if (at >= 0) {
        if (at > 0) yield this.#held.subarray(0, at);
        this.#held = this.#held.subarray(at + this.#delimiter.length);
        return;
      }
      const safe = this.#held.length - this.#delimiter.length + 1;
      if (safe > 0) {
        yield this.#held.subarray(0, safe);
        this.#held = this.#held.subarray(safe);
      }
      await this.#more();
    }
  }

  #startsWithBareDelimiter(): boolean {
    const bare = this.#delimiter.subarray(2);
    return this.#held.length >= bare.length && this.#held.subarray(0, bare.length).equals(bare);
  }

  async #more(): Promise<void> {
    if (!await this.#tryMore()) throw new MultipartError("The body ends within a part");
  }

  async #tryMore(): Promise<boolean> {
    const next = await this.#chunks.next();
    if (next.done) return false;
    this.#held = Buffer.concat([this.#held, next.value]);
    return true;
  }
}

function parseHeaders(text: string): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}
