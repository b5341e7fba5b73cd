/**
 * Redacting all that a user has said, for administrators, as in Synapse's admin API: a task that goes on after a restart.
 * What is redacted already is passed over, so that it can be begun again from anywhere.
 */
import type { Logger } from "../lib/log.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { RoomEngine } from "../rooms/engine.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { Requester, StoredEvent } from "../rooms/types.ts";
import type { Database } from "../storage/database.ts";
import type { ScheduledTask } from "../storage/scheduled_tasks.ts";
import { selectEventsOfUser, selectRoomsWithUser } from "../storage/user_events.ts";
import type { TaskRun, TaskScheduler } from "./task_scheduler.ts";

/** What the service is built from. */
export interface MassRedactionsDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly tasks: TaskScheduler;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly isLocal: (userId: UserId) => boolean;
}

/** What is to be redacted. */
export interface MassRedaction {
  readonly userId: UserId;
  readonly admin: UserId;
  /** None for all rooms that the user is in or banned from. */
  readonly rooms: readonly RoomId[];
  readonly reason: string | null;
  /** How many events of each room, the latest first. */
  readonly limit: number;
  /** The administrator redacts, not the user. */
  readonly usesAdmin: boolean;
  /** Milliseconds, both exclusive. */
  readonly beforeTs: number | null;
  readonly afterTs: number | null;
}

/** The name of the work, by which Synapse lists it. */
const REDACT_ACTION = "redact_all_events";
/** As in Synapse; of member events those that say that somebody came in, with a name and a picture. */
const TYPES: readonly string[] = ["m.room.encrypted", "m.room.member", "m.room.message"];
const MAX_ROOMS = 10_000;
const MAX_EVENTS = 100_000;

/** Redacts users' events. */
export class MassRedactions {
  readonly #deps: MassRedactionsDeps;

  constructor(deps: MassRedactionsDeps) {
    this.#deps = deps;
    deps.tasks.register(REDACT_ACTION, (task, run) => this.#run(task, run));
  }

  /** Begins to redact; returns the id by which its progress can be asked for. Throws 400 while that is being done. */
  async begin(redaction: MassRedaction): Promise<string> {
    const { db, tasks } = this.#deps;
    const { userId, rooms } = redaction;
    const chosen = rooms.length > 0 ? rooms : await selectRoomsWithUser(db, { userId, limit: MAX_ROOMS });
    const params = { ...redaction, rooms: [...chosen] };
    const begun = await tasks.scheduleExclusively({ action: REDACT_ACTION, resourceId: userId, params });
    if (begun !== null) return begun.id;
    throw new MatrixError(400, "M_UNKNOWN", `Redact already in progress for user ${userId}`);
  }

  /** Returns how it stands. Throws 404. */
  async status(id: string): Promise<JsonObject> {
    const task = await this.#deps.tasks.get(id);
    if (task?.action !== REDACT_ACTION) throw notFound(`redact id '${id}' not found`);
    const { status, result, error } = task;
    if (status === "scheduled" || status === "active") return { status };
    if (status === "complete") return { status, failed_redactions: result?.["failed_redactions"] ?? {} };
    return { status: "failed", error: error ?? "Unknown error, please check the logs for more information." };
  }

  async #run({ params, result }: ScheduledTask, run: TaskRun): Promise<void> {
    const redaction = params as unknown as MassRedaction;
    const failed = { ...(result?.["failed_redactions"] as JsonObject | undefined) };
    for (const roomId of redaction.rooms) {
      for (const stored of await this.#eventsOf(roomId, redaction)) {
        if (run.signal.aborted) return;
        const { eventId } = stored.event;
        const reason = await this.#redact(redaction, { roomId, eventId });
        if (reason !== null) failed[eventId] = reason;
      }
      await this.#deps.db.transaction((tx) => run.save(tx, { progress: null, result: { failed_redactions: failed } }));
    }
  }

  async #eventsOf(roomId: RoomId, { userId, limit, afterTs, beforeTs }: MassRedaction): Promise<StoredEvent[]> {
    const { db, events } = this.#deps;
    const room = await events.roomById(roomId);
    if (room === null) return [];
    const nids = await selectEventsOfUser(db, {
      ...{ roomNid: room.roomNid, userId, types: TYPES, limit: Math.min(limit, MAX_EVENTS) },
      after: afterTs ?? 0,
      before: beforeTs ?? Number.MAX_SAFE_INTEGER,
    });
    const stored = await events.byNid(nids);
    return nids.map((nid) => stored.get(nid)).filter((found) => found !== undefined).filter(isToRedact);
  }

  /** Returns why that was not possible; null when it is done. */
  async #redact(
    { userId, admin, usesAdmin, reason }: MassRedaction,
    { roomId, eventId }: { roomId: RoomId; eventId: EventId },
  ): Promise<string | null> {
    const { engine, isLocal, log } = this.#deps;
    const options = { roomId, eventId, reason, txnId: null };
    try {
      if (!usesAdmin && isLocal(userId)) {
        // Who was put out of the room cannot send any more: then it takes the administrator's power.
        const byUser = await engine.redact(acting(userId), options).catch((error) => {
          if (error instanceof MatrixError && error.status === 403) return null;
          throw error;
        });
        if (byUser !== null) return null;
      }
      await engine.redact(acting(admin), options);
      return null;
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      log.info("An event could not be redacted", { event: eventId, reason: error.message });
      return error.message;
    }
  }
}

function isToRedact({ event, redactedByNid }: StoredEvent): boolean {
  if (redactedByNid !== null) return false;
  return event.type !== "m.room.member" || event.content["membership"] === "join";
}

/** The user as the server acts for them. */
function acting(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: true, isShadowBanned: false, appserviceId: null };
}
