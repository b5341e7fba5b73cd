/** EDUs that may get lost: typing, receipts, presence. Only the last of each kind and subject is worth sending. */

/** An EDU that waits. */
export interface EphemeralEdu {
  /** What it is about: a later EDU with the same key replaces it. */
  readonly key: string;
  /** The text of the EDU. */
  readonly json: string;
}

const MAX_WAITING = 1_000;

/** Holds them for one server, bounded: the oldest go when too many wait. */
export class EphemeralQueue {
  readonly #edus = new Map<string, string>();

  get size(): number {
    return this.#edus.size;
  }

  /** Adds an EDU at the end. */
  put({ key, json }: EphemeralEdu): void {
    this.#edus.delete(key);
    this.#edus.set(key, json);
    if (this.#edus.size <= MAX_WAITING) return;
    for (const oldest of this.#edus.keys()) {
      this.#edus.delete(oldest);
      return;
    }
  }

  /** Removes and returns the first. */
  take(limit: number): EphemeralEdu[] {
    const taken: EphemeralEdu[] = [];
    for (const [key, json] of this.#edus) {
      if (taken.length >= limit) break;
      taken.push({ key, json });
      this.#edus.delete(key);
    }
    return taken;
  }

  /** Puts back what was taken, unless something newer has come. */
  putBack(edus: readonly EphemeralEdu[]): void {
    for (const { key, json } of edus) if (!this.#edus.has(key)) this.#edus.set(key, json);
  }

  clear(): void {
    this.#edus.clear();
  }
}
