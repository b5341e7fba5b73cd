/** Carries users' rules and tags from replaced rooms to new ones; what a former run of the server left is done first. */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { RoomSuccessions } from "../services/room_successions.ts";
import type { Database } from "../storage/database.ts";
import { deleteSuccession, selectSuccessions } from "../storage/room_successions.ts";

/** What the worker is built from. */
export interface SuccessionWorkerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly successions: Pick<RoomSuccessions, "carry">;
}

const STEP = 100;
const RETRY_DELAY_MS = 10_000;

/** Does what is noted. */
export class SuccessionWorker implements AsyncDisposable {
  readonly #deps: SuccessionWorkerDeps;
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;
  #again = false;

  constructor(deps: SuccessionWorkerDeps) {
    this.#deps = deps;
  }

  /** Has the worker look for work. */
  wake(): void {
    if (this.#stopping.signal.aborted) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps;
    while (this.#again && !this.#stopping.signal.aborted) {
      this.#again = false;
      try {
        while (!this.#stopping.signal.aborted && await this.#step());
      } catch (error) {
        log.error("Carrying rules and tags to a new room failed and will be tried again", { error });
        this.#again = true;
        await clock.sleep(RETRY_DELAY_MS, this.#stopping.signal);
      }
    }
  }

  /** Does the next ones; returns whether there may be more. */
  async #step(): Promise<boolean> {
    const { db, successions } = this.#deps;
    const found = await selectSuccessions(db, STEP);
    for (const succession of found) {
      if (this.#stopping.signal.aborted) return false;
      await successions.carry(succession);
      await db.transaction((tx) => deleteSuccession(tx, succession));
    }
    return found.length === STEP;
  }
}
