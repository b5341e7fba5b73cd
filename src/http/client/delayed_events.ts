/**
 * Delayed events (MSC4140). Sending them is in `room_send.ts`.
 *   GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events and …/delayed_events/{delayId}
 *   POST …/delayed_events/{delayId} and …/delayed_events/{delayId}/{action}: without a token, who knows the id may
 */
import { z } from "zod";
import type { DelayedEvents } from "../../services/delayed_events.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { intParam, pathText, query } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface DelayedEventRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly delayedEvents: DelayedEvents;
}

type Action = "cancel" | "restart" | "send";

const ActionBody = z.looseObject({ action: z.enum(["cancel", "restart", "send"]) });

const DelayQuery = z.object({ "org.matrix.msc4140.delay": intParam().optional() });

/** Returns by how many milliseconds a request to send is to be delayed; null for at once. */
export function delayOf(c: Ctx): number | null {
  return query(c, DelayQuery)["org.matrix.msc4140.delay"] ?? null;
}

/** Registers the endpoints. */
export function delayedEventRoutes(app: App, { auth, limits, delayedEvents }: DelayedEventRoutesDeps): void {
  async function manage(c: Ctx, action: Action): Promise<Response> {
    const delayId = pathText(c, "delayId");
    if (action === "cancel") await delayedEvents.cancel(delayId);
    else if (action === "restart") await delayedEvents.restart(delayId);
    else await delayedEvents.sendNow(delayId);
    return json({});
  }

  const limit = limits.perIp("rc_delayed_event_mgmt");
  client(app, ["unstable/org.matrix.msc4140"])
    .get("/delayed_events", auth.user(), async (c) => json(await delayedEvents.list(requester(c).userId)))
    .get(
      "/delayed_events/:delayId",
      limit,
      auth.user(),
      async (c) => json(await delayedEvents.get(requester(c).userId, pathText(c, "delayId"))),
    )
    .post("/delayed_events/:delayId", limit, async (c) => manage(c, (await readJson(c, ActionBody)).action))
    .post("/delayed_events/:delayId/cancel", limit, (c) => manage(c, "cancel"))
    .post("/delayed_events/:delayId/restart", limit, (c) => manage(c, "restart"))
    .post("/delayed_events/:delayId/send", limit, (c) => manage(c, "send"));
}
