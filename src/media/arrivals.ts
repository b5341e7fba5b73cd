/** Wakes requests that wait for a reserved media id to get its content. */

/** Signals within this process; other processes' uploads are found by looking again. */
export class MediaArrivals {
  readonly #waiters = new Map<string, Set<() => void>>();

  /** Wakes all who wait for the id. */
  announce(mediaId: string): void {
    const waiters = this.#waiters.get(mediaId);
    this.#waiters.delete(mediaId);
    for (const wake of waiters ?? []) wake();
  }

  /** Resolves when the id is announced or the signal aborts. */
  waitFor(mediaId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(mediaId) ?? new Set();
      this.#waiters.set(mediaId, waiters);
      const wake = () => {
        signal.removeEventListener("abort", wake);
        waiters.delete(wake);
        if (waiters.size === 0 && this.#waiters.get(mediaId) === waiters) this.#waiters.delete(mediaId);
        resolve();
      };
      waiters.add(wake);
      if (signal.aborted) wake();
      else signal.addEventListener("abort", wake);
    });
  }
}
