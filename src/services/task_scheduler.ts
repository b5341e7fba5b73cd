/**
 * Long work that administrators begin: written down before it is begun, gone on with after a restart, and remembered for a
 * week after its end. Whoever does the work notes how far it is and can be run again from any point of it. Of each action
 * on a resource one task runs at a time.
 */
import { ChoreRunner } from "../lib/chore_runner.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { randomString } from "../lib/random.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database, Tx } from "../storage/database.ts";
import { DatabaseError } from "../storage/database_error.ts";
import {
  deleteEndedTasks,
  insertScheduledTask,
  type NewTask,
  type ScheduledTask,
  selectRunnableTasks,
  selectScheduledTask,
  selectScheduledTasks,
  type TaskFilter,
  updateScheduledTask,
  updateTaskProgress,
} from "../storage/scheduled_tasks.ts";

/** What the service is built from. */
export interface TaskSchedulerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
}

/** How far a task is. */
export interface TaskProgress {
  /** For whoever goes on with it. */
  readonly progress: JsonObject | null;
  /** For administrators. */
  readonly result: JsonObject | null;
}

/** What the work of a task is done with. */
export interface TaskRun {
  /** Aborts when the server stops: the work ends soon and goes on with the next start. */
  readonly signal: AbortSignal;
  /** Notes how far it is, within a transaction. */
  save(tx: Tx, progress: TaskProgress): Promise<void>;
  /** Notes that it is done, within the transaction of its last step. */
  complete(tx: Tx): Promise<void>;
}

/** Does the work of a task; what it throws makes the task fail. */
export type TaskAction = (task: ScheduledTask, run: TaskRun) => Promise<void>;

/** What is to be done. */
export type TaskOrder = Pick<NewTask, "action" | "resourceId" | "params">;

/** A task that was begun. */
export interface BegunTask {
  readonly id: string;
  /** Resolves when it has ended; rejects with what made it fail, or when the server stops. */
  readonly ended: Promise<void>;
}

const MAX_AT_ONCE = 5;
const MAX_LISTED = 10_000;
const RETRY_DELAY_MS = 10_000;
const KEPT_MS = 7 * 86_400_000;
const ID_LENGTH = 16;

/** Runs tasks. */
export class TaskScheduler implements AsyncDisposable {
  readonly #deps: TaskSchedulerDeps;
  readonly #actions = new Map<string, TaskAction>();
  readonly #running = new Map<string, { readonly task: ScheduledTask; readonly ended: Promise<void> }>();
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>();
  readonly #stopping = new AbortController();
  readonly #launcher: ChoreRunner;

