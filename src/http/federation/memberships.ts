/**
 * Coming, going and knocking. Spec: server-server API, "Joining Rooms", "Leaving Rooms", "Knocking upon a room".
 *   GET /v1/make_join/{roomId}/{userId}, /v1/make_leave/{roomId}/{userId}, /v1/make_knock/{roomId}/{userId}
 *   PUT /v1/send_join/{roomId}/{eventId}, /v1/send_leave/{roomId}/{eventId}, /v1/send_knock/{roomId}/{eventId}
 *   PUT /v2/send_join/{roomId}/{eventId}, /v2/send_leave/{roomId}/{eventId}
 */
import { z } from "zod";
import {
  type EventId,
  parseEventId,
  parseRoomId,
  parseUserId,
  type RoomId,
  type ServerName,
} from "../../protocol/ids.ts";
import type { HandleMemberships, JoinAnswer } from "../../rooms/handle_memberships.ts";
import type { ResidentTemplates, TemplateMembership } from "../../rooms/resident_templates.ts";
import type { App, Ctx } from "../app.ts";
import { boolParam, pathIds, query, searchParams } from "../middleware/params.ts";
import { json, jsonText } from "../middleware/responses.ts";
import { type FederationAuth, signed, type SignedHandler } from "./signed.ts";

/** What the routes are built from. */
export interface MembershipRoutesDeps {
  readonly auth: FederationAuth;
  readonly templates: ResidentTemplates;
  readonly memberships: HandleMemberships;
  readonly serverName: ServerName;
}

const MAX_VERSIONS = 100;
/** What a server that names no versions knows. */
const OLDEST_VERSION = "1";

const JoinQuery = z.object({ omit_members: boolParam().default(false) });

/** Registers the endpoints. */
export function federationMembershipRoutes(app: App, deps: MembershipRoutesDeps): void {
  const { auth, templates, memberships, serverName } = deps;
  function make(membership: TemplateMembership): SignedHandler {
    return async (c, { origin }) => {
      const who = pathIds(c, { roomId: parseRoomId, userId: parseUserId });
      const versions = membership === "leave" ? null : versionsOf(c);
      const { event, roomVersion } = await templates.make(origin, { ...who, membership, versions });
      return json({ event, room_version: roomVersion });
    };
  }
  signed(app, auth)
    .get("/v1/make_join/:roomId/:userId", make("join"))
    .get("/v1/make_leave/:roomId/:userId", make("leave"))
    .get("/v1/make_knock/:roomId/:userId", make("knock"))
    .put("/v2/send_join/:roomId/:eventId", async (c, { origin, body }) => {
      const { omit_members: omitMembers } = query(c, JoinQuery);
      const answer = await memberships.join(origin, { ...placeOf(c), body, omitMembers });
      return jsonText(joinText(answer, serverName));
    })
    .put("/v1/send_join/:roomId/:eventId", async (c, { origin, body }) => {
      const answer = await memberships.join(origin, { ...placeOf(c), body, omitMembers: false });
      return jsonText(`[200,${joinText(answer, serverName)}]`);
    })
    .put("/v1/send_leave/:roomId/:eventId", async (c, { origin, body }) => {
      await memberships.leave(origin, { ...placeOf(c), body });
      return json([200, {}]);
    })
    .put("/v2/send_leave/:roomId/:eventId", async (c, { origin, body }) => {
      await memberships.leave(origin, { ...placeOf(c), body });
      return json({});
    })
    .put("/v1/send_knock/:roomId/:eventId", async (c, { origin, body }) => {
      const state = await memberships.knock(origin, { ...placeOf(c), body });
      return jsonText(`{"knock_room_state":[${state.join(",")}]}`);
    });
}

function joinText(answer: JoinAnswer, serverName: ServerName): string {
  const { event, state, authChain, serversInRoom, membersOmitted } = answer;
  return `{"auth_chain":[${authChain.join(",")}],"event":${event},"members_omitted":${membersOmitted},` +
    `"origin":${JSON.stringify(serverName)},"servers_in_room":${JSON.stringify(serversInRoom)},` +
    `"state":[${state.join(",")}]}`;
}

function placeOf(c: Ctx): { roomId: RoomId; eventId: EventId } {
  return pathIds(c, { roomId: parseRoomId, eventId: parseEventId });
}

function versionsOf(c: Ctx): string[] {
  const versions = searchParams(c).getAll("ver").slice(0, MAX_VERSIONS);
  return versions.length === 0 ? [OLDEST_VERSION] : versions;
}
