/** Timestamps of create events. */
import type { Clock } from "../lib/clock.ts";

/**
 * Gives each create event a millisecond of its own: since version 12 the room id is the hash of the create event, so two
 * rooms that one user makes alike in the same millisecond would be one.
 */
export class CreateTime {
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Returns the present, or just after the last time given. */
  next(): number {
    this.#last = Math.max(this.#clock.now(), this.#last + 1);
    return this.#last;
  }
}
