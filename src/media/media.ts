/** The media repository put together from its parts, by the configuration. */
import { resolve } from "node:path";
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { MediaArrivals } from "./arrivals.ts";
import { DiskStore } from "./disk_store.ts";
import { MediaDownloads } from "./downloads.ts";
import { MediaLastAccess } from "./last_access.ts";
import type { RemoteMedia } from "./remote_media.ts";
import { MediaUploads } from "./uploads.ts";

/** What the repository is built from. */
export interface MediaDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly settings: Config["media"];
  /** What a relative `media_store_path` is relative to. */
  readonly baseFolder: string;
  /** Null where media of other servers cannot be fetched. */
  readonly remote: RemoteMedia | null;
}

/** A temporary file this old belongs to no upload under way. */
const UNFINISHED_AFTER_MS = 86_400_000;

/** The services of the media repository. */
export class Media {
  readonly uploads: MediaUploads;
  readonly downloads: MediaDownloads;
  readonly lastAccess: MediaLastAccess;

  private constructor(deps: MediaDeps, store: DiskStore) {
    const { db, clock } = deps;
    const arrivals = new MediaArrivals();
    this.lastAccess = new MediaLastAccess({ db, clock });
    this.uploads = new MediaUploads({ ...deps, store, arrivals });
    this.downloads = new MediaDownloads({ ...deps, store, arrivals, lastAccess: this.lastAccess });
  }

  /** Opens the store and builds the services. */
  static async open(deps: MediaDeps): Promise<Media> {
    const root = resolve(deps.baseFolder, deps.settings.mediaStorePath);
    const store = await DiskStore.open(root, { unfinishedBefore: deps.clock.now() - UNFINISHED_AFTER_MS });
    return new Media(deps, store);
  }

  /** Does what is due from time to time; called about once a minute. */
  async tick(): Promise<void> {
    await this.lastAccess.flush();
    await this.uploads.expireReservations();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lastAccess.flush();
  }
}
