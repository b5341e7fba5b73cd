/** Sends delayed events when their time has come, those first whose time came while the server was down. */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { DelayedEvents } from "../services/delayed_events.ts";
import type { Db } from "../storage/database.ts";
import { type DelayedEvent, selectDueEvents, selectNextDue } from "../storage/delayed_events.ts";

/** What the worker is built from. */
export interface DelayedEventSenderDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Logger;
  readonly delayedEvents: DelayedEvents;
}

const AT_ONCE = 20;
const MAX_SLEEP_MS = 60_000;
const RETRY_DELAY_MS = 5_000;

/** Waits for the next event. */
export class DelayedEventSender implements AsyncDisposable {
  readonly #deps: DelayedEventSenderDeps;
  readonly #stopping = new AbortController();
  #changed = new AbortController();
  #running: Promise<void> | null = null;

  constructor(deps: DelayedEventSenderDeps) {
    this.#deps = deps;
    deps.delayedEvents.onChange = () => this.#changed.abort();
  }

  /** Begins waiting. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Stops after what is being sent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#changed.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { db, clock, log } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      this.#changed = new AbortController();
      try {
        const due = await selectDueEvents(db, { now: clock.now(), limit: AT_ONCE });
        for (const event of due) await this.#send(event);
        if (due.length === AT_ONCE) continue;
        const next = await selectNextDue(db);
        const wait = next === null ? MAX_SLEEP_MS : Math.min(next - clock.now(), MAX_SLEEP_MS);
        if (wait > 0 && !this.#stopping.signal.aborted) await clock.sleep(wait, this.#changed.signal);
      } catch (error) {
        log.error("Delayed events could not be sent and will be tried again", { error });
        await clock.sleep(RETRY_DELAY_MS, this.#stopping.signal);
      }
    }
  }

  async #send(event: DelayedEvent): Promise<void> {
    try {
      await this.#deps.delayedEvents.deliver(event);
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      this.#deps.log.info("A delayed event was refused", { roomId: event.roomId, error: error.message });
    }
  }
}
