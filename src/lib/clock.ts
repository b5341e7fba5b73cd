/** Time as a dependency, so that tests can set it. */

/** Source of time and timers. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back. */
  monotonic(): number;
  /** Resolves after `ms`, or as soon as `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A timer that is set for longer than this goes off at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const finish = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", finish);
        resolve();
      };
      let timer: ReturnType<typeof setTimeout>;
      const wait = (left: number): void => {
        const next = Math.min(left, LONGEST_TIMER_MS);
        timer = setTimeout(left > next ? () => wait(left - next) : finish, next);
      };
      wait(ms);
      signal?.addEventListener("abort", finish);
    });
  },
};
