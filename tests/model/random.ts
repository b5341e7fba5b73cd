/** Random choices that a seed repeats. */

/** A source of random choices. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 up to, and without, `below`. */
  int(below: number): number {
    // Mulberry32: one 32-bit word of state, good enough to choose with.
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 * below);
  }

  /** One of the list. */
  pick<T>(list: readonly T[]): T {
    const chosen = list[this.int(list.length)];
    if (chosen === undefined) throw new Error("Nothing to choose from");
    return chosen;
  }

  /** So many letters. */
  text(length: number): string {
    return Array.from({ length }, () => String.fromCharCode(97 + this.int(26))).join("");
  }

  /** True in so many of a hundred cases. */
  percent(chance: number): boolean {
    return this.int(100) < chance;
  }

  /** The list in some order. */
  shuffle<T>(list: readonly T[]): T[] {
    const left = [...list];
    const shuffled: T[] = [];
    while (left.length > 0) shuffled.push(...left.splice(this.int(left.length), 1));
    return shuffled;
  }
}
