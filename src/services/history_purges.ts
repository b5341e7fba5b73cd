/** Deleting the history of rooms for administrators, as Synapse's admin API does: a task that goes on after a restart. */
import type { Logger } from "../lib/log.ts";
import { badJson, MatrixError, notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { HistoryPurge } from "../rooms/history_purge.ts";
import type { Database } from "../storage/database.ts";
import type { OldEvents } from "../storage/history_purge.ts";
import type { ScheduledTask } from "../storage/scheduled_tasks.ts";
import { MAX_POSITION, selectEventsByTime } from "../storage/timeline.ts";
import type { TaskRun, TaskScheduler } from "./task_scheduler.ts";

/** What the service is built from. */
export interface HistoryPurgesDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly tasks: TaskScheduler;
  readonly events: EventStore;
  readonly serverName: ServerName;
  readonly purgeHistory: (purge: HistoryPurge, signal: AbortSignal) => Promise<number>;
}

/** What to delete. */
export interface HistoryPurgeRequest {
  readonly roomId: RoomId;
  readonly eventId: EventId | null;
  /** What was said before, in milliseconds, unless there is an event. */
  readonly beforeTs: number | null;
  /** Events of users of this server may be the only copies there are. */
  readonly deletesLocal: boolean;
}

/** The name of the work, by which Synapse lists it. */
const PURGE_HISTORY_ACTION = "purge_history";

/** Deletes the history of rooms. */
export class HistoryPurges {
  readonly #deps: HistoryPurgesDeps;

  constructor(deps: HistoryPurgesDeps) {
    this.#deps = deps;
    deps.tasks.register(PURGE_HISTORY_ACTION, (task, run) => this.#run(task, run));
  }

  /** Begins to delete old events of a room; returns the id by which its progress can be asked for. */
  async begin({ roomId, eventId, beforeTs, deletesLocal }: HistoryPurgeRequest): Promise<string> {
    const which = eventId === null ? await this.#before(roomId, beforeTs) : await this.#upTo(roomId, eventId);
    const params = { which: { ...which }, deletesLocal };
    const { id } = await this.#deps.tasks.schedule({ action: PURGE_HISTORY_ACTION, resourceId: roomId, params });
    return id;
  }

  /** Returns how a purge stands. Throws 404. */
  async status(id: string): Promise<JsonObject> {
    const task = await this.#deps.tasks.get(id);
    if (task?.action !== PURGE_HISTORY_ACTION) throw notFound(`purge id '${id}' not found`);
    const status = task.status === "complete" || task.status === "failed" ? task.status : "active";
    return { status, ...(task.error === null ? {} : { error: task.error }) };
  }

  async #upTo(roomId: RoomId, eventId: EventId): Promise<OldEvents> {
    const event = await this.#deps.events.getById(eventId);
    if (event === null) throw notFound(`Could not find event ${eventId}`);
    if (event.event.roomId !== roomId) throw new MatrixError(400, "M_UNKNOWN", "Event is for wrong room.");
    return { depthBelow: event.event.depth };
  }

  async #before(roomId: RoomId, ts: number | null): Promise<OldEvents> {
    const { db, events } = this.#deps;
    if (ts === null) throw badJson("must specify purge_up_to_event_id or purge_up_to_ts");
    const room = await events.roomById(roomId);
    const found = room === null ? [] : await selectEventsByTime(db, {
      ...{ roomNid: room.roomNid, ts: ts - 1, backwards: true, upTo: MAX_POSITION, limit: 1 },
    });
    if (found.length === 0) throw notFound("there is no event to be purged");
    return { saidBefore: ts };
  }

  /** What is left is found anew after a restart. */
  async #run({ resourceId, params }: ScheduledTask, { signal }: TaskRun): Promise<void> {
    const { purgeHistory, serverName, log } = this.#deps;
    const { which, deletesLocal } = params as unknown as { which: OldEvents; deletesLocal: boolean };
    const roomId = resourceId as RoomId;
    const count = await purgeHistory({ roomId, which, ...(deletesLocal ? {} : { keepsServer: serverName }) }, signal);
    log.info("Deleted history of a room", { room: roomId, count });
  }
}
