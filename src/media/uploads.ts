/**
 * Uploads, in one step or in two. Spec: client-server API, "Content repository".
 *
 * The bytes are in the store before the database knows of them, so a row without its file cannot exist; a file without a
 * row is what a killed process may leave, and is harmless.
 */
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { forbidden, MatrixError, notFound } from "../protocol/errors.ts";
import type { ServerName, UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  completeMedia,
  countPendingMedia,
  deleteExpiredReservations,
  insertMedia,
  lockUploader,
  type MediaRow,
  selectMedia,
  sumUploads,
} from "../storage/media.ts";
import type { MediaArrivals } from "./arrivals.ts";
import { contentPath } from "./blob_paths.ts";
import type { BlobStore } from "./blob_store.ts";
import { quarantinerOf } from "./quarantine.ts";
import { IncomingFile, uploadTooLarge } from "./receive.ts";

/** What the service is built from. */
export interface MediaUploadsDeps {
  readonly db: Database;
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly arrivals: MediaArrivals;
  /** Where clients reach this server, with a slash at the end. */
  readonly publicBaseurl: string;
  readonly settings: Pick<
    Config["media"],
    | "enableAuthenticatedMedia"
    | "maxPendingMediaUploads"
    | "maxUploadSize"
    | "mediaUploadLimits"
    | "unusedExpirationTime"
  >;
}

type UploadLimit = Config["media"]["mediaUploadLimits"][number];

/** Where users are told of limits that name no page of their own: a path below `public_baseurl`. */
export const UPLOAD_LIMIT_PAGE = "_synapse/client/media_upload_limit_exceeded";

/** A file as a client sends it. */
export interface Upload {
  readonly userId: UserId;
  readonly contentType: string;
  readonly uploadName: string | null;
  /** What the client says the size is; null when it does not. */
  readonly declaredLength: number | null;
  readonly body: ReadableStream<Uint8Array> | null;
}

interface Received {
  readonly fileId: string;
  readonly length: number;
  readonly sha256: string;
}

const MEDIA_ID_LENGTH = 24;

/** Takes files from local users. */
export class MediaUploads {
  readonly #deps: MediaUploadsDeps;

  constructor(deps: MediaUploadsDeps) {
    this.#deps = deps;
  }

  /** Returns what `GET /config` says. */
  get maxUploadSize(): number {
    return this.#deps.settings.maxUploadSize;
  }

  /** Stores a file and returns its `mxc://` URI. Throws 413 for one that is too large, 403 over the user's quota. */
  async upload(upload: Upload): Promise<string> {
    const { db } = this.#deps;
    await this.#checkBefore(upload);
    const mediaId = randomString(MEDIA_ID_LENGTH);
    const received = await this.#receive(upload, mediaId);
    await this.#keepOrDelete(received, () =>
      db.transaction(async (tx) => {
        await this.#checkQuota(tx, { userId: upload.userId, length: received.length });
        const row = { ...this.#newRow(upload.userId, mediaId), ...fileOf(upload, received) };
        const quarantinedBy = await quarantinerOf(tx, received.sha256);
        if (!await insertMedia(tx, { ...row, quarantinedBy })) throw new Error("A random media id is taken");
      }));
    return this.#uri(mediaId);
  }

