/**
 * Invitations. Spec: server-server API, "Inviting to a room".
 *   PUT /_matrix/federation/v1/invite/{roomId}/{eventId}
 *   PUT /_matrix/federation/v2/invite/{roomId}/{eventId}
 */
import { missingParam } from "../../protocol/errors.ts";
import { type EventId, parseEventId, parseRoomId, type RoomId } from "../../protocol/ids.ts";
import { type HandleInvites, readInviteV1 } from "../../rooms/handle_invites.ts";
import type { App, Ctx } from "../app.ts";
import { pathIds } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the routes are built from. */
export interface InviteRoutesDeps {
  readonly auth: FederationAuth;
  readonly invites: HandleInvites;
}

/** The first version of the endpoint does not name the room's, and is for the oldest rooms only. */
const V1_ROOM_VERSION = "1";

/** Registers the endpoints. */
export function inviteRoutes(app: App, { auth, invites }: InviteRoutesDeps): void {
  signed(app, auth)
    .put("/v1/invite/:roomId/:eventId", async (c, { origin, body }) => {
      const invite = { ...placeOf(c), ...readInviteV1(body), roomVersion: V1_ROOM_VERSION };
      return jsonText(`[200,{"event":${await invites.invite(origin, invite)}}]`);
    })
    .put("/v2/invite/:roomId/:eventId", async (c, { origin, body }) => {
      const { room_version: roomVersion, event: pdu, invite_room_state: roomState } = body;
      if (typeof roomVersion !== "string") throw missingParam("room_version");
      return jsonText(
        `{"event":${await invites.invite(origin, { ...placeOf(c), roomVersion, pdu, roomState })}}`,
      );
    });
}

function placeOf(c: Ctx): { roomId: RoomId; eventId: EventId } {
  return pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
}
