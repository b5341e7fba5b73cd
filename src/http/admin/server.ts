/**
 * The server, and its long work, as in Synapse's admin API. All paths are below `/_synapse/admin/v1`.
 *   GET  /fetch_event/{eventId}
 *   GET  /scheduled_tasks
 *   POST /user/{userId}/redact
 *   GET  /user/redact_status/{redactId}
 */
import { z } from "zod";
import type { Clock } from "../../lib/clock.ts";
import { invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId, parseUserId, type RoomId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { EventStore } from "../../rooms/event_store.ts";
import type { StoredEvent } from "../../rooms/types.ts";
import type { MassRedactions } from "../../services/mass_redactions.ts";
import type { TaskScheduler } from "../../services/task_scheduler.ts";
import { TASK_STATUSES, type TaskStatus } from "../../storage/scheduled_tasks.ts";
import { type App, type Ctx, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { intParam, pathIds, pathText, query, searchParams } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ServerAdminRoutesDeps {
  readonly auth: Auth;
  readonly clock: Clock;
  readonly events: EventStore;
  readonly massRedactions: MassRedactions;
  readonly tasks: TaskScheduler;
}

const DEFAULT_LIMIT = 1_000;
const MAX_ROOMS = 10_000;
const TasksQuery = z.object({ resource_id: z.string().max(255).optional(), max_timestamp: intParam().optional() });
const RedactBody = z.looseObject({
  rooms: z.array(z.string()).max(MAX_ROOMS),
  reason: z.string().max(10_000).refine((text) => !text.includes("\u0000")).nullish(),
  limit: z.int().nullish(),
  use_admin: z.boolean().nullish(),
  before_ts: z.int().nullish(),
  after_ts: z.int().nullish(),
});

/** Registers the endpoints. */
export function serverAdminRoutes(app: App, deps: ServerAdminRoutesDeps): void {
  const { auth, clock, events, massRedactions, tasks } = deps;
  plain(app, "/_synapse/admin/v1")
    .get("/fetch_event/:eventId", auth.admin(), async (c) => {
      const eventId = parseEventId(pathText(c, "eventId"));
      const stored = eventId === null ? null : await events.getById(eventId);
      if (stored === null || stored.isRejected) throw notFound("Event not found");
      return json({ event: rawEvent(stored, clock.now()) });
    })
    .get("/scheduled_tasks", auth.admin(), async (c) => {
      const { resource_id: resourceId = null, max_timestamp: maxTs = null } = query(c, TasksQuery);
      const actions = listOf(c, "action_name");
      const statuses = statusesOf(c, "status") ?? statusesOf(c, "job_status");
      const found = await tasks.list({ actions, statuses, resourceId: resourceId === "" ? null : resourceId, maxTs });
      return json({
        scheduled_tasks: found.map(({ id, action, status, changedTs, resourceId: resource, result, error }) => ({
          ...{ id, action, status, timestamp_ms: changedTs, resource_id: resource, result, error },
        })),
      });
    })
    .post("/user/:userId/redact", auth.admin(), (c) => redact(c, massRedactions))
    .get("/user/redact_status/:redactId", auth.admin(), async (c) => {
      return json(await massRedactions.status(pathText(c, "redactId")));
    });
}

async function redact(c: Ctx, massRedactions: MassRedactions): Promise<Response> {
  const { userId } = pathIds(c, { userId: parseUserId });
  const body = await readJson(c, RedactBody);
  if ((body.limit ?? 0) < 0) {
    const message = "If limit is provided it must be a non-negative integer greater than 0.";
    throw new MatrixError(400, "M_UNKNOWN", message);
  }
  const rooms = body.rooms.map((text): RoomId => {
    const roomId = parseRoomId(text);
    if (roomId === null) throw invalidParam('"rooms" holds what is no room id');
    return roomId;
  });
  const id = await massRedactions.begin({
    ...{ userId, admin: requester(c).userId, rooms, reason: body.reason || null },
    limit: body.limit || DEFAULT_LIMIT,
    usesAdmin: body.use_admin === true,
    ...{ beforeTs: body.before_ts ?? null, afterTs: body.after_ts ?? null },
  });
  return json({ redact_id: id });
}

/** Returns an event as servers exchange it, whatever was redacted, with what is known of it here. */
function rawEvent({ event, json: text, isSoftFailed }: StoredEvent, now: number): JsonObject {
  const pdu = JSON.parse(text) as JsonObject;
  const unsigned = isJsonObject(pdu["unsigned"]) ? pdu["unsigned"] : {};
  return {
    ...pdu,
    event_id: event.eventId,
    room_id: event.roomId,
    unsigned: {
      ...unsigned,
      age: now - event.originServerTs,
      ...(isSoftFailed ? { "io.element.synapse.soft_failed": true } : {}),
    },
  };
}

function listOf(c: Ctx, name: string): string[] | null {
  const values = searchParams(c).getAll(name);
  return values.length === 0 ? null : values;
}

function statusesOf(c: Ctx, name: string): TaskStatus[] | null {
  return listOf(c, name)?.map((text) => {
    const status = TASK_STATUSES.find((known) => known === text);
    if (status === undefined) {
      throw invalidParam(`Query parameter "${name}" must be one of ${TASK_STATUSES.join(", ")}`);
    }
    return status;
  }) ?? null;
}
