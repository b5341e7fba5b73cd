/**
 * Relations and threads. Spec: client-server API, "Forwarding and relating" and "Threading".
 *   GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}[/{relType}[/{eventType}]]
 *   GET /_matrix/client/v1/rooms/{roomId}/threads
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId } from "../../protocol/ids.ts";
import type { Relations } from "../../rooms/relations.ts";
import type { RoomReaders } from "../../rooms/room_access.ts";
import type { Sender } from "../../rooms/transaction_ids.ts";
import { parseRoomToken, type RoomToken } from "../../streams/tokens.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { boolParam, intParam, pathIds, pathText, query } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RelationRoutesDeps {
  readonly auth: Auth;
  readonly readers: RoomReaders;
  readonly relations: Relations;
}

const MAX_PAGE = 100;
const DEFAULT_RELATIONS = 5;
const DEFAULT_THREADS = 10;

const RelationsQuery = z.object({
  dir: z.enum(["b", "f"]).optional(),
  from: z.string().optional(),
  to: z.string().optional(),
  limit: intParam().optional(),
  recurse: boolParam().optional(),
  "org.matrix.msc3981.recurse": boolParam().optional(),
  "org.matrix.msc3715.dir": z.enum(["b", "f"]).optional(),
});
const ThreadsQuery = z.object({
  include: z.enum(["all", "participated"]).optional(),
  from: z.string().optional(),
  limit: intParam({ min: 1 }).optional(),
});

/** Registers the endpoints. */
export function relationRoutes(app: App, { auth, readers, relations }: RelationRoutesDeps): void {
  async function list(c: Ctx): Promise<Response> {
    const { roomId, eventId } = pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
    const params = query(c, RelationsQuery);
    const reading = await readers.reading(sender(c), roomId);
    return jsonText(
      await relations.relations(reading, {
        eventId,
        relType: c.req.param("relType") === undefined ? null : pathText(c, "relType"),
        eventType: c.req.param("eventType") === undefined ? null : pathText(c, "eventType"),
        direction: params.dir ?? params["org.matrix.msc3715.dir"] ?? "b",
        from: tokenOf("from", params.from),
        to: tokenOf("to", params.to),
        limit: Math.min(params.limit ?? DEFAULT_RELATIONS, MAX_PAGE),
        recurse: params.recurse ?? params["org.matrix.msc3981.recurse"] ?? false,
      }),
    );
  }

  client(app, ["v1", "unstable"])
    .get("/rooms/:roomId/relations/:eventId", auth.guestOk(), list)
    .get("/rooms/:roomId/relations/:eventId/:relType", auth.guestOk(), list)
    .get("/rooms/:roomId/relations/:eventId/:relType/:eventType", auth.guestOk(), list);
  client(app, ["v1", "unstable/org.matrix.msc3856"]).get("/rooms/:roomId/threads", auth.user(), async (c) => {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    const { include, from, limit } = query(c, ThreadsQuery);
    const reading = await readers.reading(sender(c), roomId);
    return jsonText(
      await relations.threads(reading, {
        from: tokenOf("from", from),
        limit: Math.min(limit ?? DEFAULT_THREADS, MAX_PAGE),
        participated: include === "participated",
      }),
    );
  });
}

function sender(c: Ctx): Sender {
  const { userId, deviceId } = requester(c);
  return { userId, deviceId };
}

function tokenOf(name: string, text: string | undefined): RoomToken | null {
  if (text === undefined) return null;
  const token = parseRoomToken(text);
  if (token === null) throw invalidParam(`Invalid ${name} parameter`);
  return token;
}
