/**
 * How much one server may ask of us at once: `rc_federation`. Requests beyond `sleepLimit` in a window are delayed, at
 * most `concurrent` run side by side, and when too many wait the next ones are refused.
 */
import type { Clock } from "../../lib/clock.ts";
import { Semaphore } from "../../lib/semaphore.ts";
import { Spread, WAIT_SECONDS } from "../../lib/tally.ts";
import { limitExceeded } from "../../protocol/errors.ts";
import type { ServerName } from "../../protocol/ids.ts";

/** The limits; times are milliseconds. */
export interface OriginLimitOptions {
  readonly windowSize: number;
  readonly sleepLimit: number;
  readonly sleepDelay: number;
  readonly rejectLimit: number;
  readonly concurrent: number;
}

interface OriginState {
  /** When the requests of the last window came. */
  readonly recent: number[];
  readonly slots: Semaphore;
  sleeping: number;
  inside: number;
}

const MIN_SWEEP_SIZE = 1024;

/** Limits requests by the server that makes them. */
export class OriginLimits {
  #options: OriginLimitOptions;
  readonly #clock: Clock;
  readonly #origins = new Map<ServerName, OriginState>();
  #sweepAt = MIN_SWEEP_SIZE;
  /** Requests that were delayed, and those that were refused. */
  readonly counts = { slept: 0, rejected: 0 };
  /** How long requests waited for their turn, in seconds. */
  readonly waits = new Spread(WAIT_SECONDS);

  constructor({ options, clock }: { options: OriginLimitOptions; clock: Clock }) {
    this.#options = options;
    this.#clock = clock;
  }

  /** How many servers are being delayed now, and how many are refused. */
  get affected(): { readonly slept: number; readonly rejected: number } {
    let [slept, rejected] = [0, 0];
    for (const { sleeping, slots } of this.#origins.values()) {
      if (sleeping > 0) slept++;
      if (sleeping + slots.waiting >= this.#options.rejectLimit) rejected++;
    }
    return { slept, rejected };
  }

  /** Uses other limits from now on; those who ask at present keep their number of slots. */
  setOptions(options: OriginLimitOptions): void {
    this.#options = options;
  }

  /** Runs a request when its turn has come; throws 429 when too many of the same server wait. */
  async run<T>(origin: ServerName, task: () => Promise<T>): Promise<T> {
    const state = this.#stateOf(origin);
    const { rejectLimit, sleepLimit, sleepDelay, windowSize } = this.#options;
    if (state.sleeping + state.slots.waiting >= rejectLimit) {
      this.counts.rejected++;
      throw limitExceeded(windowSize / Math.max(1, sleepLimit));
    }
    const cameAt = this.#clock.monotonic();
    state.inside++;
    try {
      if (this.#isOften(state)) {
        state.sleeping++;
        this.counts.slept++;
        await this.#clock.sleep(sleepDelay).finally(() => state.sleeping--);
      }
      return await state.slots.run(() => {
        this.waits.observe((this.#clock.monotonic() - cameAt) / 1_000);
        return task();
      });
    } finally {
      state.inside--;
    }
  }

  #isOften(state: OriginState): boolean {
    const now = this.#clock.monotonic();
    while (state.recent.length > 0 && (state.recent[0] ?? 0) <= now - this.#options.windowSize) state.recent.shift();
    state.recent.push(now);
    return state.recent.length > this.#options.sleepLimit;
  }

  #stateOf(origin: ServerName): OriginState {
    const known = this.#origins.get(origin);
    if (known !== undefined) return known;
    if (this.#origins.size >= this.#sweepAt) this.#sweep();
    const state = { recent: [], slots: new Semaphore(this.#options.concurrent), sleeping: 0, inside: 0 };
    this.#origins.set(origin, state);
    return state;
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [origin, { recent, inside }] of this.#origins) {
      const isQuiet = (recent[recent.length - 1] ?? 0) <= now - this.#options.windowSize;
      if (inside === 0 && isQuiet) this.#origins.delete(origin);
    }
    this.#sweepAt = Math.max(MIN_SWEEP_SIZE, this.#origins.size * 2);
  }
}
