/**
 * Presence. Spec: client-server API, "Presence".
 *   PUT, GET /presence/{userId}/status
 */
import { z } from "zod";
import { forbidden } from "../../protocol/errors.ts";
import { parseUserId } from "../../protocol/ids.ts";
import { PRESENCE_STATES, type PresenceService } from "../../services/presence.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";

const PresenceBody = z.looseObject({
  presence: z.enum(PRESENCE_STATES),
  status_msg: z.string().max(4096).nullable().optional(),
});

/** Registers the presence endpoints. */
export function presenceRoutes(app: App, { auth, limits, presence }: {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly presence: PresenceService;
}): void {
  client(app)
    .put("/presence/:userId/status", auth.user(), limits.perUser("rc_presence.per_user"), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      const body = await readJson(c, PresenceBody);
      const { userId: own, deviceId } = requester(c);
      if (userId !== own) throw forbidden("Cannot set the presence of another user");
      await presence.set({ userId, deviceId, state: body.presence, statusMsg: body.status_msg ?? null });
      return json({});
    })
    .get("/presence/:userId/status", auth.user(), async (c) => {
      const { userId } = pathIds(c, { userId: parseUserId });
      return json(await presence.get({ viewer: requester(c).userId, userId }));
    });
}
