/** The media repository put together from its parts, by the configuration. */
import { resolve } from "node:path";
import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { getLogger } from "../lib/log.ts";
import { MediaArrivals } from "./arrivals.ts";
import { ChildPool } from "./child/child_pool.ts";
import { type ChildCommand, mediaChildCommand } from "./child/child_process.ts";
import { DiskStore } from "./disk_store.ts";
import { MediaDownloads } from "./downloads.ts";
import { MediaLastAccess } from "./last_access.ts";
import type { RemoteMedia } from "./remote_media.ts";
import { Thumbnails } from "./thumbnails.ts";
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
  /** How media children are started; by default the program itself. */
  readonly childCommand?: ChildCommand;
  /** After how long a job of a media child is given up. */
  readonly jobTimeoutMs?: number;
}

/** A temporary file this old belongs to no upload under way. */
const UNFINISHED_AFTER_MS = 86_400_000;
const MAX_CHILDREN = 2;
const CHILD_IDLE_MS = 15_000;
const JOB_TIMEOUT_MS = 20_000;

/** The services of the media repository. */
export class Media {
  readonly uploads: MediaUploads;
  readonly downloads: MediaDownloads;
  readonly thumbnails: Thumbnails;
  readonly lastAccess: MediaLastAccess;
  readonly #children: ChildPool;

  private constructor(deps: MediaDeps, store: DiskStore) {
    const { db, clock } = deps;
    const arrivals = new MediaArrivals();
    this.lastAccess = new MediaLastAccess({ db, clock });
    this.uploads = new MediaUploads({ ...deps, store, arrivals });
    this.downloads = new MediaDownloads({ ...deps, store, arrivals, lastAccess: this.lastAccess });
    this.#children = new ChildPool({
      clock,
      log: getLogger("synapse.media.child"),
      command: deps.childCommand ?? mediaChildCommand(),
      maxChildren: Math.max(1, Math.min(MAX_CHILDREN, navigator.hardwareConcurrency - 1)),
      jobTimeoutMs: deps.jobTimeoutMs ?? JOB_TIMEOUT_MS,
      idleMs: CHILD_IDLE_MS,
    });
    const { downloads } = this;
    this.thumbnails = new Thumbnails({ ...deps, store, downloads, children: this.#children });
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
    await this.#children[Symbol.asyncDispose]();
    await this.lastAccess.flush();
  }
}
