/**
 * What Synapse calls background updates: work on the whole database that administrators begin and can hold up. Synapse's
 * `event_resign` is not among it: events are kept as the texts that were signed and sent to others, and do not change.
 */
import type { Clock } from "../lib/clock.ts";
import { Mutex } from "../lib/mutex.ts";
import { MatrixError } from "../protocol/errors.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { recountMembers } from "../storage/rooms.ts";
import type { ScheduledTask } from "../storage/scheduled_tasks.ts";
import type { TaskRun, TaskScheduler } from "./task_scheduler.ts";

/** What the service is built from. */
export interface BackgroundUpdatesDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly tasks: TaskScheduler;
  readonly jobs: BackgroundJobs;
}

/** Does the next part of a job; `next` is null when that was the last. */
export type JobStep = (after: JsonObject | null) => Promise<{ next: JsonObject | null; count: number }>;

/** The jobs, by Synapse's names for them. */
export interface BackgroundJobs {
  /** Counts the members of all rooms anew. */
  readonly populate_stats_process_rooms: JobStep;
  /** Makes the user directory anew. */
  readonly regenerate_directory: JobStep;
}

interface Current {
  readonly name: string;
  itemCount: number;
  durationMs: number;
}

/** Runs and holds up background updates. */
export class BackgroundUpdates {
  readonly #deps: BackgroundUpdatesDeps;
  readonly #jobs: ReadonlyMap<string, JobStep>;
  /** As in Synapse. */
  readonly #oneAtATime = new Mutex();
  #current: Current | null = null;
  /** Resolved while nothing is held up. */
  #gate: PromiseWithResolvers<void> | null = null;

  constructor(deps: BackgroundUpdatesDeps) {
    this.#deps = deps;
    this.#jobs = new Map(Object.entries(deps.jobs));
    for (const [name, step] of this.#jobs) {
      deps.tasks.register(name, (task, run) => this.#oneAtATime.run(() => this.#run(task, { run, step })));
    }
  }

  get isEnabled(): boolean {
    return this.#gate === null;
  }

  get isRunning(): boolean {
    return this.#current !== null;
  }

  /** Holds the work up, or lets it go on. A restart lets it go on too, as in Synapse. */
  enable(isEnabled: boolean): void {
    if (!isEnabled) this.#gate ??= Promise.withResolvers();
    else {
      this.#gate?.resolve();
      this.#gate = null;
    }
  }

  /** Returns what is being done, by database: there is one. */
  status(): JsonObject {
    const enabled = this.isEnabled;
    if (this.#current === null) return { enabled, current_updates: {} };
    const { name, itemCount, durationMs } = this.#current;
    const update = {
      ...{ name, total_item_count: itemCount, total_duration_ms: durationMs },
      average_items_per_ms: durationMs === 0 ? null : itemCount / durationMs,
    };
    return { enabled, current_updates: { master: update } };
  }

  /** Begins a job. Throws 400 for one that is not known here, and while it is being done. */
  async startJob(name: string): Promise<void> {
    if (!this.#jobs.has(name)) throw badRequest("Invalid job_name");
    const begun = await this.#deps.tasks.scheduleExclusively({ action: name, resourceId: null, params: {} });
    if (begun === null) throw badRequest(`Job ${name} is already in queue of background updates.`);
  }

  async #run(
    { action: name, progress }: ScheduledTask,
    { run, step }: { run: TaskRun; step: JobStep },
  ): Promise<void> {
    const { db, clock } = this.#deps;
    if (run.signal.aborted) return;
    const current: Current = { name, itemCount: 0, durationMs: 0 };
    this.#current = current;
    const stopped = new Promise<void>((resolve) => run.signal.addEventListener("abort", () => resolve()));
    let after = isJsonObject(progress?.["after"]) ? progress["after"] : null;
    try {
      while (true) {
        await Promise.race([this.#gate?.promise, stopped]);
        if (run.signal.aborted) return;
        if (!this.isEnabled) continue;
        const startedAt = clock.monotonic();
        const { next, count } = await step(after);
        current.itemCount += count;
        current.durationMs += clock.monotonic() - startedAt;
        if (next === null) return;
        after = next;
        await db.transaction((tx) => run.save(tx, { progress: { after: next }, result: null }));
      }
    } finally {
      this.#current = null;
    }
  }
}

const ROOMS_A_STEP = 50;

/** Counts the members of the next rooms anew. */
export async function recountRooms(db: Database, after: JsonObject | null): ReturnType<JobStep> {
  const last = after?.["room"];
  const nids = await db.transaction((tx) =>
    recountMembers(tx, { after: typeof last === "number" ? last : 0, limit: ROOMS_A_STEP })
  );
  const room = nids.at(-1);
  return { next: room === undefined || nids.length < ROOMS_A_STEP ? null : { room }, count: nids.length };
}

function badRequest(message: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message);
}
