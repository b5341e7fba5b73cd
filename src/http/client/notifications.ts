/**
 * Lists of notifications. Spec: client-server API, "Listing Notifications".
 *   GET /_matrix/client/v3/notifications
 */
import { z } from "zod";
import type { NotificationList } from "../../services/notification_list.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { intParam, query } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface NotificationRoutesDeps {
  readonly auth: Auth;
  readonly notificationList: NotificationList;
}

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
const ListQuery = z.object({
  from: intParam().optional(),
  limit: intParam({ min: 1 }).optional(),
  only: z.string().optional(),
});

/** Registers the endpoint. */
export function notificationRoutes(app: App, { auth, notificationList }: NotificationRoutesDeps): void {
  client(app).get("/notifications", auth.user(), async (c) => {
    const { from, limit, only } = query(c, ListQuery);
    return jsonText(
      await notificationList.page(requester(c), {
        before: from ?? null,
        onlyHighlight: only === "highlight",
        limit: Math.min(limit ?? DEFAULT_LIMIT, MAX_LIMIT),
      }),
    );
  });
}
