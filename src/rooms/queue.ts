/**
 * One queue per room: what has gathered is taken together, built one after another and written in one transaction.
 *
 * A task that is refused refuses its own caller only. A write that fails fails all tasks of its batch, unless it may be
 * the fault of one of them: then each is written by itself. The room's copy is dropped. When another process wrote to the room meanwhile, the copy is loaded again and the batch built anew:
 * a task may therefore run more than once and must have no effect but through its batch.
 */
import { nextTurn } from "../lib/turn.ts";
import { forbidden } from "../protocol/errors.ts";
import type { BuiltEvent } from "../protocol/event_builder.ts";
import type { RoomId } from "../protocol/ids.ts";
import { isDueToRows } from "../storage/database_error.ts";
import { selectRoomById } from "../storage/rooms.ts";
import { type BatchDeps, RoomBatch } from "./batch.ts";
import { GroupWriter } from "./group_writer.ts";
import { type PersistDeps, RoomChangedError } from "./persist.ts";
import { PolicySignatureNeeded, type PolicySigner } from "./policy.ts";
import type { RoomCopy } from "./room_heads.ts";

/** Bounds how long one transaction holds up others. */
const MAX_BATCH_TASKS = 100;
/** Each failed attempt means that another process made progress. */
const MAX_ATTEMPTS = 20;
/** One for each event that a task makes, and for those whose place is gone by the time they are signed. */
const MAX_POLICY_SIGNATURES = 20;

/** Builds events into a batch; what it throws is what its caller gets. */
export type RoomTask<T> = (batch: RoomBatch) => Promise<T>;

interface Job {
  readonly task: RoomTask<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Events of the task that the room's policy server has signed. */
  readonly signed: readonly BuiltEvent[];
  /** It needs a batch of its own. */
  readonly isAlone: boolean;
}

type Outcome = { readonly job: Job } & ({ readonly value: unknown } | { readonly error: unknown });

/** Runs tasks on rooms. */
export class RoomQueues {
  readonly #deps: BatchDeps & PersistDeps & { readonly policySigner: PolicySigner };
  readonly #writer: GroupWriter;
  readonly #queues = new Map<RoomId, Job[]>();

  constructor(deps: BatchDeps & PersistDeps & { readonly policySigner: PolicySigner }) {
    this.#deps = deps;
    this.#writer = new GroupWriter(deps);
  }

  /** How many tasks have not begun. */
  get waiting(): number {
    let count = 0;
    for (const jobs of this.#queues.values()) count += jobs.length;
    return count;
  }

  /** Runs a task in the room's queue; resolves once what it built is durable, and signed where the room wants that. */
  async run<T>(roomId: RoomId, task: RoomTask<T>): Promise<T> {
    for (const signed: BuiltEvent[] = [];;) {
      try {
        return await this.#enqueue(roomId, { task, signed, isAlone: false });
      } catch (error) {
        if (!(error instanceof PolicySignatureNeeded)) throw error;
        if (signed.length >= MAX_POLICY_SIGNATURES) {
          throw forbidden("The policy server of the room changes all the time");
        }
        signed.push(await this.#deps.policySigner.sign(error.built, error.policy));
      }
    }
  }

  /** Runs a task in a batch of its own: one that writes more than events. */
  async runAlone<T>(roomId: RoomId, task: RoomTask<T>): Promise<T> {
    return await this.#enqueue(roomId, { task, signed: [], isAlone: true });
  }

  #enqueue<T>(
    roomId: RoomId,
    { task, signed, isAlone }: { task: RoomTask<T>; signed: readonly BuiltEvent[]; isAlone: boolean },
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job: Job = { task, signed, isAlone, resolve: (value) => resolve(value as T), reject };
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
      const jobs = queue.splice(0, batchSize(queue));
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
        await this.#writer.write(batch);
      } catch (error) {
        this.#deps.heads.drop(roomId);
        if (error instanceof RoomChangedError && attempt < MAX_ATTEMPTS) continue;
        const mayBeOnesFault = batch.writes.length > 0 || isDueToRows(error);
        if (mayBeOnesFault && jobs.length > 1) return await this.#runOneByOne(roomId, jobs);
        throw error;
      }
      for (const outcome of outcomes) settle(outcome);
      return;
    }
  }

  /** What one task writes may have failed the batch: each gets its own transaction. */
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

function batchSize(queue: readonly Job[]): number {
  const alone = queue.findIndex(({ isAlone }) => isAlone);
  return alone < 0 ? MAX_BATCH_TASKS : Math.min(MAX_BATCH_TASKS, Math.max(1, alone));
}

async function buildAll(batch: RoomBatch, jobs: readonly Job[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const job of jobs) {
    const start = batch.checkpoint();
    batch.signedByPolicy = [...job.signed];
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
