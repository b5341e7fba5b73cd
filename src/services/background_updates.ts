/**
 * What Synapse calls background updates: work on the whole database that administrators begin and can hold up. Here it is
 * making the user directory anew; counts of rooms, Synapse's other jobs, are not kept apart from the rooms.
 */
import type { Clock } from "../lib/clock.ts";
import { MatrixError } from "../protocol/errors.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import type { ScheduledTask } from "../storage/scheduled_tasks.ts";
import type { TaskRun, TaskScheduler } from "./task_scheduler.ts";

/** What the service is built from. */
export interface BackgroundUpdatesDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly tasks: TaskScheduler;
  /** Makes the next part of the user directory anew; `next` is null when that was the last. */
  readonly regenerateDirectory: (
    after: JsonObject | null,
  ) => Promise<{ next: JsonObject | null; count: number }>;
}

/** The job, by Synapse's name for it. */
const REGENERATE_DIRECTORY = "regenerate_directory";

interface Current {
  readonly name: string;
  itemCount: number;
  durationMs: number;
}

/** Runs and holds up background updates. */
export class BackgroundUpdates {
  readonly #deps: BackgroundUpdatesDeps;
  #current: Current | null = null;
  /** Resolved while nothing is held up. */
  #gate: PromiseWithResolvers<void> | null = null;

  constructor(deps: BackgroundUpdatesDeps) {
    this.#deps = deps;
    deps.tasks.register(REGENERATE_DIRECTORY, (task, run) => this.#run(task, run));
  }

  get isEnabled(): boolean {
    return this.#gate === null;
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
    const { tasks } = this.#deps;
    if (name !== REGENERATE_DIRECTORY) throw badRequest("Invalid job_name");
    const running = await tasks.list({ actions: [name], statuses: ["scheduled", "active"] });
    if (running.length > 0) throw badRequest(`Job ${name} is already in queue of background updates.`);
    await tasks.schedule({ action: name, resourceId: null, params: {} });
  }

  async #run({ action: name, progress }: ScheduledTask, run: TaskRun): Promise<void> {
    const { db, clock, regenerateDirectory } = this.#deps;
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
        const { next, count } = await regenerateDirectory(after);
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

function badRequest(message: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message);
}
