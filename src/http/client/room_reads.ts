/**
 * Reading rooms. Spec: client-server API, "Getting events for a room" and "Jump to date".
 *   GET /joined_rooms
 *   GET /rooms/{roomId}/messages
 *   GET /rooms/{roomId}/context/{eventId}
 *   GET /rooms/{roomId}/event/{eventId}
 *   GET /rooms/{roomId}/members
 *   GET /rooms/{roomId}/joined_members
 *   GET /rooms/{roomId}/state
 *   GET /rooms/{roomId}/state/{eventType}/{stateKey}
 *   GET /rooms/{roomId}/timestamp_to_event
 */
import { z } from "zod";
import { forbidden, notFound } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId } from "../../protocol/ids.ts";
import type { EventContext } from "../../rooms/context.ts";
import type { PartialRooms } from "../../rooms/partial_rooms.ts";
import type { LocalMemberships } from "../../rooms/local_memberships.ts";
import type { Pagination } from "../../rooms/pagination.ts";
import type { Reading, RoomReaders } from "../../rooms/room_access.ts";
import type { RoomState } from "../../rooms/room_state.ts";
import type { TimestampSearch } from "../../rooms/timestamp.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { boolParam, intParam, pathIds, pathText, query } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";
import { contextPage, messagesPage, tokenOf } from "../room_history.ts";

/** What the routes are built from. */
export interface RoomReadRoutesDeps {
  readonly auth: Auth;
  readonly readers: RoomReaders;
  readonly pagination: Pagination;
  readonly context: EventContext;
  readonly roomState: RoomState;
  readonly timestamps: TimestampSearch;
  readonly memberships: LocalMemberships;
  /** Lets wait for rooms whose members are not all here; null while other servers cannot be reached. */
  readonly whole: { readonly current: Pick<PartialRooms, "whenWhole"> | null };
}

const Memberships = z.enum(["join", "invite", "leave", "ban", "knock"]);
const MembersQuery = z.object({
  at: z.string().optional(),
  membership: Memberships.optional(),
  not_membership: Memberships.optional(),
});
/** The parameter's name before it is in the specification (MSC2815). */
const UNREDACTED = "fi.mau.msc2815.include_unredacted_content";
const EventQuery = z.object({ [UNREDACTED]: boolParam().optional() });
const StateQuery = z.object({ format: z.enum(["content", "event"]).optional() });
const TimestampQuery = z.object({ ts: intParam(), dir: z.enum(["b", "f"]) });

/** Registers the endpoints that read rooms. */
export function roomReadRoutes(app: App, deps: RoomReadRoutesDeps): void {
  const { auth, readers, memberships, timestamps } = deps;
  historyRoutes(app, deps);
  stateRoutes(app, deps);
  client(app).get("/joined_rooms", auth.guestOk(), async (c) => {
    const { joined } = await memberships.forUser(requester(c).userId);
    return json({ joined_rooms: [...joined.values()] });
  });
  client(app, ["v1", "unstable/org.matrix.msc3030"]).get(
    "/rooms/:roomId/timestamp_to_event",
    auth.user(),
    async (c) => {
      const { ts, dir } = query(c, TimestampQuery);
      const reading = await readingOf(c, readers);
      const viewer = readers.viewer(reading);
      const found = await timestamps.nearest(reading.access, { viewer, ts, backwards: dir === "b", asksOthers: true });
      return json({ event_id: found.eventId, origin_server_ts: found.originServerTs });
    },
  );
}

function historyRoutes(app: App, { auth, readers, pagination, context }: RoomReadRoutesDeps): void {
  client(app)
    .get(
      "/rooms/:roomId/messages",
      auth.guestOk(),
      (c) => messagesPage(c, { pagination, read: () => readingOf(c, readers) }),
    )
    .get("/rooms/:roomId/context/:eventId", auth.guestOk(), (c) =>
      contextPage(c, {
        context,
        read: async () => {
          const { eventId } = pathIds(c, { eventId: parseEventId });
          return { reading: await readingOf(c, readers), eventId };
        },
      }))
    .get("/rooms/:roomId/event/:eventId", auth.guestOk(), async (c) => {
      const { roomId, eventId } = pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
      const unredacted = query(c, EventQuery)[UNREDACTED] ?? false;
      const { userId, isAdmin } = requester(c);
      const access = await readers.find(userId, roomId);
      if (access === null) throw notFound("Event not found");
      const reading = { requester: requester(c), access };
      if (unredacted && !isAdmin && !await context.mayReadRedacted(reading)) {
        throw forbidden("You do not have the power level to see what was redacted in the room");
      }
      return jsonText(await context.event(reading, { eventId, unredacted }));
    });
}

function stateRoutes(app: App, { auth, readers, roomState, whole }: RoomReadRoutesDeps): void {
  /** As `readingOf`, of a room whose members are all here: those who read them wait for a faster join to end (MSC3902). */
  const wholeReadingOf = async (c: Ctx): Promise<Reading> => {
    const { access: { room } } = await readingOf(c, readers);
    await whole.current?.whenWhole(room.roomNid, c.req.raw.signal);
    return await readingOf(c, readers);
  };
  const one = async (c: Ctx): Promise<Response> => {
    const { format } = query(c, StateQuery);
    const type = pathText(c, "type");
    const stateKey = pathText(c, "stateKey");
    const isMember = type === "m.room.member" && stateKey !== requester(c).userId;
    const reading = isMember ? await wholeReadingOf(c) : await readingOf(c, readers);
    return jsonText(await roomState.one(reading, { type, stateKey, whole: format === "event" }));
  };
  client(app)
    .get("/rooms/:roomId/members", auth.guestOk(), async (c) => {
      const params = query(c, MembersQuery);
      const reading = await wholeReadingOf(c);
      return jsonText(
        await roomState.members(reading, {
          at: tokenOf("at", params.at),
          membership: params.membership ?? null,
          notMembership: params.not_membership ?? null,
        }),
      );
    })
    .get("/rooms/:roomId/joined_members", auth.user(), async (c) => {
      return jsonText(await roomState.joinedMembers(await wholeReadingOf(c)));
    })
    .get("/rooms/:roomId/state", auth.guestOk(), async (c) => jsonText(await roomState.all(await wholeReadingOf(c))))
    .get("/rooms/:roomId/state/:type", auth.guestOk(), one)
    .get("/rooms/:roomId/state/:type/", auth.guestOk(), one)
    .get("/rooms/:roomId/state/:type/:stateKey", auth.guestOk(), one);
}

async function readingOf(c: Ctx, readers: RoomReaders): Promise<Reading> {
  const { roomId } = pathIds(c, { roomId: parseRoomId });
  return await readers.reading(requester(c), roomId);
}
