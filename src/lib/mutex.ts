/** Mutual exclusion between asynchronous tasks. */

/** Runs tasks one at a time, first come first served. */
export class Mutex {
  #tail: Promise<void> = Promise.resolve();

  /** Runs `task` once all earlier ones have ended, however they ended. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const previous = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    await previous;
    try {
      return await task();
    } finally {
      resolve();
    }
  }
}

/** A mutex for each key; keys that nobody waits for take no memory. */
export class KeyedMutex<K> {
  readonly #tails = new Map<K, Promise<void>>();

  /** Runs `task` once all earlier ones of the same key have ended. */
  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    const previous = this.#tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tails.set(key, promise);
    await previous;
    try {
      return await task();
    } finally {
      if (this.#tails.get(key) === promise) this.#tails.delete(key);
      resolve();
    }
  }
}
