/**
 * What clients need for calls. Spec: client-server API, "Voice over IP", and MSC4143.
 *   GET /_matrix/client/v3/voip/turnServer
 *   GET /_matrix/client/v1/rtc/transports
 */
import type { Clock } from "../../lib/clock.ts";
import type { JsonObject } from "../../protocol/json.ts";
import { turnCredentials, type TurnOptions } from "../../services/turn.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { json } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface CallRoutesDeps {
  readonly auth: Auth;
  readonly clock: Clock;
  readonly turn: TurnOptions;
  /** As configured. */
  readonly rtcTransports: readonly Readonly<JsonObject>[];
}

/** Registers the endpoints. */
export function callRoutes(app: App, { auth, clock, turn, rtcTransports }: CallRoutesDeps): void {
  client(app).get(
    "/voip/turnServer",
    auth.guestOk(),
    (c) => json(turnCredentials(requester(c), { options: turn, clock })),
  );
  client(app, ["v1", "unstable/org.matrix.msc4143"]).get(
    "/rtc/transports",
    auth.user(),
    () => json({ rtc_transports: rtcTransports.map((transport) => ({ ...transport })) }),
  );
}
