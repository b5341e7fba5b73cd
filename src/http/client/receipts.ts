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

const MarkersBody = z.looseObject({
  "m.fully_read": z.string().max(255).optional(),
  "m.read": z.string().max(255).optional(),
  "m.read.private": z.string().max(255).optional(),
});
const TypingBody = z.looseObject({ typing: z.boolean(), timeout: z.number().optional() });

/** Registers the receipt and typing endpoints. */
export function receiptRoutes(app: App, deps: ReceiptRoutesDeps): void {
  const { auth, receipts, typing, isJoined, noteActivity } = deps;
  client(app)
    .post("/rooms/:roomId/receipt/:receiptType/:eventId", auth.user(), async (c) => {
      const { roomId, eventId } = pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
      const type = pathText(c, "receiptType");
      const threadId = threadIdIn(await readJsonObject(c, { allowEmpty: true }));
      const { userId } = requester(c);
      if (type === "m.fully_read") {
        if (threadId !== null) throw invalidParam('"m.fully_read" cannot have a thread');
        await receipts.setMarkers({ userId, roomId, fullyRead: eventId });
      } else {
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
        read: eventIdIn(body, "m.read"),
        readPrivate: eventIdIn(body, "m.read.private"),
      });
      await noteActivity(requester(c));
      return json({});
    })
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

function isReceiptType(type: string): type is ReceiptType {
  return (RECEIPT_TYPES as readonly string[]).includes(type);
}

function eventIdIn(body: z.output<typeof MarkersBody>, name: keyof typeof MarkersBody.shape): EventId | undefined {
  const text = body[name];
  if (text === undefined) return undefined;
  const eventId = parseEventId(text);
  if (eventId === null) throw invalidParam(`Invalid event id in "${name}"`);
  return eventId;
}
