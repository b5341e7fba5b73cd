/**
 * Previews of links. Spec: client-server API, `GET /media/preview_url`.
 *
 * A preview is made once for all who ask meanwhile, and kept as long as the page allows. Its image becomes a file of
 * this server, so that clients need not tell the site that they have seen the link.
 */
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../lib/clock.ts";
import { LruCache } from "../../lib/lru.ts";
import { randomString } from "../../lib/random.ts";
import { invalidParam, limitExceeded, MatrixError, unrecognized } from "../../protocol/errors.ts";
import type { JsonObject, JsonValue } from "../../protocol/json.ts";
import type { ServerName } from "../../protocol/ids.ts";
import type { Database } from "../../storage/database.ts";
import { insertMedia, type MediaRow } from "../../storage/media.ts";
import {
  deleteUrlPreviews,
  insertUrlPreview,
  selectOldPreviewImages,
  selectUrlPreview,
} from "../../storage/url_previews.ts";
import { contentPath } from "../blob_paths.ts";
import type { BlobStore } from "../blob_store.ts";
import type { ChildPool } from "../child/child_pool.ts";
import type { PageResult, ProbeResult } from "../child/messages.ts";
import { essenceOf } from "../content_headers.ts";
import { quarantinerOf } from "../quarantine.ts";
import type { MediaRemoval } from "../removal.ts";
import { IncomingFile } from "../receive.ts";
import type { Fetched, Fetcher } from "./fetcher.ts";
import { type OembedDescription, type OembedProvider, oembedUrlFor, readOembed } from "./oembed.ts";
import { draftPreview, imageFields } from "./open_graph.ts";

/** What the service is built from. */
export interface UrlPreviewsDeps {
  readonly db: Database;
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly children: ChildPool;
  readonly removal: MediaRemoval;
  /** Null where previews are off. */
  readonly fetcher: Fetcher | null;
  readonly providers: readonly OembedProvider[];
  readonly settings: Pick<Config["media"], "enableAuthenticatedMedia" | "maxSpiderSize">;
}

/** A preview with what limits its life. */
interface Made {
  readonly preview: JsonObject;
  readonly maxAge: number | null;
}

const MAX_URL_LENGTH = 4_096;
const TOTAL_TIMEOUT_MS = 30_000;
/** As much as the child looks at. */
const MAX_PAGE_BYTES = 524_288;
const MAX_JSON_BYTES = 262_144;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const FAILURE_MS = MINUTE_MS;
/** Images outlive the previews that name them. */
const IMAGE_LIFETIME_MS = 3 * DAY_MS;
/** Previews that are being made; each holds sockets and some memory. */
const MAX_AT_ONCE = 100;
const RETRY_AFTER_MS = 2_000;
const REMOVAL_BATCH = 100;
const HTML = new Set(["text/html", "application/xhtml+xml"]);

/** Makes and keeps previews. */
export class UrlPreviews {
  readonly #deps: UrlPreviewsDeps;
  readonly #making = new Map<string, Promise<string>>();
  readonly #failures = new LruCache<string, { error: MatrixError; until: number }>({ maxEntries: 1_000 });

  constructor(deps: UrlPreviewsDeps) {
    this.#deps = deps;
  }

