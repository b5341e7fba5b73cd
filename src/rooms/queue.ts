/**
 * One queue per room: what has gathered is taken together, built one after another and written in one transaction.
 *
 * A task that is refused refuses its own caller only. A write that fails fails all tasks of its batch, and the room's
 * copy is dropped. When another process wrote to the room meanwhile, the copy is loaded again and the batch built anew:
 * a task may therefore run more than once and must have no effect but through its batch.
 */
import { nextTurn } from "../lib/turn.ts";
import { forbidden } from "../protocol/errors.ts";
import type { RoomId } from "../protocol/ids.ts";
import { selectRoomById } from "../storage/rooms.ts";
import { type BatchDeps, RoomBatch } from "./batch.ts";
import { persistBatch, type PersistDeps, RoomChangedError } from "./persist.ts";
import type { RoomCopy } from "./room_heads.ts";

/** Bounds how long one transaction holds up others. */
const MAX_BATCH_TASKS = 100;
/** Each failed attempt means that another process made progress. */
const MAX_ATTEMPTS = 20;

/** Builds events into a batch; what it throws is what its caller gets. */
export type RoomTask<T> = (batch: RoomBatch) => Promise<T>;

interface Job {
  readonly task: RoomTask<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = { readonly job: Job } & ({ readonly value: unknown } | { readonly error: unknown });

/** Runs tasks on rooms. */
export class RoomQueues {
  readonly #deps: BatchDeps & PersistDeps;
  readonly #queues = new Map<RoomId, Job[]>();

  constructor(deps: BatchDeps & PersistDeps) {
    this.#deps = deps;
  }

  /** Runs a task in the room's queue; resolves once what it built is durable. */
  run<T>(roomId: RoomId, task: RoomTask<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job: Job = { task, resolve: (value) => resolve(value as T), reject };
    const queue = this.#queues.get(roomId);
    if (queue === undefined) {
      this.#queues.set(roomId, [job]);
      this.#drain(roomId);
    } else {
      queue.push(job);
    }
    return promise;
  }

  /** Never rejects: every job is settled. */
  async #drain(roomId: RoomId): Promise<void> {
    for (;;) {
      // One turn of the event loop, in which requests that have already arrived reach the queue.
      await nextTurn();
      const queue = this.#queues.get(roomId);
      if (queue === undefined) return;
      if (queue.length === 0) {
        this.#queues.delete(roomId);
        return;
      }
      const jobs = queue.splice(0, MAX_BATCH_TASKS);
      try {
        await this.#runBatch(roomId, jobs);
      } catch (error) {
        this.#deps.heads.drop(roomId);
        for (const { reject } of jobs) reject(error);
      }
    }
  }

  async #runBatch(roomId: RoomId, jobs: readonly Job[]): Promise<void> {
    for (let attempt = 1;; attempt++) {
      const copy = await this.#deps.heads.load(roomId);
      if (copy === null) throw forbidden("You are not in the room");
      const batch = new RoomBatch(this.#deps, copy);
      const outcomes = await buildAll(batch, jobs);
      try {
        if (batch.isEmpty && await this.#isStale(copy)) throw new RoomChangedError();
        await persistBatch(this.#deps, batch);
      } catch (error) {
        this.#deps.heads.drop(roomId);
        if (error instanceof RoomChangedError && attempt < MAX_ATTEMPTS) continue;
        if (batch.writes.length > 0 && jobs.length > 1) return await this.#runOneByOne(roomId, jobs);
        throw error;
      }
      for (const outcome of outcomes) settle(outcome);
      return;
    }
  }

  /** One task's own writes may have failed the batch: each gets its own transaction. */
  async #runOneByOne(roomId: RoomId, jobs: readonly Job[]): Promise<void> {
    for (const job of jobs) await this.#runBatch(roomId, [job]).catch(job.reject);
  }

  /**
   * What changes nothing (refusals, repeated requests) counts only if the copy was up to date, which a batch that is
   * written finds out by itself. One process alone, as on SQLite, always is.
   */
  async #isStale({ identity, lastPosition }: RoomCopy): Promise<boolean> {
    if (this.#deps.db.dialect === "sqlite") return false;
    const row = await selectRoomById(this.#deps.db, identity.roomId);
    return row !== null && row.lastPosition !== lastPosition;
  }
}

async function buildAll(batch: RoomBatch, jobs: readonly Job[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const job of jobs) {
    const start = batch.checkpoint();
    try {
      outcomes.push({ job, value: await job.task(batch) });
    } catch (error) {
      batch.rollback(start);
      outcomes.push({ job, error });
    }
  }
  return outcomes;
}

function settle(outcome: Outcome): void {
  if ("error" in outcome) outcome.job.reject(outcome.error);
  else outcome.job.resolve(outcome.value);
}
