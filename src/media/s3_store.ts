/**
 * Media in a bucket of S3, or of what speaks its language.
 *
 * A file is spooled to the local disk first: the service wants its length and hash before its first byte. An object
 * appears whole or not at all by the service's own promise.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Agent, type Dispatcher, request } from "undici";
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import type { BlobPath } from "./blob_paths.ts";
import type { BlobStore, ByteRange } from "./blob_store.ts";
import { webStreamOf } from "./node_streams.ts";
import { encodeStrictly, type S3Credentials, signRequest } from "./s3_signature.ts";

/** Where the bucket is and who may use it. */
export interface S3Options {
  readonly credentials: S3Credentials;
  readonly bucket: string;
  /** Null for Amazon's own. */
  readonly endpoint: string | null;
  /** Stands before every path. */
  readonly prefix: string;
  /** Of objects, null for the bucket's usual one. */
  readonly storageClass: string | null;
}

/** What the store is built from. */
export interface S3StoreDeps {
  readonly clock: Clock;
  /** A folder for files on their way. */
  readonly spoolFolder: string;
  readonly options: S3Options;
}

interface Call {
  readonly method: "GET" | "PUT" | "DELETE";
  /** Null for the bucket itself. */
  readonly path: BlobPath | null;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload?: string;
  /** Opens the body, once for every attempt. */
  readonly body?: () => Promise<Readable>;
}

const EMPTY_SHA256 = createHash("sha256").digest("hex");
const ATTEMPTS = 3;
const RETRY_DELAY_MS = 250;
const TIMEOUT_MS = 30_000;
const MAX_PAGES = 100;
const MAX_LISTING_BYTES = 4_194_304;

/** A `BlobStore` in a bucket. */
export class S3Store implements BlobStore {
  readonly #deps: S3StoreDeps;
  readonly #agent = new Agent({ headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS, connections: 32 });

  constructor(deps: S3StoreDeps) {
    this.#deps = deps;
  }

  async put(path: BlobPath, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const { spoolFolder, options } = this.#deps;
    const spool = join(spoolFolder, randomString(24));
    try {
      const { length, payload } = await spoolFile(spool, bytes);
      const headers = {
        "content-length": String(length),
        ...(options.storageClass === null ? {} : { "x-amz-storage-class": options.storageClass }),
      };
      const body = async () => Readable.from((await Deno.open(spool)).readable);
      const answer = await this.#call({ method: "PUT", path, headers, payload, body });
      await finish(answer);
    } finally {
      await Deno.remove(spool).catch(() => {});
    }
  }

  async read(path: BlobPath, range?: ByteRange): Promise<ReadableStream<Uint8Array> | null> {
    if (range !== undefined && range.end <= range.start) return new Blob([]).stream();
    const headers = range === undefined ? {} : { range: `bytes=${range.start}-${range.end - 1}` };
    const answer = await this.#call({ method: "GET", path, headers });
    if (answer.statusCode !== 404) return webStreamOf(answer.body);
    await answer.body.dump();
    return null;
  }

  async delete(path: BlobPath): Promise<void> {
    await finish(await this.#call({ method: "DELETE", path }));
  }

  async deleteFolder(path: BlobPath): Promise<void> {
    // A listing has at most a thousand names; a bucket that keeps what is deleted must not be asked for ever.
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const names = await this.#list(`${this.#deps.options.prefix}${path}/`);
      for (const name of names) {
        await this.delete(name.slice(this.#deps.options.prefix.length) as BlobPath);
      }
      if (names.length === 0) return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #list(prefix: string): Promise<string[]> {
    const answer = await this.#call({ method: "GET", path: null, query: { "list-type": "2", prefix } });
    const text = await answer.body.text();
    if (text.length > MAX_LISTING_BYTES) throw new Error("The bucket's listing is too long");
    // Names are made of the characters of media paths, none of which XML escapes.
    return [...text.matchAll(/<Key>([^<&]{1,1024})<\/Key>/g)].flatMap((match) => match[1] ?? []);
  }

  /** Sends a request, again where that may help; answers 2xx or 404. */
  async #call(call: Call): Promise<Dispatcher.ResponseData> {
    for (let attempt = 1;; attempt++) {
      try {
        const answer = await this.#send(call);
        const { statusCode } = answer;
        if (statusCode < 300 || statusCode === 404) return answer;
        const reason = (await answer.body.text()).slice(0, 500);
        throw new S3Error(statusCode, reason);
      } catch (error) {
        const isFinal = error instanceof S3Error && error.status < 500 && error.status !== 429;
        if (isFinal || attempt >= ATTEMPTS) throw error;
        await this.#deps.clock.sleep(RETRY_DELAY_MS * attempt);
      }
    }
  }

  async #send(
    { method, path, query = {}, headers = {}, payload = EMPTY_SHA256, body }: Call,
  ): Promise<Dispatcher.ResponseData> {
    const { clock, options } = this.#deps;
    const url = this.#urlOf(path);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const signed = signRequest({ method, url, headers, payload, now: clock.now() }, options.credentials);
    const { host: _host, ...sent } = signed;
    const content = body === undefined ? {} : { body: await body() };
    return await request(url, { dispatcher: this.#agent, method, headers: sent, ...content });
  }

  #urlOf(path: BlobPath | null): URL {
    const { bucket, endpoint, prefix, credentials } = this.#deps.options;
    const base = endpoint === null
      ? `https://${bucket}.s3.${credentials.region}.amazonaws.com`
      : `${endpoint.replace(/\/+$/, "")}/${bucket}`;
    return new URL(
      path === null ? `${base}/` : `${base}/${`${prefix}${path}`.split("/").map(encodeStrictly).join("/")}`,
    );
  }
}

/** An answer of the service that is neither success nor absence. */
export class S3Error extends Error {
  override readonly name = "S3Error";
  readonly status: number;

  constructor(status: number, reason: string) {
    super(`The object store answered ${status}: ${reason}`);
    this.status = status;
  }
}

async function finish(answer: Dispatcher.ResponseData): Promise<void> {
  await answer.body.dump();
}

async function spoolFile(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<{ length: number; payload: string }> {
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  const hash = createHash("sha256");
  let length = 0;
  for await (const chunk of bytes) {
    hash.update(chunk);
    length += chunk.length;
    for (let written = 0; written < chunk.length;) written += await file.write(chunk.subarray(written));
  }
  return { length, payload: hash.digest("hex") };
}