  /**
   * Returns a preview as JSON, as it was at the time `at` where it is known. Throws 404 where previews are off, 400 for
   * what is no link, 403 for one that must not be followed, 502 for one that leads nowhere.
   */
  async preview(text: string, { at }: { at: number | null }): Promise<string> {
    const { db, clock, fetcher } = this.#deps;
    if (fetcher === null) throw unrecognized();
    const url = text.length > MAX_URL_LENGTH ? null : URL.parse(text);
    if (url === null) throw invalidParam("The URL is not one");
    url.hash = "";
    fetcher.check(url);
    const now = clock.now();
    const known = await selectUrlPreview(db, { url: url.href, at: at === null ? now : Math.min(at, now) });
    if (known !== null) return known.preview;
    const failure = this.#failures.get(url.href);
    if (failure !== undefined && failure.until > now) throw failure.error;
    let making = this.#making.get(url.href);
    if (making === undefined) {
      if (this.#making.size >= MAX_AT_ONCE) throw limitExceeded(RETRY_AFTER_MS);
      making = this.#make(url, fetcher).finally(() => this.#making.delete(url.href));
      this.#making.set(url.href, making);
    }
    return await making;
  }

  /** Deletes what has expired; called about once a minute. */
  async expire(): Promise<void> {
    const { db, clock, removal } = this.#deps;
    const now = clock.now();
    const images = await selectOldPreviewImages(db, { before: now - IMAGE_LIFETIME_MS, limit: REMOVAL_BATCH });
    await removal.remove(images);
    await db.transaction((tx) => deleteUrlPreviews(tx, now - DAY_MS));
  }

  async #make(url: URL, fetcher: Fetcher): Promise<string> {
    const { db, clock } = this.#deps;
    try {
      const { preview, maxAge } = await this.#explore(url, fetcher);
      const text = JSON.stringify(preview);
      const fetchedTs = clock.now();
      const lifetime = maxAge === null ? HOUR_MS : Math.min(DAY_MS, Math.max(5 * MINUTE_MS, maxAge * 1_000));
      await db.transaction((tx) => {
        return insertUrlPreview(tx, { url: url.href, fetchedTs, expiresTs: fetchedTs + lifetime, preview: text });
      });
      return text;
    } catch (error) {
      if (error instanceof MatrixError && error.status !== 429) {
        this.#failures.set(url.href, { error, until: clock.now() + FAILURE_MS });
      }
      throw error;
    }
  }

  async #explore(url: URL, fetcher: Fetcher): Promise<Made> {
    const signal = AbortSignal.timeout(TOTAL_TIMEOUT_MS);
    const described = oembedUrlFor(url, this.#deps.providers);
    if (described !== null) {
      const oembed = await this.#fetchOembed(described, { fetcher, signal });
      if (oembed !== null) return await this.#finish({ page: null, oembed, url, maxAge: null }, { fetcher, signal });
    }
    const fetched = await fetcher.fetch(url, { signal, accept: "text/html, image/*;q=0.9, */*;q=0.8" });
    const type = essenceOf(fetched.contentType);
    if (type.startsWith("image/")) return await this.#previewImage(fetched);
    if (!HTML.has(type)) {
      await fetched.body.cancel();
      return { preview: {}, maxAge: fetched.maxAge };
    }
    const page = await this.#readPage(await readStart(fetched.body, MAX_PAGE_BYTES), charsetOf(fetched.contentType));
    const discovered = page.oembed === null ? null : URL.parse(page.oembed, fetched.url);
    const oembed = discovered === null ? null : await this.#fetchOembed(discovered, { fetcher, signal });
    return await this.#finish({ page, oembed, url: fetched.url, maxAge: fetched.maxAge }, { fetcher, signal });
  }

