/**
 * Fetching what links lead to: bounded in time, size and redirects, and never from addresses that are off limits.
 */
import { lookup as lookupName } from "node:dns/promises";
import type { LookupFunction } from "node:net";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { Agent, request } from "undici";
import type { WebProxies } from "../../federation/web_proxies.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { webStreamOf } from "../node_streams.ts";
import type { AddressRules, Resolve } from "./address_rules.ts";
import type { UrlRules } from "./url_rules.ts";

/** What a link led to. */
export interface Fetched {
  /** After all redirects. */
  readonly url: URL;
  /** As sent; empty when there is none. */
  readonly contentType: string;
  /** Seconds that the answer may be kept; null when it does not say. */
  readonly maxAge: number | null;
  /** Decompressed. Must be read to its end or canceled. */
  readonly body: ReadableStream<Uint8Array>;
}

/** What the fetcher is built from. */
export interface FetcherDeps {
  readonly addresses: AddressRules;
  readonly urls: UrlRules;
  readonly acceptLanguage: readonly string[];
  readonly userAgent: string;
  readonly proxies: WebProxies;
  readonly resolve?: Resolve;
}

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 65_536;
const MAX_URL_LENGTH = 4_096;

/** Fetches pages and images of strangers. */
export class Fetcher implements AsyncDisposable {
  readonly #deps: FetcherDeps;
  readonly #resolve: Resolve;
  readonly #agent: Agent;

  constructor(deps: FetcherDeps) {
    this.#deps = deps;
    this.#resolve = deps.resolve ?? ((hostname) => lookupName(hostname, { all: true }));
    this.#agent = new Agent({
      connect: { timeout: CONNECT_TIMEOUT_MS, lookup: this.#lookup },
      headersTimeout: IDLE_TIMEOUT_MS,
      bodyTimeout: IDLE_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: 1_000,
      allowH2: false,
    });
  }

  /** Throws 403 for a link that must not be followed. */
  check(url: URL): void {
    const isWeb = url.protocol === "http:" || url.protocol === "https:";
    const { addresses, urls } = this.#deps;
    if (isWeb && url.href.length <= MAX_URL_LENGTH && urls.isAllowed(url) && addresses.mayTry(url.hostname)) return;
    throw new MatrixError(403, "M_UNKNOWN", "URL is not allowed to be previewed");
  }

  /** Follows a link. Throws 403 where it must not be followed and 502 where it leads nowhere. */
  async fetch(start: URL, { signal, accept }: { signal: AbortSignal; accept: string }): Promise<Fetched> {
    let url = start;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      this.check(url);
      const { statusCode, headers, body } = await this.#request(url, { signal, accept });
      if (REDIRECTS.has(statusCode)) {
        await body.dump({ limit: 16_384 }).catch(() => {});
        url = redirectTarget(url, one(headers.location));
        continue;
      }
      if (statusCode !== 200) {
        body.on("error", () => {});
        body.destroy();
        throw failed(`The site answered ${statusCode}`);
      }
      const contentType = one(headers["content-type"]);
      return { url, contentType, maxAge: maxAgeOf(one(headers["cache-control"])), body: decode(body, headers) };
    }
    throw failed("Too many redirects");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
    await this.#deps.proxies[Symbol.asyncDispose]();
  }

  async #request(url: URL, { signal, accept }: { signal: AbortSignal; accept: string }) {
    const target = new URL(url);
    // Nobody's password is sent anywhere because it stands in a message.
    target.username = "";
    target.password = "";
    target.hash = "";
    const { acceptLanguage, userAgent, proxies } = this.#deps;
    try {
      return await request(target, {
        dispatcher: await proxies.dispatcherFor(target) ?? this.#agent,
        signal,
        headers: {
          "user-agent": userAgent,
          "accept": accept,
          "accept-language": acceptLanguage.join(", "),
          "accept-encoding": "gzip, deflate, br",
        },
      });
    } catch {
      // One answer for all reasons: it must not tell which names and ports of a private network exist.
      throw failed("Cannot reach the site");
    }
  }

  readonly #lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname).then((found) => {
      const allowed = found.filter(({ address }) => this.#deps.addresses.isAllowed(address));
      const [first] = allowed;
      if (first === undefined) return callback(new Error("No address that may be reached"), "", 4);
      if (options.all === true) return callback(null, allowed.map((each) => ({ ...each })));
      return callback(null, first.address, first.family);
    }, (error) => callback(error, "", 4));
  };
}

function redirectTarget(from: URL, location: string): URL {
  const target = URL.parse(location, from);
  if (location === "" || target === null) throw failed("The site redirects to nowhere");
  return target;
}

function failed(message: string): MatrixError {
  return new MatrixError(502, "M_UNKNOWN", message);
}

function one(header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header[0] : header) ?? "";
}

function maxAgeOf(cacheControl: string): number | null {
  const match = /(?:^|[\s,])max-age=(\d{1,9})/i.exec(cacheControl);
  return match === null ? null : Number(match[1]);
}

/** Returns the body as it was before compression; what comes out is counted by the reader. */
function decode(
  body: Readable,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): ReadableStream<Uint8Array> {
  const encoding = one(headers["content-encoding"]).trim().toLowerCase();
  const decoder = encoding === "gzip" || encoding === "x-gzip"
    ? createGunzip()
    : encoding === "deflate"
    ? createInflate()
    : encoding === "br"
    ? createBrotliDecompress()
    : null;
  if (decoder === null) return webStreamOf(body);
  body.on("error", (error) => decoder.destroy(error));
  decoder.on("close", () => body.destroy());
  return webStreamOf(body.pipe(decoder));
}
