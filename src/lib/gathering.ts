/**
 * Letting work gather before it is done together: one turn of the event loop, in which requests that have arrived come so
 * far as to take part. That costs who is alone up to 100 µs, so while it brings nobody it is tried only now and then.
 */
import { nextTurn } from "./turn.ts";

/** After so many turns of the event loop that brought nobody, only every `PROBE_INTERVAL`th time waits for one. */
const MAX_FRUITLESS_TURNS = 4;
const PROBE_INTERVAL = 8;

/** Decides when to wait, by what it has brought. */
export class Gathering {
  #fruitlessTurns = 0;
  #asked = 0;

  /** Tells whether to wait for others this time. */
  isWorthIt(): boolean {
    this.#asked++;
    return this.#fruitlessTurns < MAX_FRUITLESS_TURNS || this.#asked % PROBE_INTERVAL === 0;
  }

  /** Waits for one turn. `count` tells how many are there. */
  async wait(count: () => number): Promise<void> {
    const before = count();
    await nextTurn();
    this.#fruitlessTurns = count() > before ? 0 : this.#fruitlessTurns + 1;
  }
}
