/** Reading a file as it arrives: counted, hashed, and given up when it is too large, too slow or cut short. */
import { createHash, type Hash } from "node:crypto";
import { MatrixError, tooLarge } from "../protocol/errors.ts";

/** A sender that is silent for longer is cut off. */
const IDLE_TIMEOUT_MS = 60_000;

/** A body on its way into a blob store. Iterate once; then `length` and `sha256` tell what it was. */
export class IncomingFile implements AsyncIterable<Uint8Array> {
  readonly #body: ReadableStream<Uint8Array> | null;
  readonly #maxBytes: number;
  readonly #hash: Hash = createHash("sha256");
  #length = 0;

  constructor(body: ReadableStream<Uint8Array> | null, { maxBytes }: { maxBytes: number }) {
    this.#body = body;
    this.#maxBytes = maxBytes;
  }

  /** The bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Returns the hash of the whole in base64url; only once. */
  sha256(): string {
    return this.#hash.digest("base64url");
  }

  /** Throws 413 past the bound, 408 when the sender stops, 400 when it breaks off. */
  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.#body === null) return;
    const reader = this.#body.getReader();
    let isAtEnd = false;
    try {
      while (true) {
        const { done, value } = await readInTime(reader);
        isAtEnd = done;
        if (value === undefined) return;
        this.#length += value.length;
        if (this.#length > this.#maxBytes) throw uploadTooLarge(this.#maxBytes);
        this.#hash.update(value);
        yield value;
      }
    } finally {
      if (!isAtEnd) await reader.cancel().catch(() => {});
    }
  }
}

/** 413 for a file of more than `maxBytes`. */
export function uploadTooLarge(maxBytes: number): MatrixError {
  return tooLarge(`Cannot upload files larger than ${maxBytes} bytes`);
}

async function readInTime(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<ReadableStreamReadResult<Uint8Array>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expiry = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new MatrixError(408, "M_UNKNOWN", "The file did not arrive in time")),
      IDLE_TIMEOUT_MS,
    );
  });
  try {
    return await Promise.race([reader.read().catch(cutShort), expiry]);
  } finally {
    clearTimeout(timer);
  }
}

function cutShort(): never {
  throw new MatrixError(400, "M_UNKNOWN", "The file was cut short");
}
