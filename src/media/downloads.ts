/**
 * Finding the files that clients ask for. Spec: client-server API, "Content repository".
 *
 * A reserved id is waited for; media of other servers are fetched once and kept; what is quarantined, or was uploaded
 * since media need a token and is asked for without one, is not found.
 */
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { insertMedia, type MediaKey, type MediaRow, selectMedia } from "../storage/media.ts";
import type { MediaArrivals } from "./arrivals.ts";
import { contentPath } from "./blob_paths.ts";
import type { BlobStore, ByteRange } from "./blob_store.ts";
import type { MediaLastAccess } from "./last_access.ts";
import { DownloadQuota } from "./download_quota.ts";
import { quarantinerOf } from "./quarantine.ts";
import { IncomingFile } from "./receive.ts";
import type { RemoteMedia } from "./remote_media.ts";

/** What the service is built from. */
export interface MediaDownloadsDeps {
  readonly db: Database;
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly arrivals: MediaArrivals;
  readonly lastAccess: MediaLastAccess;
  /** Null where media of other servers cannot be fetched. */
  readonly remote: RemoteMedia | null;
  readonly settings: Pick<
    Config["media"],
    | "enableAuthenticatedMedia"
    | "maxUploadSize"
    | "preventMediaDownloadsFrom"
    | "remoteMediaDownloadBurstCount"
    | "remoteMediaDownloadPerSecond"
  >;
}

/** How a file is asked for. */
export interface FindOptions {
  /** How long an upload, or another server, is waited for. */
  readonly timeoutMs: number;
  /** Whether the request came with an access token. */
  readonly isAuthenticated: boolean;
  /** Whether another server may be asked. */
  readonly allowRemote: boolean;
  /** The address whose quota a fetch counts against; null for none. */
  readonly clientIp: string | null;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
  /** Finds quarantined files too: for administrators only. */
  readonly includeQuarantined?: boolean;
}

/** A file that is there. */
export interface FoundMedia extends MediaRow {
  readonly length: number;
}

/** How long an upload by another process may go unnoticed. */
const LOOK_AGAIN_MS = 1_000;

/** Finds and opens files. */
export class MediaDownloads {
  readonly #deps: MediaDownloadsDeps;
  readonly #fetching = new Map<string, Promise<MediaRow>>();

  readonly #quota: DownloadQuota;

  constructor(deps: MediaDownloadsDeps) {
    this.#deps = deps;
    const { clock, settings } = deps;
    const [burst, perSecond] = [settings.remoteMediaDownloadBurstCount, settings.remoteMediaDownloadPerSecond];
    this.#quota = new DownloadQuota({ clock, burst, perSecond });
  }

  /** Returns a file's description. Throws 404 when there is none, 504 when its upload does not come in time. */
  async find(key: MediaKey, options: FindOptions): Promise<FoundMedia> {
    const { serverName, lastAccess, settings } = this.#deps;
    const row = key.origin === serverName ? await this.#findLocal(key, options) : await this.#findRemote(key, options);
    const needsToken = settings.enableAuthenticatedMedia && row.isAuthenticated && !options.isAuthenticated;
    const isHidden = row.quarantinedBy !== null && options.includeQuarantined !== true;
    if (needsToken || isHidden || row.length === null) throw notFound();
    lastAccess.note(row);
    return { ...row, length: row.length };
  }

  /** Opens a file or a part of it. Throws 404 when the store has lost it. */
  async open(media: FoundMedia, range?: ByteRange): Promise<ReadableStream<Uint8Array>> {
    const { store, serverName } = this.#deps;
    const stream = await store.read(contentPath(media, serverName), range);
    if (stream === null) throw notFound();
    return stream;
  }

  async #findLocal(key: MediaKey, { timeoutMs, signal }: FindOptions): Promise<MediaRow> {
    const { db, clock } = this.#deps;
    const deadline = clock.monotonic() + timeoutMs;
    while (true) {
      const row = await selectMedia(db, key);
      if (row === null) throw notFound();
      if (row.length !== null || row.quarantinedBy !== null) return row;
      if ((row.unusedExpiresTs ?? 0) <= clock.now()) throw notFound();
      const left = deadline - clock.monotonic();
      if (left <= 0 || signal.aborted) {
        throw new MatrixError(504, "M_NOT_YET_UPLOADED", "Media has not been uploaded yet");
      }
      await this.#waitForUpload(key.mediaId, { ms: Math.min(left, LOOK_AGAIN_MS), signal });
    }
  }

  async #waitForUpload(mediaId: string, { ms, signal }: { ms: number; signal: AbortSignal }): Promise<void> {
    const { arrivals, clock } = this.#deps;
    const stop = new AbortController();
    const either = AbortSignal.any([stop.signal, signal]);
    await Promise.race([arrivals.waitFor(mediaId, either), clock.sleep(ms, either)]);
    stop.abort();
  }

  async #findRemote(key: MediaKey, options: FindOptions): Promise<MediaRow> {
    const { db, remote, settings } = this.#deps;
    if (settings.preventMediaDownloadsFrom.includes(key.origin)) throw notFound();
    const known = await selectMedia(db, key);
    if (known !== null) return known;
    if (!options.allowRemote) throw notFound();
    if (remote === null) throw new MatrixError(502, "M_UNKNOWN", "Cannot fetch media of other servers");
    const name = `${key.origin}/${key.mediaId}`;
    const running = this.#fetching.get(name);
    if (running !== undefined) return await running;
    const { clientIp } = options;
    if (clientIp !== null) this.#quota.assertSomeLeft(clientIp);
    const fetching = this.#fetch(key, { remote, timeoutMs: options.timeoutMs })
      .finally(() => this.#fetching.delete(name));
    this.#fetching.set(name, fetching);
    const row = await fetching;
    if (clientIp !== null) this.#quota.take(clientIp, row.length ?? 0);
    return row;
  }

  /** Fetches a file for all who wait for it: it goes on when one of them goes away. */
  async #fetch(
    key: MediaKey,
    { remote, timeoutMs }: { remote: RemoteMedia; timeoutMs: number },
  ): Promise<MediaRow> {
    const { db, store, clock, serverName, settings } = this.#deps;
    const maxBytes = settings.maxUploadSize;
    const source = await remote.fetch(key, { timeoutMs, maxBytes, signal: new AbortController().signal });
    const fileId = randomString(24);
    const file = new IncomingFile(source.body, { maxBytes });
    const path = contentPath({ origin: key.origin, fileId, isUrlCache: false }, serverName);
    await store.put(path, file).catch((error) => {
      const isTooLarge = error instanceof MatrixError && error.status === 413;
      throw isTooLarge ? new MatrixError(502, "M_TOO_LARGE", "Content is too large to serve") : error;
    });
    const now = clock.now();
    const sha256 = file.sha256();
    const inserted = await db.transaction(async (tx) => {
      return await insertMedia(tx, {
        ...key,
        fileId,
        userId: null,
        contentType: source.contentType,
        uploadName: source.uploadName,
        createdTs: now,
        length: file.length,
        unusedExpiresTs: null,
        sha256,
        lastAccessTs: now,
        isAuthenticated: settings.enableAuthenticatedMedia,
        isUrlCache: false,
        sourceUrl: null,
        quarantinedBy: await quarantinerOf(tx, sha256),
        safeFromQuarantine: false,
      });
    });
    // Another process may have fetched it meanwhile.
    if (!inserted) await store.delete(path);
    const row = await selectMedia(db, key);
    if (row === null) throw notFound();
    return row;
  }
}
