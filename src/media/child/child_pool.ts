/**
 * The media children: a few, started when there is work, used again while they are warm, killed when they take too long,
 * have done many jobs, or have nothing to do.
 */
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { limitExceeded } from "../../protocol/errors.ts";
import { type ChildCommand, type JobInput, type JobOutput, MediaChild } from "./child_process.ts";
import type { ChildJob } from "./messages.ts";

/** What the pool is built from. */
export interface ChildPoolDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly command: ChildCommand;
  readonly maxChildren: number;
  readonly jobTimeoutMs: number;
  readonly idleMs: number;
}

const MAX_WAITING = 200;
/** Memory that a decoder has grown by is only given back by its end. */
const MAX_JOBS_PER_CHILD = 100;
const RETRY_AFTER_MS = 2_000;

/** Runs jobs in children. */
export class ChildPool implements AsyncDisposable {
  readonly #deps: ChildPoolDeps;
  readonly #idle = new Map<MediaChild, AbortController>();
  readonly #running = new Set<MediaChild>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #isClosed = false;

  constructor(deps: ChildPoolDeps) {
    this.#deps = deps;
  }

  /**
   * Does a job; null when the child did not survive it or was too slow. `open` is called when it is the job's turn.
   * Throws 429 when too many jobs wait.
   */
  async run(job: ChildJob, open: () => Promise<JobInput>): Promise<JobOutput | null> {
    await this.#enter();
    try {
      return await this.#runInChild(job, await open());
    } finally {
      this.#leave();
    }
  }

  /** Kills all children; jobs under way fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const children = [...this.#idle.keys(), ...this.#running];
    for (const stopWaiting of this.#idle.values()) stopWaiting.abort();
    this.#idle.clear();
    await Promise.all(children.map((child) => child.kill()));
  }

  async #runInChild(job: ChildJob, input: JobInput): Promise<JobOutput | null> {
    const { clock, log, jobTimeoutMs } = this.#deps;
    const child = this.#takeIdle() ?? new MediaChild(this.#deps.command);
    this.#running.add(child);
    const done = new AbortController();
    let isLate = false;
    const timer = clock.sleep(jobTimeoutMs, done.signal).then(async () => {
      if (done.signal.aborted) return;
      isLate = true;
      await child.kill();
    });
    const output = await child.run(job, input);
    done.abort();
    await timer;
    this.#running.delete(child);
    if (output === null) {
      log.warn("Media child ended during a job", { kind: job.kind, isLate });
      await child.kill();
    } else if (child.jobs >= MAX_JOBS_PER_CHILD || this.#isClosed) {
      await child.kill();
    } else {
      this.#keepIdle(child);
    }
    return output;
  }

  #takeIdle(): MediaChild | null {
    for (const [child, stopWaiting] of this.#idle) {
      this.#idle.delete(child);
      stopWaiting.abort();
      if (child.isAlive) return child;
    }
    return null;
  }

  #keepIdle(child: MediaChild): void {
    const stopWaiting = new AbortController();
    this.#idle.set(child, stopWaiting);
    this.#deps.clock.sleep(this.#deps.idleMs, stopWaiting.signal).then(async () => {
      if (stopWaiting.signal.aborted) return;
      this.#idle.delete(child);
      await child.kill();
    });
  }

  async #enter(): Promise<void> {
    if (this.#busy < this.#deps.maxChildren) {
      this.#busy++;
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) throw limitExceeded(RETRY_AFTER_MS);
    // The one that leaves hands its place over, so the count stays.
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#busy--;
    else next();
  }
}
