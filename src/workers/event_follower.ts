/**
 * Follows the events stream with a cursor in the database, in small steps with pauses in between, so that sending never
 * waits for what is made of the events. Whoever needs the result asks it to catch up first.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { selectCursor, upsertCursor } from "../storage/consumers.ts";
import type { Database, Tx } from "../storage/database.ts";
import { type Measure, unmeasured } from "../storage/work_meters.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What one step found. */
export interface FollowedStep {
  /** Everything up to here is looked at. */
  readonly position: number;
  /** Writes what follows from it; null when that is nothing. */
  readonly save: ((tx: Tx) => Promise<void>) | null;
}

/** What a follower is built from. */
export interface EventFollowerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  /** The name of the cursor. */
  readonly consumer: string;
  /** Looks at some events in `(after, upTo]`. */
  readonly step: (range: { readonly after: number; readonly upTo: number }) => Promise<FollowedStep>;
  /** Measures the steps. */
  readonly background?: Measure;
  /** Called whenever everything is done; may do other work, and returns whether that is done too. */
  readonly idle?: () => Promise<boolean>;
}

const PAUSE_MS = 100;
const RETRY_DELAY_MS = 10_000;
/** What holds nothing to do is noted now and then only: a restart looks at it again. */
const MAX_UNNOTED = 10_000;
/** Nobody waits longer than this for what is not done yet. */
const CATCH_UP_MS = 1_000;

/** Follows the events. */
export class EventFollower implements AsyncDisposable {
  readonly #deps: EventFollowerDeps;
  readonly #stopping = new AbortController();
  #hurry = new AbortController();
  #cursor = 0;
  /** The cursor as it is in the database. */
  #noted = 0;
  #running: Promise<void> | null = null;
  #removeListener: (() => void) | null = null;
  #waiting: { readonly position: number; readonly resolve: () => void }[] = [];

  constructor(deps: EventFollowerDeps) {
    this.#deps = deps;
  }

  /** Goes on where a former run of the server stopped, and then follows what is written. */
  async start(): Promise<void> {
    this.#cursor = await selectCursor(this.#deps.db, this.#deps.consumer) ?? 0;
    this.#noted = this.#cursor;
    this.#removeListener = this.#deps.notifier.onPublish((stream) => {
      if (stream === "events") this.#wake();
    });
    this.#wake();
  }

  /** Everything up to here is looked at. */
  get position(): number {
    return this.#cursor;
  }

  /** Resolves once all that is written now is done, or after a second. */
  async catchUp(): Promise<void> {
    const position = this.#deps.notifier.position("events");
    if (this.#cursor >= position || this.#stopping.signal.aborted) return;
    const caughtUp = new Promise<void>((resolve) => this.#waiting.push({ position, resolve }));
    this.#hurry.abort();
    this.#wake();
    const expiry = new AbortController();
    await Promise.race([caughtUp, this.#deps.clock.sleep(CATCH_UP_MS, expiry.signal)]);
    expiry.abort();
  }

  /** Stops after the step under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#hurry.abort();
    this.#removeListener?.();
    await this.#running;
  }

  #wake(): void {
    if (this.#running !== null || this.#stopping.signal.aborted) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#cursor < this.#deps.notifier.position("events")) this.#wake();
    });
  }

  async #run(): Promise<void> {
    const { clock, log, notifier, consumer, idle } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      this.#hurry = new AbortController();
      if (this.#waiting.length === 0) await clock.sleep(PAUSE_MS, this.#hurry.signal);
      if (this.#stopping.signal.aborted) break;
      try {
        await (this.#deps.background ?? unmeasured)(consumer, () => this.#step());
        this.#answer(this.#cursor);
        if (this.#cursor >= notifier.position("events") && (await idle?.() ?? true)) return;
      } catch (error) {
        log.error("Following the events failed and will be tried again", { consumer, error });
        await clock.sleep(RETRY_DELAY_MS, this.#stopping.signal);
      }
    }
    this.#answer(Number.MAX_SAFE_INTEGER);
  }

  async #step(): Promise<void> {
    const { db, notifier, consumer, step } = this.#deps;
    const { position, save } = await step({ after: this.#cursor, upTo: notifier.position("events") });
    if (save !== null || position - this.#noted > MAX_UNNOTED) {
      await db.transaction(async (tx) => {
        await save?.(tx);
        await upsertCursor(tx, { consumer, position });
      });
      this.#noted = position;
    }
    this.#cursor = position;
  }

  #answer(upTo: number): void {
    const ready = this.#waiting.filter(({ position }) => position <= upTo);
    this.#waiting = this.#waiting.filter(({ position }) => position > upTo);
    for (const { resolve } of ready) resolve();
  }
}
