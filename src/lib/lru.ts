/** A bounded cache: the entries used least recently go first. */

/** How a cache is bounded: by the number of entries, or by the sum of their sizes in bytes. */
export type LruOptions<V> =
  & (
    | { readonly maxEntries: number }
    | { readonly maxBytes: number; readonly sizeOf: (value: V) => number }
  )
  & {
    /** Called with each value dropped because of the bound. */
    readonly onEvict?: (value: V) => void;
  };

/**
 * A map that forgets what was not used for longest.
 *
 * A `Map` iterates in the order of insertion, so using an entry moves it to the end and the first one is the oldest.
 */
export class LruCache<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #limit: number;
  readonly #sizeOf: ((value: V) => number) | null;
  readonly #onEvict: ((value: V) => void) | null;
  #size = 0;

  constructor(options: LruOptions<V>) {
    this.#limit = "maxEntries" in options ? options.maxEntries : options.maxBytes;
    this.#sizeOf = "sizeOf" in options ? options.sizeOf : null;
    this.#onEvict = options.onEvict ?? null;
  }

  /** The number of entries. */
  get count(): number {
    return this.#entries.size;
  }

  /** What the bound counts: entries, or bytes. */
  get size(): number {
    return this.#size;
  }

  /** Returns the value and makes it the most recently used. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Returns the value without touching the order. */
  peek(key: K): V | undefined {
    return this.#entries.get(key);
  }

  /** Adds or replaces a value, then drops the oldest ones while the cache is over its bound. */
  set(key: K, value: V): void {
    this.delete(key);
    this.#entries.set(key, value);
    this.#size += this.#weigh(value);
    while (this.#size > this.#limit && this.#entries.size > 1) {
      const oldest = this.#entries.entries().next();
      if (oldest.done) return;
      const [oldestKey, dropped] = oldest.value;
      this.delete(oldestKey);
      this.#onEvict?.(dropped);
    }
  }

  /** Removes an entry; tells whether it was there. */
  delete(key: K): boolean {
    const value = this.#entries.get(key);
    if (value === undefined) return false;
    this.#size -= this.#weigh(value);
    return this.#entries.delete(key);
  }

  /** Removes all entries. */
  clear(): void {
    this.#entries.clear();
    this.#size = 0;
  }

  /** Iterates over the keys, oldest first. */
  keys(): IterableIterator<K> {
    return this.#entries.keys();
  }

  #weigh(value: V): number {
    return this.#sizeOf ? this.#sizeOf(value) : 1;
  }
}