  /** Reserves a media id. Throws 429 when the user has too many that wait for their upload. */
  async create(userId: UserId): Promise<{ contentUri: string; unusedExpiresAt: number }> {
    const { db, clock, settings } = this.#deps;
    const mediaId = randomString(MEDIA_ID_LENGTH);
    const now = clock.now();
    const unusedExpiresTs = now + settings.unusedExpirationTime;
    await db.transaction(async (tx) => {
      await lockUploader(tx, userId);
      const { count, earliestExpiryTs } = await countPendingMedia(tx, { userId, now });
      if (count >= settings.maxPendingMediaUploads) {
        throw new MatrixError(429, "M_LIMIT_EXCEEDED", "Too many media ids wait for their upload", {
          retry_after_ms: Math.max(0, (earliestExpiryTs ?? unusedExpiresTs) - now),
        });
      }
      await insertMedia(tx, { ...this.#newRow(userId, mediaId), unusedExpiresTs });
    });
    return { contentUri: this.#uri(mediaId), unusedExpiresAt: unusedExpiresTs };
  }

  /** Stores the file of a reserved media id. Throws 404, 403 and 409 as the spec says. */
  async complete(upload: Upload, { origin, mediaId }: { origin: ServerName; mediaId: string }): Promise<void> {
    const { db, arrivals, clock } = this.#deps;
    await this.#checkReserved(upload.userId, { origin, mediaId });
    await this.#checkBefore(upload);
    const received = await this.#receive(upload, randomString(MEDIA_ID_LENGTH));
    await this.#keepOrDelete(received, () =>
      db.transaction(async (tx) => {
        await this.#checkQuota(tx, { userId: upload.userId, length: received.length });
        const quarantinedBy = await quarantinerOf(tx, received.sha256);
        const file = fileOf(upload, received);
        if (!await completeMedia(tx, { origin, mediaId, file, quarantinedBy, now: clock.now() })) {
          throw cannotOverwrite();
        }
        tx.afterCommit(() => arrivals.announce(mediaId));
      }));
  }

  /** Forgets reservations whose time is over; called from time to time. */
  async expireReservations(): Promise<number> {
    const { db, clock } = this.#deps;
    return await db.transaction((tx) => deleteExpiredReservations(tx, clock.now()));
  }

  async #checkReserved(userId: UserId, key: { origin: ServerName; mediaId: string }): Promise<void> {
    const { db, clock, serverName } = this.#deps;
    const row = key.origin === serverName ? await selectMedia(db, key) : null;
    if (row === null) throw notFound("Unknown media ID");
    if (row.userId !== userId) throw forbidden("Only the creator of the media ID can upload to it");
    if (row.length !== null) throw cannotOverwrite();
    if ((row.unusedExpiresTs ?? 0) <= clock.now()) throw notFound("The media ID has expired");
  }

  /** Refuses by what the client announces, before any byte is read. */
  async #checkBefore({ userId, declaredLength }: Upload): Promise<void> {
    const { db, settings } = this.#deps;
    if (declaredLength === null) return;
    if (declaredLength > settings.maxUploadSize) throw uploadTooLarge(settings.maxUploadSize);
    if (settings.mediaUploadLimits.length > 0) await this.#refuseOverQuota(db, { userId, length: declaredLength });
  }

  async #checkQuota(tx: Tx, { userId, length }: { userId: UserId; length: number }): Promise<void> {
    if (this.#deps.settings.mediaUploadLimits.length === 0) return;
    await lockUploader(tx, userId);
    await this.#refuseOverQuota(tx, { userId, length });
  }

  async #refuseOverQuota(db: Database | Tx, { userId, length }: { userId: UserId; length: number }): Promise<void> {
    const now = this.#deps.clock.now();
    for (const limit of this.#deps.settings.mediaUploadLimits) {
      const uploaded = await sumUploads(db, { userId, from: now - limit.timePeriod });
      if (uploaded + length > limit.maxSize) throw this.#overLimit(limit);
    }
  }

  /** Spec: "Common error codes". */
  #overLimit({ infoUri, canUpgrade, msc4335InfoUri, msc4335SoftLimit }: UploadLimit): MatrixError {
    return new MatrixError(403, "M_USER_LIMIT_EXCEEDED", "You have reached the limit of what you may upload", {
      info_uri: infoUri ?? msc4335InfoUri ?? `${this.#deps.publicBaseurl}${UPLOAD_LIMIT_PAGE}`,
      ...(canUpgrade || msc4335SoftLimit ? { can_upgrade: true } : {}),
    });
  }

  async #receive({ body }: Upload, fileId: string): Promise<Received> {
    const { store, settings, serverName } = this.#deps;
    const file = new IncomingFile(body, { maxBytes: settings.maxUploadSize });
    await store.put(contentPath({ origin: serverName, fileId, isUrlCache: false }, serverName), file);
    return { fileId, length: file.length, sha256: file.sha256() };
  }

  async #keepOrDelete({ fileId }: Received, work: () => Promise<void>): Promise<void> {
    const { store, serverName } = this.#deps;
    try {
      await work();
    } catch (error) {
      // A failed commit may have taken place all the same, so only a clear refusal deletes the file.
      const path = contentPath({ origin: serverName, fileId, isUrlCache: false }, serverName);
      if (error instanceof MatrixError) await store.delete(path);
      throw error;
    }
  }

  #newRow(userId: UserId, mediaId: string): MediaRow {
    const { clock, serverName, settings } = this.#deps;
    const now = clock.now();
    return {
      origin: serverName,
      mediaId,
      fileId: mediaId,
      userId,
      contentType: "application/octet-stream",
      uploadName: null,
      createdTs: now,
      length: null,
      unusedExpiresTs: null,
      sha256: null,
      lastAccessTs: now,
      isAuthenticated: settings.enableAuthenticatedMedia,
      isUrlCache: false,
      sourceUrl: null,
      quarantinedBy: null,
      safeFromQuarantine: false,
    };
  }

  #uri(mediaId: string): string {
    return `mxc://${this.#deps.serverName}/${mediaId}`;
  }
}

function fileOf({ contentType, uploadName }: Upload, received: Received) {
  return { contentType, uploadName, ...received };
}

function cannotOverwrite(): MatrixError {
  return new MatrixError(409, "M_CANNOT_OVERWRITE_MEDIA", "Media already uploaded");
}