  constructor(deps: TaskSchedulerDeps) {
    this.#deps = deps;
    deps.stopping.addEventListener("abort", () => this.#stopping.abort());
    this.#launcher = new ChoreRunner({
      clock: deps.clock,
      work: () => this.#launch(),
      onFailure: (error) => deps.log.error("Tasks could not be started, trying again", { error }),
      retryDelayMs: RETRY_DELAY_MS,
    });
  }

  /** How many tasks are being done. */
  get running(): number {
    return this.#running.size;
  }

  /** Says how tasks of a kind are done. */
  register(action: string, work: TaskAction): void {
    this.#actions.set(action, work);
  }

  /** Goes on with what a restart interrupted, and with what is due. */
  start(): void {
    this.#launcher.wake();
  }

  /** Begins a task, behind those of its action on its resource. It is durable when this returns. */
  async schedule(task: TaskOrder): Promise<BegunTask> {
    const begun = await this.#add({ ...task, isExclusive: false });
    if (begun === null) throw new DatabaseError("conflict", "There is a task of this id already");
    return begun;
  }

  /** As `schedule`; null where such a task of this action on this resource has not ended. */
  async scheduleExclusively(task: TaskOrder): Promise<BegunTask | null> {
    return await this.#add({ ...task, isExclusive: true });
  }

  /** Returns a task, or null. */
  async get(id: string): Promise<ScheduledTask | null> {
    return await selectScheduledTask(this.#deps.db, id);
  }

  /** Returns tasks, the oldest first. */
  async list(filter: TaskFilter): Promise<ScheduledTask[]> {
    return await selectScheduledTasks(this.#deps.db, { filter, limit: MAX_LISTED });
  }

  /** Forgets tasks that ended long ago. */
  async prune(): Promise<void> {
    const { db, clock } = this.#deps;
    await db.transaction((tx) => deleteEndedTasks(tx, clock.now() - KEPT_MS));
  }

  /** Interrupts what runs; it goes on with the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#launcher[Symbol.asyncDispose]();
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
    for (const { reject } of this.#waiting.values()) reject(interrupted());
  }

  async #add(task: TaskOrder & { readonly isExclusive: boolean }): Promise<BegunTask | null> {
    const { db, clock } = this.#deps;
    const id = randomString(ID_LENGTH);
    const waiting = Promise.withResolvers<void>();
    waiting.promise.catch(() => {});
    this.#waiting.set(id, waiting);
    let isAdded = false;
    try {
      isAdded = await db.transaction((tx) => insertScheduledTask(tx, { ...task, id, changedTs: clock.now() }));
    } finally {
      if (!isAdded) this.#waiting.delete(id);
    }
    if (!isAdded) return null;
    this.#launcher.wake();
    return { id, ended: waiting.promise };
  }

  async #launch(): Promise<void> {
    const { db, clock } = this.#deps;
    // Those that run are among them.
    const found = await selectRunnableTasks(db, { now: clock.now(), limit: 2 * MAX_AT_ONCE });
    for (const task of found) {
      if (this.#running.size >= MAX_AT_ONCE || this.#stopping.signal.aborted) return;
      if (this.#isBusyWith(task)) continue;
      const ended = this.#run(task).finally(() => {
        this.#running.delete(task.id);
        this.#launcher.wake();
      });
      this.#running.set(task.id, { task, ended });
    }
  }

  #isBusyWith({ action, resourceId }: ScheduledTask): boolean {
    for (const { task } of this.#running.values()) {
      if (task.action === action && task.resourceId === resourceId) return true;
    }
    return false;
  }

  /** Never rejects. */
  async #run(task: ScheduledTask): Promise<void> {
    const { log } = this.#deps;
    const waiting = this.#waiting.get(task.id);
    try {
      const isDone = await this.#work(task);
      if (!isDone) return waiting?.reject(interrupted());
      this.#waiting.delete(task.id);
      waiting?.resolve();
    } catch (error) {
      if (this.#stopping.signal.aborted) return waiting?.reject(interrupted());
      log.error("A task failed", { action: task.action, task: task.id, resource: task.resourceId, error });
      await this.#fail(task, error);
      this.#waiting.delete(task.id);
      waiting?.reject(error);
    }
  }

  /** Returns whether all is done; an interrupted task is not. */
  async #work(task: ScheduledTask): Promise<boolean> {
    const { db, clock } = this.#deps;
    const { id } = task;
    const { signal } = this.#stopping;
    const work = this.#actions.get(task.action);
    if (work === undefined) throw new Error(`Nothing is known of how to "${task.action}"`);
    const note = (tx: Tx, status: "active" | "complete") => updateScheduledTask(tx, { id, status, now: clock.now() });
    await db.transaction((tx) => note(tx, "active"));
    let isDone = false;
    await work(task, {
      signal,
      save: (tx, progress) => updateTaskProgress(tx, { id, now: clock.now(), ...progress }),
      async complete(tx) {
        await note(tx, "complete");
        tx.afterCommit(() => isDone = true);
      },
    });
    if (isDone || signal.aborted) return isDone;
    await db.transaction((tx) => note(tx, "complete"));
    return true;
  }

  async #fail({ id }: ScheduledTask, error: unknown): Promise<void> {
    const { db, clock, log } = this.#deps;
    const reason = error instanceof MatrixError ? error.message : "The work could not be done; the log says why";
    try {
      await db.transaction((tx) => updateScheduledTask(tx, { id, status: "failed", now: clock.now(), error: reason }));
    } catch (failure) {
      // It is tried again with the next start.
      log.error("That a task failed could not be written down", { task: id, error: failure });
    }
  }
}

function interrupted(): MatrixError {
  return new MatrixError(503, "M_UNKNOWN", "The server is stopping; the work goes on when it is back");
}