  async #finish(
    found: { page: PageResult | null; oembed: OembedDescription | null; url: URL; maxAge: number | null },
    { fetcher, signal }: { fetcher: Fetcher; signal: AbortSignal },
  ): Promise<Made> {
    const { oembed, maxAge } = found;
    const html = oembed?.html ?? null;
    const told = html === null ? null : (await this.#readPage(new TextEncoder().encode(`<body>${html}`), "utf-8")).text;
    const { fields, image } = draftPreview(found);
    if (told !== null) fields["og:description"] ??= told.slice(0, 500).toWellFormed();
    const copy = image === null ? null : await this.#copyImage(image, { fetcher, signal });
    return { preview: { ...fields, ...(copy ?? {}) }, maxAge: oembed?.cacheAge ?? maxAge };
  }

  async #previewImage(fetched: Fetched): Promise<Made> {
    const fields = await this.#keepImage(fetched);
    return { preview: fields ?? {}, maxAge: fetched.maxAge };
  }

  /** Fetches the image of a page; null when it cannot be had, which is no reason to show nothing. */
  async #copyImage(
    url: URL,
    { fetcher, signal }: { fetcher: Fetcher; signal: AbortSignal },
  ): Promise<JsonObject | null> {
    try {
      return await this.#keepImage(await fetcher.fetch(url, { signal, accept: "image/*" }));
    } catch (error) {
      if (error instanceof MatrixError) return null;
      throw error;
    }
  }

  /** Stores an image and returns the fields for it; null for what is no image, too large, or quarantined. */
  async #keepImage({ body, url }: Fetched): Promise<JsonObject | null> {
    const { db, store, clock, serverName, settings, children } = this.#deps;
    const now = clock.now();
    const mediaId = `${new Date(now).toISOString().slice(0, 10)}_${randomString(16)}`;
    const path = contentPath({ origin: serverName, fileId: mediaId, isUrlCache: true }, serverName);
    const file = new IncomingFile(body, { maxBytes: settings.maxSpiderSize });
    try {
      await store.put(path, file);
    } catch (error) {
      if (error instanceof MatrixError) return null;
      throw error;
    }
    const output = await children.run({ kind: "probe" }, async () => {
      const stream = await store.read(path);
      if (stream === null) throw new Error("An image that was just stored is gone");
      return { stream, length: file.length };
    });
    if (output === null || !output.answer.ok) {
      await store.delete(path);
      return null;
    }
    const probed = output.answer.result as ProbeResult;
    const sha256 = file.sha256();
    const row: MediaRow = {
      origin: serverName,
      mediaId,
      fileId: mediaId,
      userId: null,
      contentType: probed.contentType,
      uploadName: null,
      createdTs: now,
      length: file.length,
      unusedExpiresTs: null,
      sha256,
      lastAccessTs: now,
      isAuthenticated: settings.enableAuthenticatedMedia,
      isUrlCache: true,
      sourceUrl: url.href,
      quarantinedBy: null,
      safeFromQuarantine: false,
    };
    const isKept = await db.transaction(async (tx) => {
      return await quarantinerOf(tx, sha256) === null && await insertMedia(tx, row);
    });
    if (!isKept) {
      await store.delete(path);
      return null;
    }
    return imageFields({ ...probed, uri: `mxc://${serverName}/${mediaId}`, length: file.length });
  }

  async #readPage(bytes: Uint8Array, charset: string | null): Promise<PageResult> {
    const output = await this.#deps.children.run(
      { kind: "page", charset },
      () => Promise.resolve({ stream: new Blob([Uint8Array.from(bytes)]).stream(), length: bytes.length }),
    );
    if (output === null || !output.answer.ok) throw new MatrixError(502, "M_UNKNOWN", "Cannot read the page");
    return output.answer.result as PageResult;
  }

  async #fetchOembed(
    url: URL,
    { fetcher, signal }: { fetcher: Fetcher; signal: AbortSignal },
  ): Promise<OembedDescription | null> {
    try {
      const { body } = await fetcher.fetch(url, { signal, accept: "application/json" });
      const bytes = await readStart(body, MAX_JSON_BYTES);
      return readOembed(JSON.parse(new TextDecoder().decode(bytes)) as JsonValue);
    } catch (error) {
      if (error instanceof MatrixError || error instanceof SyntaxError) return null;
      throw error;
    }
  }
}

/** Reads up to so many bytes; a site that breaks off has told what it has told. */
async function readStart(body: ReadableStream<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = body.getReader();
  try {
    while (length < maxBytes) {
      const { value } = await reader.read();
      if (value === undefined) break;
      chunks.push(value);
      length += value.length;
    }
  } catch {
    if (length === 0) throw new MatrixError(502, "M_UNKNOWN", "Cannot read the page");
  } finally {
    await reader.cancel().catch(() => {});
  }
  const whole = new Uint8Array(Math.min(length, maxBytes));
  let at = 0;
  for (const chunk of chunks) {
    const part = chunk.subarray(0, whole.length - at);
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function charsetOf(contentType: string): string | null {
  return /;\s*charset\s*=\s*"?([\w:.-]{1,40})/i.exec(contentType)?.[1] ?? null;
}
