/** Pages of a room's events, as its members and administrators of the server read them. */
import { z } from "zod";
import { invalidParam } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import type { EventContext } from "../rooms/context.ts";
import type { Pagination } from "../rooms/pagination.ts";
import type { Reading } from "../rooms/room_access.ts";
import { parseRoomToken, type RoomToken } from "../streams/tokens.ts";
import { readRoomEventFilter } from "../sync/filters.ts";
import type { Ctx } from "./app.ts";
import { intParam, query } from "./middleware/params.ts";
import { jsonText } from "./middleware/responses.ts";

const MAX_PAGE = 1_000;
const MAX_CONTEXT = 100;
const DEFAULT_LIMIT = 10;

const MessagesQuery = z.object({
  dir: z.enum(["b", "f"]).optional(),
  from: z.string().optional(),
  to: z.string().optional(),
  limit: intParam().optional(),
  filter: z.string().optional(),
});
const ContextQuery = z.object({ limit: intParam().optional(), filter: z.string().optional() });

/** Answers with events of a room in order. Spec: client-server API, "GET /rooms/{roomId}/messages". */
export async function messagesPage(
  c: Ctx,
  { pagination, read }: { pagination: Pagination; read: () => Promise<Reading> },
): Promise<Response> {
  const params = query(c, MessagesQuery);
  const reading = await read();
  return jsonText(
    await pagination.messages(reading, {
      direction: params.dir ?? "f",
      from: tokenOf("from", params.from),
      to: tokenOf("to", params.to),
      limit: Math.min(params.limit ?? DEFAULT_LIMIT, MAX_PAGE),
      filter: readRoomEventFilter(params.filter ?? null),
    }),
  );
}

/** Answers with what was said around an event. Spec: client-server API, "GET /rooms/{roomId}/context/{eventId}". */
export async function contextPage(
  c: Ctx,
  { context, read }: { context: EventContext; read: () => Promise<{ reading: Reading; eventId: EventId }> },
): Promise<Response> {
  const params = query(c, ContextQuery);
  const { reading, eventId } = await read();
  const limit = Math.min(params.limit ?? DEFAULT_LIMIT, MAX_CONTEXT);
  const filter = readRoomEventFilter(params.filter ?? null);
  return jsonText(await context.around(reading, { eventId, limit, filter }));
}

/** Returns the place that a query parameter names; null without one. Throws `M_INVALID_PARAM`. */
export function tokenOf(name: string, text: string | undefined): RoomToken | null {
  if (text === undefined || text === "") return null;
  const token = parseRoomToken(text);
  if (token === null) throw invalidParam(`Invalid value for query parameter "${name}"`);
  return token;
}
