/**
 * Deleting media, for administrators and for the rules of retention.
 *
 * The row goes first: a file without a row is never served, a row without a file would be an error.
 */
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { type MediaKey, type MediaRow, selectMedia } from "../storage/media.ts";
import { deleteMediaRows, selectUnusedMedia } from "../storage/media_removal.ts";
import { contentPath, thumbnailFolder } from "./blob_paths.ts";
import type { BlobStore } from "./blob_store.ts";

/** What the service is built from. */
export interface MediaRemovalDeps {
  readonly db: Database;
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly settings: Pick<Config["media"], "mediaRetention">;
}

const BATCH = 100;

/** Deletes files. */
export class MediaRemoval {
  readonly #deps: MediaRemovalDeps;

  constructor(deps: MediaRemovalDeps) {
    this.#deps = deps;
  }

  /** Deletes a file; tells whether there was one. */
  async delete(key: MediaKey): Promise<boolean> {
    const row = await selectMedia(this.#deps.db, key);
    if (row === null) return false;
    await this.remove([row]);
    return true;
  }

  /** Deletes files with their thumbnails. */
  async remove(rows: readonly MediaRow[]): Promise<void> {
    const { db, store, serverName } = this.#deps;
    if (rows.length === 0) return;
    await db.transaction((tx) => deleteMediaRows(tx, rows));
    for (const row of rows) {
      await store.delete(contentPath(row, serverName));
      await store.deleteFolder(thumbnailFolder(row, serverName));
    }
  }

  /** Deletes some of what was not used for as long as `media_retention` says; returns how many files. */
  async applyRetention(): Promise<number> {
    const { db, clock, serverName, settings } = this.#deps;
    const { localMediaLifetime, remoteMediaLifetime } = settings.mediaRetention;
    let count = 0;
    for (const [lifetime, isLocal] of [[localMediaLifetime, true], [remoteMediaLifetime, false]] as const) {
      if (lifetime === null) continue;
      const rows = await selectUnusedMedia(db, { before: clock.now() - lifetime, isLocal, serverName, limit: BATCH });
      await this.remove(rows);
      count += rows.length;
    }
    return count;
  }
}
