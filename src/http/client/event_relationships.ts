/**
 * Threads of any depth (MSC2836).
 *   POST /_matrix/client/unstable/event_relationships
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { type EventId, parseEventId, parseRoomId, type RoomId } from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { MAX_VISITED } from "../../rooms/relationship_walk.ts";
import type { Relationships, ThreadQuery } from "../../rooms/relationships.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJsonObject } from "../middleware/body.ts";
import { jsonText } from "../middleware/responses.ts";

const MAX_LIMIT = 100;

function idOf<Id>(parse: (text: string) => Id | null): z.ZodType<Id> {
  return z.string().transform((text, ctx): Id => {
    const id = parse(text);
    if (id !== null) return id;
    ctx.addIssue("Not an id");
    return z.NEVER;
  });
}

const Body = z.looseObject({
  event_id: idOf<EventId>(parseEventId),
  room_id: idOf<RoomId>(parseRoomId).optional(),
  max_depth: z.number().int().default(3),
  max_breadth: z.number().int().default(10),
  limit: z.number().int().min(1).default(MAX_LIMIT),
  depth_first: z.boolean().default(false),
  recent_first: z.boolean().default(true),
  include_parent: z.boolean().default(false),
  include_children: z.boolean().default(false),
  direction: z.enum(["up", "down"]).default("down"),
  batch: z.string().default(""),
});

/** Reads a request's body; servers send the same as clients. */
export function threadQueryOf(body: JsonObject): ThreadQuery {
  const asked = checkJson(Body, body);
  return {
    eventId: asked.event_id,
    roomId: asked.room_id ?? null,
    limit: Math.min(asked.limit, MAX_LIMIT),
    skip: placeOf(asked.batch),
    options: {
      ...{ maxDepth: asked.max_depth, maxBreadth: asked.max_breadth, direction: asked.direction },
      ...{ depthFirst: asked.depth_first, recentFirst: asked.recent_first },
      ...{ includeParent: asked.include_parent, includeChildren: asked.include_children },
    },
    body: {
      ...{ max_depth: asked.max_depth, max_breadth: asked.max_breadth, direction: asked.direction },
      ...{ depth_first: asked.depth_first, recent_first: asked.recent_first },
    },
  };
}

/** A token is the number of events that were given before. */
function placeOf(batch: string): number {
  if (batch === "") return 0;
  if (!/^\d{1,4}$/.test(batch) || Number(batch) > MAX_VISITED) throw invalidParam('Invalid value for "batch"');
  return Number(batch);
}

/** Registers the endpoint. */
export function eventRelationshipRoutes(
  app: App,
  { auth, relationships }: { auth: Auth; relationships: Relationships },
): void {
  client(app, ["unstable"]).post("/event_relationships", auth.user(), async (c) => {
    const query = threadQueryOf(await readJsonObject(c));
    const { userId, deviceId } = requester(c);
    return jsonText(await relationships.forClient({ userId, deviceId }, query));
  });
}
