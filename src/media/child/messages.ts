/**
 * What the server and its media child say to each other: messages of a JSON head and a body of bytes, each after its
 * length, over the child's standard input and output.
 */

/** A thumbnail to make. The body is the image file. */
export interface ThumbnailJob {
  readonly kind: "thumbnail";
  readonly width: number;
  readonly height: number;
  readonly method: "crop" | "scale";
  readonly isAnimated: boolean;
  readonly maxPixels: number;
}

/** An image to measure. The body is the image file. */
export interface ProbeJob {
  readonly kind: "probe";
}

/** A page to read. The body is the HTML, or the first part of it. */
export interface PageJob {
  readonly kind: "page";
  /** As in the `Content-Type`, null where it names none. */
  readonly charset: string | null;
}

/** Anything the child does. */
export type ChildJob = ThumbnailJob | ProbeJob | PageJob;

/** Why the child could not do a job. */
export type ChildRefusal = "too_large" | "unsupported";

/** The result of a `ThumbnailJob`; the body is the thumbnail, and empty for an original that serves as its own. */
export interface ThumbnailResult {
  readonly isOriginal: boolean;
  readonly contentType: string;
  readonly width: number;
  readonly height: number;
}

/** The result of a `ProbeJob`. */
export interface ProbeResult {
  readonly contentType: string;
  readonly width: number;
  readonly height: number;
}

/** The result of a `PageJob`: what the page says of itself, bounded. */
export interface PageResult {
  /** `og:` properties as they stand, and `twitter:` ones; the first of each name. */
  readonly properties: Readonly<Record<string, string>>;
  readonly title: string | null;
  readonly description: string | null;
  /** The first image of the text. */
  readonly image: string | null;
  /** Text of the page, for pages that describe themselves nowhere. */
  readonly text: string | null;
  /** The address of its JSON oEmbed description. */
  readonly oembed: string | null;
  readonly baseHref: string | null;
}

/** What the child answers. */
export type ChildAnswer =
  | { readonly ok: true; readonly result: ThumbnailResult | ProbeResult | PageResult }
  | { readonly ok: false; readonly refusal: ChildRefusal; readonly detail: string };

/** A message as it arrived. */
export interface Message {
  readonly head: unknown;
  readonly body: Uint8Array<ArrayBuffer>;
}

const MAX_HEAD_BYTES = 1_048_576;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Returns the start of a message: both lengths and the head. The body follows. */
export function encodeHead(head: unknown, bodyLength: number): Uint8Array<ArrayBuffer> {
  const text = encoder.encode(JSON.stringify(head));
  const bytes = new Uint8Array(8 + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, text.length);
  view.setUint32(4, bodyLength);
  bytes.set(text, 8);
  return bytes;
}

/** Reads messages from a stream of bytes. */
export class MessageReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #maxBodyBytes: number;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>, { maxBodyBytes }: { maxBodyBytes: number }) {
    this.#reader = stream.getReader();
    this.#maxBodyBytes = maxBodyBytes;
  }

  /** Returns the next message; null when the stream ends before it is whole. Throws when it is not one. */
  async next(): Promise<Message | null> {
    const lengths = await this.#take(8);
    if (lengths === null) return null;
    const view = new DataView(lengths.buffer);
    const [headLength, bodyLength] = [view.getUint32(0), view.getUint32(4)];
    if (headLength > MAX_HEAD_BYTES || bodyLength > this.#maxBodyBytes) throw new Error("Message is too large");
    const head = await this.#take(headLength);
    const body = head && await this.#take(bodyLength);
    return head && body && { head: JSON.parse(decoder.decode(head)), body };
  }

  async #take(length: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const taken = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      if (this.#rest.length === 0) {
        const { value } = await this.#reader.read();
        if (value === undefined) return null;
        this.#rest = value;
      }
      const part = this.#rest.subarray(0, length - filled);
      taken.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return taken;
  }
}
