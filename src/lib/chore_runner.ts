/** Work that is noted somewhere and done in the background, one run at a time, when somebody says that there is some. */
import type { Clock } from "./clock.ts";

/** What a runner is built from. */
export interface ChoreRunnerDeps {
  readonly clock: Clock;
  /** Does all there is; it stops early when the signal aborts, and what it throws makes it run again later. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  readonly onFailure: (error: unknown) => void;
  /** How long to wait after a failure, in milliseconds. */
  readonly retryDelayMs: number;
}

/** Runs the work whenever it is woken. A call while it runs makes it run once more. */
export class ChoreRunner implements AsyncDisposable {
  readonly #deps: ChoreRunnerDeps;
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;
  #again = false;

  constructor(deps: ChoreRunnerDeps) {
    this.#deps = deps;
  }

  /** Says that there is work. */
  wake(): void {
    if (this.#stopping.signal.aborted) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  /** Stops after what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, work, onFailure, retryDelayMs } = this.#deps;
    const { signal } = this.#stopping;
    while (this.#again && !signal.aborted) {
      this.#again = false;
      try {
        await work(signal);
      } catch (error) {
        onFailure(error);
        this.#again = true;
        await clock.sleep(retryDelayMs, signal);
      }
    }
  }
}
