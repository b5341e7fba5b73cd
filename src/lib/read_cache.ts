/** A bounded cache of what is read from elsewhere, which never keeps what changed while it was read. */
import { LruCache } from "./lru.ts";

/** Keeps the results of reads until their keys are forgotten, the least recently used go first. */
export class ReadCache<K, V> {
  readonly #kept: LruCache<K, V>;
  #changes = 0;

  constructor(options: { readonly maxEntries: number; readonly name?: string }) {
    this.#kept = new LruCache(options);
  }

  /** Returns the kept value, if there is one. */
  peek(key: K): V | undefined {
    return this.#kept.get(key);
  }

  /** Returns the kept value, or reads it. */
  async get(key: K, read: () => Promise<V>): Promise<V> {
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const changes = this.#changes;
    const value = await read();
    // A read that was under way during any change may have seen what was before it.
    if (changes === this.#changes) this.#kept.set(key, value);
    return value;
  }

  /** Reads those of the values that are not kept, at once. */
  async fill(keys: readonly K[], read: (missing: readonly K[]) => Promise<ReadonlyMap<K, V>>): Promise<void> {
    const missing = keys.filter((key) => this.#kept.get(key) === undefined);
    if (missing.length === 0) return;
    const changes = this.#changes;
    const values = await read(missing);
    if (changes !== this.#changes) return;
    for (const [key, value] of values) this.#kept.set(key, value);
  }

  /** Forgets a value, once what it was read from has changed. */
  forget(key: K): void {
    this.#changes++;
    this.#kept.delete(key);
  }
}
