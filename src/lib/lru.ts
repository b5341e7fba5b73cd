/** A bounded cache: the entries used least recently go first. */

/** How a cache is bounded: by the number of entries, or by the sum of their sizes in bytes. */
export type LruOptions<V> =
  & (
    | { readonly maxEntries: number }
    | { readonly maxBytes: number; readonly sizeOf: (value: V) => number }
  )
  & {
    /** What it is called in metrics; one without a name is in none. */
    readonly name?: string;
    /** Called with each value dropped because of the bound. */
    readonly onEvict?: (value: V) => void;
  };

/** How well a cache does. */
export interface CacheFigures {
  readonly name: string;
  readonly hits: number;
  readonly misses: number;
  /** What the bound counts: entries, or bytes. */
  readonly size: number;
  readonly maxSize: number;
  /** Of what was dropped because of the bound. */
  readonly evicted: number;
  /** Of what was removed because it no longer held. */
  readonly invalidated: number;
}

/** The caches of this process that have names, as loggers do, so that whoever collects metrics need not be told of each. */
const NAMED = new Set<WeakRef<LruCache<never, never>>>();

/** Returns figures of the caches with names; those of the same name are counted together. */
export function namedCaches(): CacheFigures[] {
  const found = new Map<string, CacheFigures>();
  for (const reference of NAMED) {
    const figures = reference.deref()?.figures();
    if (figures === undefined) {
      NAMED.delete(reference);
      continue;
    }
    const { name } = figures;
    const known = found.get(name) ??
      { ...figures, hits: 0, misses: 0, size: 0, maxSize: 0, evicted: 0, invalidated: 0 };
    found.set(name, {
      name,
      hits: known.hits + figures.hits,
      misses: known.misses + figures.misses,
      size: known.size + figures.size,
      maxSize: known.maxSize + figures.maxSize,
      evicted: known.evicted + figures.evicted,
      invalidated: known.invalidated + figures.invalidated,
    });
  }
  return [...found.values()];
}

interface Entry<K, V> {
  readonly key: K;
  value: V;
  size: number;
  older: Entry<K, V> | null;
  newer: Entry<K, V> | null;
}

/**
 * A map that forgets what was not used for longest.
 *
 * The order is a list beside the `Map`, because a key that is deleted from a `Map` and set again, over and over, leaves
 * a trail that each later look-up of it walks: with thousands of entries that costs more than a read from the database.
 */
export class LruCache<K, V> {
  readonly #entries = new Map<K, Entry<K, V>>();
  #limit: number;
  readonly #sizeOf: ((value: V) => number) | null;
  readonly #onEvict: ((value: V) => void) | null;
  #oldest: Entry<K, V> | null = null;
  #newest: Entry<K, V> | null = null;
  #size = 0;
  readonly #name: string;
  #hits = 0;
  #misses = 0;
  #evicted = 0;
  #invalidated = 0;

  constructor(options: LruOptions<V>) {
    this.#name = options.name ?? "";
    if (options.name !== undefined) NAMED.add(new WeakRef<LruCache<never, never>>(this as never));
    this.#limit = "maxEntries" in options ? options.maxEntries : options.maxBytes;
    this.#sizeOf = "sizeOf" in options ? options.sizeOf : null;
    this.#onEvict = options.onEvict ?? null;
  }

  /** Tells how well it does. */
  figures(): CacheFigures {
    return {
      name: this.#name,
      hits: this.#hits,
      misses: this.#misses,
      size: this.#size,
      maxSize: this.#limit,
      evicted: this.#evicted,
      invalidated: this.#invalidated,
    };
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
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    if (entry !== this.#newest) {
      this.#unlink(entry);
      this.#link(entry);
    }
    return entry.value;
  }

  /** Returns the value without touching the order. */
  peek(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Adds or replaces a value, then drops the oldest ones while the cache is over its bound. */
  set(key: K, value: V): void {
    const size = this.#sizeOf ? this.#sizeOf(value) : 1;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { key, value, size, older: null, newer: null };
      this.#entries.set(key, entry);
    } else {
      this.#unlink(entry);
      this.#size -= entry.size;
      entry.value = value;
      entry.size = size;
    }
    this.#link(entry);
    this.#size += size;
    this.#dropOldest();
  }

  /** Sets another bound, and drops what is over it. */
  resize(limit: number): void {
    this.#limit = limit;
    this.#dropOldest();
  }

  /** Removes an entry; tells whether it was there. */
  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#invalidated += entry.size;
    this.#remove(entry);
    return true;
  }

  /** Removes all entries. */
  clear(): void {
    this.#invalidated += this.#size;
    this.#entries.clear();
    this.#oldest = null;
    this.#newest = null;
    this.#size = 0;
  }

  /** Iterates over the keys, oldest first. */
  *keys(): IterableIterator<K> {
    for (let entry = this.#oldest; entry !== null; entry = entry.newer) yield entry.key;
  }

  /** The entry used last stays, however big it is. */
  #dropOldest(): void {
    while (this.#size > this.#limit && this.#oldest !== null && this.#oldest !== this.#newest) {
      const dropped = this.#oldest;
      this.#evicted += dropped.size;
      this.#remove(dropped);
      this.#onEvict?.(dropped.value);
    }
  }

  #remove(entry: Entry<K, V>): void {
    this.#unlink(entry);
    this.#size -= entry.size;
    this.#entries.delete(entry.key);
  }

  #link(entry: Entry<K, V>): void {
    entry.older = this.#newest;
    entry.newer = null;
    if (this.#newest === null) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }

  #unlink(entry: Entry<K, V>): void {
    if (entry.older === null) this.#oldest = entry.newer;
    else entry.older.newer = entry.newer;
    if (entry.newer === null) this.#newest = entry.older;
    else entry.newer.older = entry.older;
  }
}
