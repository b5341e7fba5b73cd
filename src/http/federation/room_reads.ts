/**
 * Reading rooms. Spec: server-server API, "Retrieving events", "Backfilling and retrieving missing events", "Room State
 * Resolution".
 *   GET  /event/{eventId}, /state/{roomId}, /state_ids/{roomId}, /event_auth/{roomId}/{eventId}
 *   GET  /backfill/{roomId}, /timestamp_to_event/{roomId}
 *   POST /get_missing_events/{roomId}
 */
import { z } from "zod";
import type { Clock } from "../../lib/clock.ts";
import { invalidParam, missingParam } from "../../protocol/errors.ts";
import { type EventId, parseEventId, parseRoomId, type RoomId, type ServerName } from "../../protocol/ids.ts";
import { MAX_BACKFILL, type ServerReads } from "../../rooms/server_reads.ts";
import type { App, Ctx } from "../app.ts";
import { checkJson } from "../middleware/body.ts";
import { intParam, pathIds, query, searchParams } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the routes are built from. */
export interface RoomReadRoutesDeps {
  readonly auth: FederationAuth;
  readonly reads: ServerReads;
  readonly serverName: ServerName;
  readonly clock: Clock;
}

const MAX_LISTED = 100;

const EventIdParam = z.string().transform((text, ctx): EventId => {
  const eventId = parseEventId(text);
  if (eventId !== null) return eventId;
  ctx.addIssue("Not an event id");
  return z.NEVER;
});
const AtEvent = z.object({ event_id: EventIdParam });
const ByTime = z.object({ ts: intParam(), dir: z.enum(["f", "b"]).default("f") });
const EventIds = z.array(EventIdParam).max(MAX_LISTED);
const GapBody = z.looseObject({
  earliest_events: EventIds,
  latest_events: EventIds,
  limit: z.number().int().min(0).default(10),
  min_depth: z.number().int().default(0),
});

/** Registers the endpoints. */
export function roomReadRoutes(app: App, { auth, reads, serverName, clock }: RoomReadRoutesDeps): void {
  const transaction = (texts: readonly string[]) =>
    jsonText(`{"origin":"${serverName}","origin_server_ts":${clock.now()},"pdus":[${texts.join(",")}]}`);
  signed(app, auth)
    .get("/v1/event/:eventId", async (c, { origin }) => {
      const { eventId } = pathIds(c, { eventId: parseEventId });
      return transaction([await reads.event(origin, eventId)]);
    })
    .get("/v1/state/:roomId", async (c, { origin }) => {
      const { pdus, authChain } = await reads.state(origin, atEvent(c));
      return jsonText(`{"auth_chain":[${authChain.join(",")}],"pdus":[${pdus.join(",")}]}`);
    })
    .get("/v1/state_ids/:roomId", async (c, { origin }) => {
      const { pduIds, authChainIds } = await reads.stateIds(origin, atEvent(c));
      return json({ auth_chain_ids: [...authChainIds], pdu_ids: [...pduIds] });
    })
    .get("/v1/event_auth/:roomId/:eventId", async (c, { origin }) => {
      const at = pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
      return jsonText(`{"auth_chain":[${(await reads.eventAuth(origin, at)).join(",")}]}`);
    })
    .get("/v1/backfill/:roomId", async (c, { origin }) => {
      return transaction(await reads.backfill(origin, backfillOf(c)));
    })
    .post("/v1/get_missing_events/:roomId", async (c, { origin, body }) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const gap = checkJson(GapBody, body);
      const texts = await reads.missingEvents(origin, {
        ...{ roomId, earliest: gap.earliest_events, latest: gap.latest_events },
        ...{ limit: gap.limit, minDepth: gap.min_depth },
      });
      return jsonText(`{"events":[${texts.join(",")}]}`);
    })
    .get("/v1/timestamp_to_event/:roomId", async (c, { origin }) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const { ts, dir } = query(c, ByTime);
      const { eventId, originServerTs } = await reads.nearest(origin, { roomId, ts, backwards: dir === "b" });
      return json({ event_id: eventId, origin_server_ts: originServerTs });
    });
}

function atEvent(c: Ctx): { roomId: RoomId; eventId: EventId } {
  return { ...pathIds(c, { roomId: parseRoomId }), eventId: query(c, AtEvent).event_id };
}

function backfillOf(c: Ctx): { roomId: RoomId; from: readonly EventId[]; limit: number } {
  const { roomId } = pathIds(c, { roomId: parseRoomId });
  const from = searchParams(c).getAll("v").slice(0, MAX_LISTED).map(parseEventId);
  if (from.length === 0) throw missingParam("v");
  const known = from.filter((id) => id !== null);
  if (known.length !== from.length) throw invalidParam('Invalid value for query parameter "v"');
  const { limit } = query(c, z.object({ limit: intParam().default(MAX_BACKFILL) }));
  return { roomId, from: known, limit };
}
