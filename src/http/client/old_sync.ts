/**
 * Syncing as it was before `/sync`, and peeking. Spec: client-server API, "Syncing" (deprecated) and "Room previews".
 *   GET /events, /events/{eventId}
 *   GET /initialSync
 *   GET /rooms/{roomId}/initialSync
 */
import { z } from "zod";
import { invalidParam } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId } from "../../protocol/ids.ts";
import type { RoomReaders } from "../../rooms/room_access.ts";
import type { StreamPositions } from "../../streams/notifier.ts";
import { parseSyncToken } from "../../streams/tokens.ts";
import type { OldSync } from "../../sync/old_sync.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { boolParam, intParam, pathIds, query } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface OldSyncRoutesDeps {
  readonly auth: Auth;
  readonly readers: RoomReaders;
  readonly oldSync: OldSync;
}

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
const EventsQuery = z.object({
  from: z.string().optional(),
  timeout: intParam().optional(),
  room_id: z.string().optional(),
});
const InitialQuery = z.object({ limit: intParam().optional(), archived: boolParam().optional() });

/** Registers the endpoints. */
export function oldSyncRoutes(app: App, { auth, readers, oldSync }: OldSyncRoutesDeps): void {
  client(app)
    .get("/events", auth.guestOk(), async (c) => {
      const { from, timeout, room_id: room } = query(c, EventsQuery);
      const roomId = room === undefined ? null : parseRoomId(room);
      if (room !== undefined && roomId === null) throw invalidParam('Invalid value for query parameter "room_id"');
      const events = { since: sinceOf(from), roomId, timeoutMs: timeout ?? 0, signal: c.req.raw.signal };
      return jsonText(await oldSync.listen(requester(c), events));
    })
    .get("/events/:eventId", auth.user(), async (c) => {
      const { eventId } = pathIds(c, { eventId: parseEventId });
      return jsonText(await oldSync.event(requester(c), eventId));
    })
    .get("/initialSync", auth.user(), async (c) => {
      const { limit, archived } = query(c, InitialQuery);
      const options = { limit: Math.min(limit ?? DEFAULT_LIMIT, MAX_LIMIT), archived: archived ?? false };
      return jsonText(await oldSync.initial(requester(c), options));
    })
    .get("/rooms/:roomId/initialSync", auth.guestOk(), async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const { limit } = query(c, InitialQuery);
      const reading = await readers.reading(requester(c), roomId);
      return jsonText(await oldSync.room(reading, Math.min(limit ?? DEFAULT_LIMIT, MAX_LIMIT)));
    });
}

function sinceOf(text: string | undefined): StreamPositions | null {
  if (text === undefined || text === "" || text === "END") return null;
  const positions = parseSyncToken(text);
  if (positions === null) throw invalidParam('Invalid value for query parameter "from"');
  return positions;
}
