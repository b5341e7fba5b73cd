/**
 * Following threads (MSC4306, MSC4308).
 *   GET, PUT, DELETE /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{rootId}/subscription
 *   GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions
 */
import { z } from "zod";
import { badJson } from "../../protocol/errors.ts";
import { parseEventId, parseRoomId } from "../../protocol/ids.ts";
import {
  formatSubscriptionToken,
  parseSubscriptionToken,
  type ThreadKey,
  type ThreadSubscriptions,
} from "../../services/thread_subscriptions.ts";
import { type App, client, type Ctx, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { intParam, pathIds, query } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface ThreadSubscriptionRoutesDeps {
  readonly auth: Auth;
  readonly threadSubscriptions: ThreadSubscriptions;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;
const SubscribeBody = z.looseObject({ automatic: z.string().optional() });
const ChangesQuery = z.object({
  dir: z.literal("b"),
  from: z.string().optional(),
  to: z.string().optional(),
  limit: intParam({ min: 1 }).optional(),
});

/** Registers the endpoints. */
export function threadSubscriptionRoutes(app: App, { auth, threadSubscriptions }: ThreadSubscriptionRoutesDeps): void {
  const path = "/rooms/:roomId/thread/:rootId/subscription";
  client(app, ["unstable/io.element.msc4306"])
    .get(path, auth.user(), async (c) => json(await threadSubscriptions.get(requester(c), threadOf(c))))
    .put(path, auth.user(), async (c) => {
      const thread = threadOf(c);
      const { automatic } = await readJson(c, SubscribeBody);
      const cause = automatic === undefined ? null : parseEventId(automatic);
      if (automatic !== undefined && cause === null) throw badJson('"automatic" is not an event id');
      await threadSubscriptions.subscribe(requester(c), { ...thread, cause });
      return json({});
    })
    .delete(path, auth.user(), async (c) => {
      await threadSubscriptions.unsubscribe(requester(c), threadOf(c));
      return json({});
    });
  client(app, ["unstable/io.element.msc4308"]).get("/thread_subscriptions", auth.user(), async (c) => {
    const { from, to, limit } = query(c, ChangesQuery);
    const range = {
      after: to === undefined ? 0 : parseSubscriptionToken(to),
      upTo: from === undefined ? Number.MAX_SAFE_INTEGER : parseSubscriptionToken(from),
      limit: Math.min(limit ?? DEFAULT_LIMIT, MAX_LIMIT),
    };
    const { subscribed, unsubscribed, goesOnBefore } = await threadSubscriptions.changes(requester(c), range);
    const end = goesOnBefore === null ? {} : { end: formatSubscriptionToken(goesOnBefore) };
    return json({ subscribed, unsubscribed, ...end });
  });
}

function threadOf(c: Ctx): ThreadKey {
  return pathIds(c, { roomId: parseRoomId, rootId: parseEventId });
}
