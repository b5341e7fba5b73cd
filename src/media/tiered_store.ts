/**
 * The local disk with further stores behind it: `media_storage_providers`.
 *
 * What is written goes to the disk and from there to the stores that want it; what the disk lacks is brought back from
 * them. With `enable_local_media_storage` off the stores stand alone.
 */
import type { Logger } from "../lib/log.ts";
import type { BlobPath } from "./blob_paths.ts";
import type { BlobStore, ByteRange } from "./blob_store.ts";

/** A further store and what it gets. */
export interface Provider {
  readonly store: BlobStore;
  /** What local users upload. */
  readonly storesLocal: boolean;
  /** What is fetched from other servers. */
  readonly storesRemote: boolean;
  /** Whether an upload is only answered once it is here too. */
  readonly isSynchronous: boolean;
}

/** What the store is built from. */
export interface TieredStoreDeps {
  /** Null where the disk keeps nothing. */
  readonly local: BlobStore | null;
  readonly providers: readonly Provider[];
  readonly log: Logger;
}

/** A `BlobStore` over several. */
export class TieredStore implements BlobStore {
  readonly #deps: TieredStoreDeps;
  readonly #copying = new Set<Promise<void>>();

  constructor(deps: TieredStoreDeps) {
    this.#deps = deps;
  }

  async put(path: BlobPath, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const { local, providers } = this.#deps;
    if (local === null) return await this.#putToFirst(path, bytes);
    await local.put(path, bytes);
    const wanting = providers.filter((provider) => wants(provider, path));
    try {
      await Promise.all(wanting.filter((each) => each.isSynchronous).map(({ store }) => this.#copy(path, store)));
    } catch (error) {
      await local.delete(path);
      throw error;
    }
    for (const { store } of wanting.filter(({ isSynchronous }) => !isSynchronous)) this.#copyLater(path, store);
  }

  async read(path: BlobPath, range?: ByteRange): Promise<ReadableStream<Uint8Array> | null> {
    const { local, providers } = this.#deps;
    const found = await local?.read(path, range) ?? null;
    if (found !== null) return found;
    for (const { store } of providers) {
      const stream = await store.read(path, local === null ? range : undefined);
      if (stream === null) continue;
      if (local === null) return stream;
      await local.put(path, stream);
      return await local.read(path, range);
    }
    return null;
  }

  async delete(path: BlobPath): Promise<void> {
    await Promise.all(this.#all().map((store) => store.delete(path)));
  }

  async deleteFolder(path: BlobPath): Promise<void> {
    await Promise.all(this.#all().map((store) => store.deleteFolder(path)));
  }

  /** Waits for the copies under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#copying);
    for (const store of this.#all()) await store[Symbol.asyncDispose]();
  }

  /** Without a disk everything must be somewhere: with the first store that wants it, else with the first. */
  async #putToFirst(path: BlobPath, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const { providers } = this.#deps;
    const provider = providers.find((each) => wants(each, path)) ?? providers[0];
    if (provider === undefined) throw new Error("There is no media store");
    await provider.store.put(path, bytes);
  }

  async #copy(path: BlobPath, store: BlobStore): Promise<void> {
    const stream = await this.#deps.local?.read(path) ?? null;
    if (stream !== null) await store.put(path, stream);
  }

  #copyLater(path: BlobPath, store: BlobStore): void {
    const copying = this.#copy(path, store)
      .catch((error) => this.#deps.log.error("Cannot copy a file to a media storage provider", { path, error }))
      .finally(() => this.#copying.delete(copying));
    this.#copying.add(copying);
  }

  #all(): BlobStore[] {
    const { local, providers } = this.#deps;
    return [...(local === null ? [] : [local]), ...providers.map(({ store }) => store)];
  }
}

function wants({ storesLocal, storesRemote }: Provider, path: BlobPath): boolean {
  // Previews can be made again.
  if (path.startsWith("url_cache")) return false;
  return path.startsWith("local_") ? storesLocal : storesRemote;
}
