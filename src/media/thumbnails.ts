/**
 * Thumbnails: found, or made in a media child when they are first asked for, and kept.
 *
 * Making them at the first request in place of at the upload costs nothing for the many files, encrypted ones above all,
 * whose thumbnails nobody asks for.
 */
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import { MatrixError, notFound, tooLarge } from "../protocol/errors.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { insertThumbnail, selectThumbnail, type ThumbnailKey, type ThumbnailRow } from "../storage/media_thumbnails.ts";
import { type BlobPath, thumbnailFolder, thumbnailPath } from "./blob_paths.ts";
import type { BlobStore, ByteRange } from "./blob_store.ts";
import type { ChildPool } from "./child/child_pool.ts";
import type { ChildRefusal, ThumbnailResult } from "./child/messages.ts";
import type { FoundMedia, MediaDownloads } from "./downloads.ts";
import { chooseSize, type ThumbnailSize } from "./thumbnail_sizes.ts";

/** What the service is built from. */
export interface ThumbnailsDeps {
  readonly db: Database;
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly downloads: MediaDownloads;
  readonly children: ChildPool;
  readonly settings: Pick<Config["media"], "dynamicThumbnails" | "maxImagePixels" | "thumbnailSizes">;
}

/** A thumbnail that can be sent. */
export interface ServedThumbnail {
  readonly contentType: string;
  readonly length: number;
  /** Null where it has no stable name. */
  readonly etag: string | null;
  readonly open: (range?: ByteRange) => Promise<ReadableStream<Uint8Array> | null>;
}

/** Files larger than this are not images anybody wants a thumbnail of. */
const MAX_INPUT_BYTES = 268_435_456;
const MAX_REMEMBERED_FAILURES = 10_000;
/** A decoder may also have been too slow because the machine was busy. */
const RETRY_AFTER_DEATH_MS = 600_000;

interface Failure {
  readonly why: ChildRefusal;
  /** On the monotonic clock. */
  readonly until: number;
}

/** Finds and makes thumbnails. */
export class Thumbnails {
  readonly #deps: ThumbnailsDeps;
  readonly #making = new Map<string, Promise<ThumbnailRow>>();
  readonly #failures = new LruCache<string, Failure>({ maxEntries: MAX_REMEMBERED_FAILURES });

  constructor(deps: ThumbnailsDeps) {
    this.#deps = deps;
  }

  /** Returns a thumbnail of a file. Throws 400 for what has none, 413 (502 for remote files) for what is too large. */
  async find(
    media: FoundMedia,
    { size: wanted, isAnimated }: { size: ThumbnailSize; isAnimated: boolean },
  ): Promise<ServedThumbnail> {
    const { db, store, downloads, settings } = this.#deps;
    const size = chooseSize(wanted, { sizes: settings.thumbnailSizes, isDynamic: settings.dynamicThumbnails });
    const key: ThumbnailKey = { origin: media.origin, mediaId: media.mediaId, ...size, isAnimated };
    const row = await selectThumbnail(db, key) ?? await this.#makeOnce(media, key);
    if (row.isOriginal) {
      return {
        contentType: row.contentType,
        length: media.length,
        etag: media.sha256,
        open: (range) => downloads.open(media, range),
      };
    }
    const path = this.#pathOf(media, { ...key, contentType: row.contentType });
    return {
      contentType: row.contentType,
      length: row.length,
      etag: media.sha256 === null ? null : `${media.sha256}-${size.width}-${size.height}-${size.method}-${isAnimated}`,
      open: (range) => store.read(path, range),
    };
  }

  async #makeOnce(media: FoundMedia, key: ThumbnailKey): Promise<ThumbnailRow> {
    const name = JSON.stringify(key);
    let making = this.#making.get(name);
    if (making === undefined) {
      making = this.#make(media, key).finally(() => this.#making.delete(name));
      this.#making.set(name, making);
    }
    return await making;
  }

  async #make(media: FoundMedia, key: ThumbnailKey): Promise<ThumbnailRow> {
    const file = `${media.origin}/${media.mediaId}`;
    const { children, clock, downloads, settings } = this.#deps;
    const known = this.#failures.get(file);
    if (media.length > MAX_INPUT_BYTES) throw refusal("too_large", this.#isRemote(media));
    if (known !== undefined && known.until > clock.monotonic()) throw refusal(known.why, this.#isRemote(media));
    const job = {
      kind: "thumbnail",
      width: key.width,
      height: key.height,
      method: key.method,
      isAnimated: key.isAnimated,
      maxPixels: settings.maxImagePixels,
    } as const;
    const output = await children.run(job, async () => ({ stream: await downloads.open(media), length: media.length }));
    if (output === null || !output.answer.ok) {
      const why = output === null || output.answer.ok ? "unsupported" : output.answer.refusal;
      this.#failures.set(file, { why, until: output === null ? clock.monotonic() + RETRY_AFTER_DEATH_MS : Infinity });
      throw refusal(why, this.#isRemote(media));
    }
    return await this.#keep(media, { key, result: output.answer.result as ThumbnailResult, bytes: output.bytes });
  }

  async #keep(
    media: FoundMedia,
    { key, result, bytes }: { key: ThumbnailKey; result: ThumbnailResult; bytes: Uint8Array },
  ): Promise<ThumbnailRow> {
    const { db, store } = this.#deps;
    const { contentType, isOriginal } = result;
    const row = { contentType, isOriginal, length: bytes.length };
    const path = this.#pathOf(media, { ...key, contentType });
    if (!isOriginal) await store.put(path, once(bytes));
    if (await db.transaction((tx) => insertThumbnail(tx, { ...key, ...row }))) return row;
    if (!isOriginal) await store.delete(path);
    throw notFound();
  }

  #pathOf(media: FoundMedia, thumbnail: ThumbnailSize & { isAnimated: boolean; contentType: string }): BlobPath {
    return thumbnailPath(thumbnailFolder(media, this.#deps.serverName), thumbnail);
  }

  #isRemote({ origin }: FoundMedia): boolean {
    return origin !== this.#deps.serverName;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function refusal(why: ChildRefusal, isRemote: boolean): MatrixError {
  if (why === "unsupported") {
    return new MatrixError(400, "M_UNKNOWN", "Cannot generate thumbnails for the requested content");
  }
  const message = "Content is too large to thumbnail";
  return isRemote ? new MatrixError(502, "M_TOO_LARGE", message) : tooLarge(message);
}
