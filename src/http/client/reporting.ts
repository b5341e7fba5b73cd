/**
 * Reports to the administrators. Spec: client-server API, "Reporting Content".
 *   POST /rooms/{roomId}/report
 *   POST /rooms/{roomId}/report/{eventId}
 *   POST /users/{userId}/report
 */
import { z } from "zod";
import { parseEventId, parseRoomId, parseUserId } from "../../protocol/ids.ts";
import type { Reports } from "../../services/reports.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ReportRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly reports: Reports;
}

const MAX_REASON = 10_000;
const Reason = z.string().max(MAX_REASON).refine((text) => !text.includes("\u0000"));
const EventBody = z.looseObject({
  reason: Reason.nullish(),
  score: z.number().int().min(-100).max(100).nullish(),
});
const ReasonBody = z.looseObject({ reason: Reason });

/** Registers the endpoints. */
export function reportRoutes(app: App, { auth, limits, reports }: ReportRoutesDeps): void {
  const limit = limits.perUser("rc_reports");
  client(app)
    .post("/rooms/:roomId/report", auth.user(), limit, async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const { reason } = await readJson(c, ReasonBody);
      await reports.reportRoom(requester(c).userId, { roomId, reason });
      return json({});
    })
    .post("/rooms/:roomId/report/:eventId", auth.user(), limit, async (c) => {
      const { roomId, eventId } = pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
      const { reason, score } = await readJson(c, EventBody);
      await reports.reportEvent(requester(c), { roomId, eventId, reason: reason ?? null, score: score ?? null });
      return json({});
    })
    .post("/users/:userId/report", auth.user(), limit, async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const { reason } = await readJson(c, ReasonBody);
      await reports.reportUser(requester(c).userId, { userId, reason });
      return json({});
    });
  client(app, ["unstable/org.matrix.msc4151"]).post("/rooms/:roomId/report", auth.user(), limit, async (c) => {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    const { reason } = await readJson(c, ReasonBody);
    await reports.reportRoom(requester(c).userId, { roomId, reason });
    return json({});
  });
}
