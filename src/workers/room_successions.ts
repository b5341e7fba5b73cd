/** Carries users' rules and tags from replaced rooms to new ones; what a former run of the server left is done first. */
import { ChoreRunner } from "../lib/chore_runner.ts";
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
  readonly #runner: ChoreRunner;

  constructor(deps: SuccessionWorkerDeps) {
    this.#deps = deps;
    const { clock, log } = deps;
    this.#runner = new ChoreRunner({
      clock,
      work: async (signal) => {
        while (!signal.aborted && await this.#step(signal));
      },
      onFailure: (error) =>
        log.error("Carrying rules and tags to a new room failed and will be tried again", { error }),
      retryDelayMs: RETRY_DELAY_MS,
    });
  }

  /** Has the worker look for work. */
  wake(): void {
    this.#runner.wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runner[Symbol.asyncDispose]();
  }

  /** Does the next ones; returns whether there may be more. */
  async #step(signal: AbortSignal): Promise<boolean> {
    const { db, successions } = this.#deps;
    const found = await selectSuccessions(db, STEP);
    for (const succession of found) {
      if (signal.aborted) return false;
      await successions.carry(succession);
      await db.transaction((tx) => deleteSuccession(tx, succession));
    }
    return found.length === STEP;
  }
}
