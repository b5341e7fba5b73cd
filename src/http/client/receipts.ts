/**
 * Receipts, read markers and typing. Spec: client-server API, "Receipts", "Fully read markers", "Typing Notifications".
 *   POST /rooms/{roomId}/receipt/{receiptType}/{eventId}
 *   POST /rooms/{roomId}/read_markers
 *   PUT  /rooms/{roomId}/typing/{userId}
 */
import { z } from "zod";
import { forbidden, invalidParam } from "../../protocol/errors.ts";
import {
  type EventId,
  isStorable,
  MAX_ID_BYTES,
  parseEventId,
  parseRoomId,
  parseUserId,
  type RoomId,
  type UserId,
} from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { Requester } from "../../rooms/types.ts";
import { RECEIPT_TYPES, type ReceiptsService, type ReceiptType } from "../../services/receipts.ts";
import type { TypingService } from "../../services/typing.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson, readJsonObject } from "../middleware/body.ts";
import { pathIds, pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ReceiptRoutesDeps {
  readonly auth: Auth;
  readonly receipts: ReceiptsService;
  readonly typing: TypingService;
  readonly isJoined: (userId: UserId, roomId: RoomId) => Promise<boolean>;
  /** A client that reads or types is active. */
  readonly noteActivity: (requester: Requester) => Promise<void>;
}

/** The field's name before it is in the specification (MSC4446). */
const ALLOW_BACKWARD = "com.beeper.allow_backward";
const MarkersBody = z.looseObject({
  [ALLOW_BACKWARD]: z.boolean().optional(),
  "m.fully_read": z.string().max(255).optional(),
  "m.read": z.string().max(255).optional(),
  "m.read.private": z.string().max(255).optional(),
});
const TypingBody = z.looseObject({ typing: z.boolean(), timeout: z.number().optional() });

/** Registers the receipt and typing endpoints. */
export function receiptRoutes(app: App, deps: ReceiptRoutesDeps): void {
  readRoutes(app, deps);
  typingRoutes(app, deps);
}

function readRoutes(app: App, { auth, receipts, noteActivity }: ReceiptRoutesDeps): void {
  client(app)
    .post("/rooms/:roomId/receipt/:receiptType/:eventId", auth.user(), async (c) => {
      const { roomId, eventId } = pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
      const type = pathText(c, "receiptType");
      const body = await readJsonObject(c, { allowEmpty: true });
      const threadId = threadIdIn(body);
      const allowBackward = allowBackwardIn(body);
      const { userId } = requester(c);
      if (type === "m.fully_read") {
        if (threadId !== null) throw invalidParam('"m.fully_read" cannot have a thread');
        await receipts.setMarkers({ userId, roomId, fullyRead: eventId, allowBackward });
      } else {
        if (allowBackward) throw invalidParam(`"${ALLOW_BACKWARD}" is for "m.fully_read" only`);
        if (!isReceiptType(type)) throw invalidParam(`Receipt type must be one of ${RECEIPT_TYPES.join(", ")}`);
        await receipts.set({ userId, roomId, type, eventId, threadId });
      }
      await noteActivity(requester(c));
      return json({});
    })
    .post("/rooms/:roomId/read_markers", auth.user(), async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const body = await readJson(c, MarkersBody, { allowEmpty: true });
      const { userId } = requester(c);
      await receipts.setMarkers({
        userId,
        roomId,
        fullyRead: eventIdIn(body, "m.fully_read"),
        allowBackward: body[ALLOW_BACKWARD] ?? false,
        read: eventIdIn(body, "m.read"),
        readPrivate: eventIdIn(body, "m.read.private"),
      });
      await noteActivity(requester(c));
      return json({});
    });
}

function typingRoutes(app: App, { auth, typing, isJoined, noteActivity }: ReceiptRoutesDeps): void {
  client(app)
    .put("/rooms/:roomId/typing/:userId", auth.user(), async (c) => {
      const { roomId, userId } = pathIds(c, { roomId: parseRoomId, userId: parseUserId });
      const body = await readJson(c, TypingBody);
      if (userId !== requester(c).userId) throw forbidden("Cannot set the typing state of another user");
      if (!await isJoined(userId, roomId)) throw forbidden(`User ${userId} is not in room ${roomId}`);
      if (requester(c).isShadowBanned) return json({});
      await typing.set({
        roomId,
        userId,
        typing: body.typing,
        ...(body.timeout === undefined ? {} : { timeoutMs: body.timeout }),
      });
      await noteActivity(requester(c));
      return json({});
    });
}

function threadIdIn({ thread_id: threadId }: JsonObject): string | null {
  if (threadId === undefined) return null;
  if (typeof threadId !== "string" || threadId === "" || !isStorable(threadId, MAX_ID_BYTES)) {
    throw invalidParam('"thread_id" must be a non-empty string');
  }
  return threadId;
}

function allowBackwardIn({ [ALLOW_BACKWARD]: allowed }: JsonObject): boolean {
  if (allowed !== undefined && typeof allowed !== "boolean") {
    throw invalidParam(`"${ALLOW_BACKWARD}" must be a boolean`);
  }
  return allowed ?? false;
}

function isReceiptType(type: string): type is ReceiptType {
  return (RECEIPT_TYPES as readonly string[]).includes(type);
}

type Marker = Exclude<keyof typeof MarkersBody.shape, typeof ALLOW_BACKWARD>;

function eventIdIn(body: z.output<typeof MarkersBody>, name: Marker): EventId | undefined {
  const text = body[name];
  if (text === undefined) return undefined;
  const eventId = parseEventId(text);
  if (eventId === null) throw invalidParam(`Invalid event id in "${name}"`);
  return eventId;
}
