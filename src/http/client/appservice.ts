/**
 * What only application services call. Spec: application service API, "Client-Server API Extensions".
 *   POST /_matrix/client/v1/appservice/{appserviceId}/ping
 *   PUT  /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}
 */
import { z } from "zod";
import { parseRoomId } from "../../protocol/ids.ts";
import type { AppserviceActions } from "../../services/appservice_actions.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds, pathText } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface AppserviceRoutesDeps {
  readonly auth: Auth;
  readonly actions: AppserviceActions;
}

const PingBody = z.looseObject({ transaction_id: z.string().max(255).nullish() });
const ListBody = z.looseObject({ visibility: z.enum(["public", "private"]) });

/** Registers the endpoints. */
export function appserviceRoutes(app: App, { auth, actions }: AppserviceRoutesDeps): void {
  client(app, ["v1", "unstable/fi.mau.msc2659"]).post("/appservice/:appserviceId/ping", auth.user(), async (c) => {
    const { transaction_id: transactionId } = await readJson(c, PingBody, { allowEmpty: true });
    const serviceId = pathText(c, "appserviceId");
    const durationMs = await actions.ping(requester(c), { serviceId, transactionId: transactionId ?? null });
    return json({ duration_ms: durationMs });
  });
  client(app).put("/directory/list/appservice/:networkId/:roomId", auth.user(), async (c) => {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    const networkId = pathText(c, "networkId");
    const { visibility } = await readJson(c, ListBody);
    await actions.setListed(requester(c), { networkId, roomId, isListed: visibility === "public" });
    return json({});
  });
}
