/**
 * Sending events. Spec: client-server API, "Sending events to a room" and "Redactions".
 *   PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}
 *   PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}
 *   PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}
 */
import { z } from "zod";
import { type EventId, parseEventId, parseRoomId } from "../../protocol/ids.ts";
import { MAX_STICKY_MS } from "../../protocol/sticky.ts";
import type { RoomEngine } from "../../rooms/engine.ts";
import type { DelayedEvents, DelayRequest } from "../../services/delayed_events.ts";
import { type App, client, type Ctx, requester, sessionOf } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson, readJsonObject } from "../middleware/body.ts";
import { delayOf } from "./delayed_events.ts";
import { intParam, pathIds, query } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface RoomSendRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly engine: RoomEngine;
  readonly delayedEvents: DelayedEvents;
  /** Clients may send sticky events (MSC4354). */
  readonly allowsSticky: boolean;
  /** Redacts what relates to an event (MSC3912); null where it is not offered. */
  readonly redactRelated: RedactRelated | null;
}

const MAX_REL_TYPES = 50;
const RedactBody = z.looseObject({
  reason: z.string().nullish(),
  "org.matrix.msc3912.with_relations": z.array(z.string()).max(MAX_REL_TYPES).nullish(),
});

/** Redacts by `redact` what relates to an event by one of the types, or by any. */
export type RedactRelated = (related: {
  eventId: EventId;
  relTypes: ReadonlySet<string> | null;
  redact: (eventId: EventId) => Promise<unknown>;
}) => Promise<void>;
const TimestampQuery = z.object({ ts: intParam().optional() });
const STICKY_PARAM = "org.matrix.msc4354.sticky_duration_ms";
const StickyQuery = z.object({ [STICKY_PARAM]: intParam({ max: MAX_STICKY_MS }).optional() });
/** In UTF-16 units; the bound of ids in bytes is checked where events are built. */
const MAX_TYPE_LENGTH = 255;
const MAX_TXN_ID_LENGTH = 255;

/** Registers the endpoints. */
export function roomSendRoutes(app: App, deps: RoomSendRoutesDeps): void {
  const { auth, limits, engine, delayedEvents, allowsSticky } = deps;
  /** Keeps the event for later when the request says so (MSC4140); null for an event to be sent at once. */
  async function delay(c: Ctx, event: Omit<DelayRequest, "delayMs" | "readContent">): Promise<Response | null> {
    const delayMs = delayOf(c);
    if (delayMs === null) return null;
    const readContent = () => readJsonObject(c);
    return json({
      delay_id: await delayedEvents.schedule(requester(c), { ...event, ...sticky(c), delayMs, readContent }),
    });
  }

  /** Where clients may not, the parameter is like any unknown one. */
  function sticky(c: Ctx): { stickyMs?: number } {
    if (!allowsSticky) return {};
    const stickyMs = query(c, StickyQuery)[STICKY_PARAM];
    return stickyMs === undefined ? {} : { stickyMs };
  }

  async function putState(c: Ctx): Promise<Response> {
    const { roomId, eventType, stateKey } = pathIds(c, {
      roomId: parseRoomId,
      eventType: parseType,
      stateKey: parseText,
    });
    const delayed = await delay(c, { roomId, type: eventType, stateKey, txnId: null });
    if (delayed !== null) return delayed;
    const content = await readJsonObject(c);
    const options = { roomId, type: eventType, stateKey, content, txnId: null, ...timestamp(c), ...sticky(c) };
    return json({ event_id: await engine.sendEvent(requester(c), options) });
  }

  const message = limits.perUser("rc_message");
  client(app)
    .put("/rooms/:roomId/send/:eventType/:txnId", auth.senderGuestOk(), message, async (c) => {
      const { roomId, eventType, txnId } = pathIds(c, { roomId: parseRoomId, eventType: parseType, txnId: parseTxnId });
      const delayed = await delay(c, { roomId, type: eventType, stateKey: null, txnId });
      if (delayed !== null) return delayed;
      const content = await readJsonObject(c);
      const options = { roomId, type: eventType, stateKey: null, content, txnId, ...timestamp(c), ...sticky(c) };
      return json({ event_id: await engine.sendEvent(requester(c), options) });
    })
    .put("/rooms/:roomId/state/:eventType", auth.senderGuestOk(), message, putState)
    .put("/rooms/:roomId/state/:eventType/", auth.senderGuestOk(), message, putState)
    .put("/rooms/:roomId/state/:eventType/:stateKey", auth.senderGuestOk(), message, putState)
    .put("/rooms/:roomId/redact/:eventId/:txnId", auth.user(), message, (c) => redact(c, deps));
}

/** A suspended user may redact what is their own. */
async function redact(
  c: Ctx,
  { engine, redactRelated }: Pick<RoomSendRoutesDeps, "engine" | "redactRelated">,
): Promise<Response> {
  const { roomId, eventId, txnId } = pathIds(c, { roomId: parseRoomId, eventId: parseEventId, txnId: parseTxnId });
  const body = await readJson(c, RedactBody, { allowEmpty: true });
  const ownOnly = sessionOf(c)?.isSuspended === true;
  const redaction = { roomId, eventId, reason: body.reason ?? null, txnId, ownOnly };
  const redactionId = await engine.redact(requester(c), redaction);
  const relTypes = body["org.matrix.msc3912.with_relations"] ?? [];
  if (redactRelated !== null && relTypes.length > 0) {
    await redactRelated({
      eventId,
      relTypes: relTypes.includes("*") ? null : new Set(relTypes),
      redact: (related) => engine.redact(requester(c), { ...redaction, eventId: related, txnId: null }),
    });
  }
  return json({ event_id: redactionId });
}

function parseType(text: string): string | null {
  return text.length > 0 && text.length <= MAX_TYPE_LENGTH ? text : null;
}

/** The state key may be empty and have any characters. */
function parseText(text: string): string {
  return text;
}

function parseTxnId(text: string): string | null {
  return text.length > 0 && text.length <= MAX_TXN_ID_LENGTH && !text.includes("\u0000") ? text : null;
}

/** Application services may say when an event was made. Spec: application service API, "Timestamp massaging". */
function timestamp(c: Ctx): { originServerTs?: number } {
  if (requester(c).appserviceId === null) return {};
  const { ts } = query(c, TimestampQuery);
  if (ts === undefined) return {};
  return { originServerTs: ts };
}
