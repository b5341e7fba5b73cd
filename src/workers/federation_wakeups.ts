/**
 * Wakes servers one after another for what can wait: a receipt for an old message in a room of a thousand servers is no
 * reason to open a thousand connections at once. What comes meanwhile goes along.
 */
import type { Clock } from "../lib/clock.ts";
import type { ServerName } from "../protocol/ids.ts";

/** What wake-ups are made with. */
export interface FederationWakeupsDeps {
  readonly clock: Clock;
  /** `federation_rr_transactions_per_room_per_second`. */
  readonly perSecond: number;
  /** Sends to a server what waits for it; false where nothing does any more. */
  readonly wake: (server: ServerName) => boolean;
  readonly signal: AbortSignal;
}

/** No server waits longer, however many there are. */
const MAX_WAIT_MS = 30_000;

/** Holds the servers to be woken, each once, in the order they came. */
export class FederationWakeups {
  readonly #deps: FederationWakeupsDeps;
  readonly #waiting = new Set<ServerName>();
  #isRunning = false;

  constructor(deps: FederationWakeupsDeps) {
    this.#deps = deps;
  }

  /** Adds servers; returns the work that this begins, or null where it is under way. */
  add(servers: Iterable<ServerName>): Promise<void> | null {
    for (const server of servers) this.#waiting.add(server);
    if (this.#isRunning || this.#waiting.size === 0) return null;
    this.#isRunning = true;
    return this.#run();
  }

  async #run(): Promise<void> {
    const { clock, perSecond, wake, signal } = this.#deps;
    let pauseMs = 1_000 / perSecond;
    try {
      for (const server of this.#waiting) {
        this.#waiting.delete(server);
        if (signal.aborted) return;
        pauseMs = Math.min(pauseMs, MAX_WAIT_MS / (this.#waiting.size + 1));
        if (wake(server)) await clock.sleep(pauseMs, signal);
      }
    } finally {
      this.#isRunning = false;
    }
  }
}
