/** The media repository put together from its parts, by the configuration. */
import type { Config } from "../config/config.ts";
import { WebProxies } from "../federation/web_proxies.ts";
import type { Clock } from "../lib/clock.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { getLogger } from "../lib/log.ts";
import { VERSION } from "../lib/version.ts";
import { MediaArrivals } from "./arrivals.ts";
import type { BlobStore } from "./blob_store.ts";
import { ChildPool } from "./child/child_pool.ts";
import { type ChildCommand, mediaChildCommand } from "./child/child_process.ts";
import { MediaDownloads } from "./downloads.ts";
import { MediaLastAccess } from "./last_access.ts";
import { MediaAdmin } from "./media_admin.ts";
import { openStore } from "./open_store.ts";
import { AddressRules, type Resolve } from "./preview/address_rules.ts";
import type { Fetcher } from "./preview/fetcher.ts";
import { loadOembedProviders, type OembedProvider } from "./preview/oembed.ts";
import { UrlPreviews } from "./preview/url_previews.ts";
import { UrlRules } from "./preview/url_rules.ts";
import { MediaQuarantine } from "./quarantine.ts";
import type { RemoteMedia } from "./remote_media.ts";
import { MediaRemoval } from "./removal.ts";
import { Thumbnails } from "./thumbnails.ts";
import { MediaUploads } from "./uploads.ts";

/** What the repository is built from. */
export interface MediaDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly settings: Config["media"];
  /** Where clients reach this server, with a slash at the end. */
  readonly publicBaseurl: string;
  /** What a relative `media_store_path` is relative to. */
  readonly baseFolder: string;
  /** Null where media of other servers cannot be fetched. */
  readonly remote: RemoteMedia | null;
  /** How media children are started; by default the program itself. */
  readonly childCommand?: ChildCommand;
  /** After how long a job of a media child is given up. */
  readonly jobTimeoutMs?: number;
  /** Finds the addresses of sites for previews; by default the machine's resolver. */
  readonly resolve?: Resolve;
  /** Through which proxies previews are fetched; none by default. */
  readonly proxies?: WebProxies;
  /** What the server calls itself to the sites of URL previews. */
  readonly userAgent?: string;
}

const MAX_CHILDREN = 2;
const CHILD_IDLE_MS = 15_000;
const JOB_TIMEOUT_MS = 20_000;

/** The services of the media repository. */
export class Media {
  readonly uploads: MediaUploads;
  readonly downloads: MediaDownloads;
  readonly thumbnails: Thumbnails;
  readonly previews: UrlPreviews;
  readonly removal: MediaRemoval;
  readonly quarantine: MediaQuarantine;
  readonly admin: MediaAdmin;
  readonly lastAccess: MediaLastAccess;
  readonly #store: BlobStore;
  readonly #fetcher: Fetcher | null;
  readonly #children: ChildPool;

  private constructor(
    deps: MediaDeps,
    { store, providers, fetcher }: { store: BlobStore; providers: OembedProvider[]; fetcher: Fetcher | null },
  ) {
    const { db, clock } = deps;
    this.#store = store;
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
    this.removal = new MediaRemoval({ ...deps, store });
    this.quarantine = new MediaQuarantine({ db });
    this.admin = new MediaAdmin({ ...deps, ...this });
    this.#fetcher = fetcher;
    this.previews = new UrlPreviews({
      ...deps,
      store,
      children: this.#children,
      removal: this.removal,
      fetcher: this.#fetcher,
      providers,
    });
  }

  /** Opens the store and builds the services. */
  static async open(deps: MediaDeps): Promise<Media> {
    const store = await openStore({ ...deps, log: getLogger("synapse.media.store") });
    const providers = deps.settings.urlPreviewEnabled ? await loadOembedProviders(deps.settings.oembed) : [];
    const fetcher = deps.settings.urlPreviewEnabled ? await openFetcher(deps) : null;
    return new Media(deps, { store, providers, fetcher });
  }

  /** Does what is due from time to time; called about once a minute. */
  async tick(): Promise<void> {
    await this.lastAccess.flush();
    await this.uploads.expireReservations();
    await this.previews.expire();
    await this.removal.applyRetention();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#children[Symbol.asyncDispose]();
    await this.#fetcher?.[Symbol.asyncDispose]();
    await this.lastAccess.flush();
    await this.#store[Symbol.asyncDispose]();
  }
}

/** Loads the fetcher when it is used: its HTTP client takes 25 MB of memory. */
async function openFetcher(
  { settings, resolve, proxies, userAgent = `synapse-ts/${VERSION}` }: MediaDeps,
): Promise<Fetcher> {
  const { Fetcher } = await import("./preview/fetcher.ts");
  return new Fetcher({
    addresses: new AddressRules({
      denied: settings.urlPreviewIpRangeBlacklist ?? [],
      allowed: settings.urlPreviewIpRangeWhitelist,
    }),
    urls: new UrlRules(settings.urlPreviewUrlBlacklist),
    acceptLanguage: settings.urlPreviewAcceptLanguage,
    userAgent: `${userAgent} (bot)`,
    proxies: proxies ?? new WebProxies({ httpProxy: null, httpsProxy: null, noProxyHosts: [] }),
    ...(resolve === undefined ? {} : { resolve }),
  });
}
