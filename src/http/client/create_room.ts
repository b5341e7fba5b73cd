/**
 * New rooms. Spec: client-server API, "Creation" and "Room Upgrades".
 *   POST /_matrix/client/v3/createRoom
 *   POST /_matrix/client/v3/rooms/{roomId}/upgrade
 */
import { z } from "zod";
import { parseRoomId } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../../protocol/json.ts";
import type { CreateRoomOptions } from "../../rooms/create_options.ts";
import type { RoomEngine } from "../../rooms/engine.ts";
import type { Requester } from "../../rooms/types.ts";
import type { RateLimits } from "../../services/rate_limits.ts";
import { type App, client, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import type { ThirdPartyInvites } from "../../services/third_party_invites.ts";
import { readJson } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";
import { AddressInviteBody, toAddressInvite } from "./address_invites.ts";

/** What the routes are built from. */
export interface CreateRoomRoutesDeps {
  /** Throws when the requester may not make the alias that a new room is to have. */
  readonly assertMayUseAlias: (requester: Requester, localpart: string) => void;
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly engine: RoomEngine;
  readonly rateLimits: RateLimits;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

/** Room for a few hundred invitations and a long initial state. */
const MAX_BODY_BYTES = 1_048_576;
const MAX_ADDRESS_INVITES = 20;
const JsonObjectSchema = z.custom<JsonObject>(isJsonObject);
const CreateRoomBody = z.looseObject({
  visibility: z.enum(["public", "private"]).optional(),
  room_alias_name: z.string().optional(),
  name: z.string().nullish(),
  topic: z.string().nullish(),
  invite: z.array(z.string()).optional(),
  invite_3pid: z.array(AddressInviteBody).max(MAX_ADDRESS_INVITES).optional(),
  room_version: z.string().optional(),
  creation_content: JsonObjectSchema.optional(),
  initial_state: z.array(z.looseObject({
    type: z.string(),
    state_key: z.string().optional(),
    content: JsonObjectSchema,
  })).optional(),
  preset: z.string().optional(),
  is_direct: z.boolean().optional(),
  power_level_content_override: JsonObjectSchema.optional(),
});
const UpgradeBody = z.looseObject({ new_version: z.string(), additional_creators: z.array(z.string()).optional() });

/** Registers the endpoints. */
export function createRoomRoutes(app: App, deps: CreateRoomRoutesDeps): void {
  const { auth, limits, engine, rateLimits, thirdPartyInvites, assertMayUseAlias } = deps;
  client(app)
    .post("/createRoom", auth.sender(), limits.perUser("rc_room_creation"), async (c) => {
      const body = await readJson(c, CreateRoomBody, { maxBytes: MAX_BODY_BYTES });
      if (body.room_alias_name !== undefined) assertMayUseAlias(requester(c), body.room_alias_name);
      const addresses = body.invite_3pid ?? [];
      for (const _ of addresses) rateLimits.checkUser("rc_third_party_invite", requester(c));
      const roomId = await engine.createRoom(requester(c), toOptions(body));
      await thirdPartyInvites.inviteAll(requester(c), addresses.map((address) => toAddressInvite(roomId, address)));
      return json({ room_id: roomId });
    })
    .post("/rooms/:roomId/upgrade", auth.sender(), limits.perUser("rc_room_creation"), async (c) => {
      const { roomId } = pathIds(c, { roomId: parseRoomId });
      const { new_version: newVersion, additional_creators: additionalCreators } = await readJson(c, UpgradeBody);
      const options = { roomId, newVersion, ...(additionalCreators === undefined ? {} : { additionalCreators }) };
      return json({ replacement_room: await engine.upgrade(requester(c), options) });
    });
}

function toOptions(body: z.output<typeof CreateRoomBody>): CreateRoomOptions {
  return {
    roomVersion: body.room_version,
    preset: body.preset,
    visibility: body.visibility,
    roomAliasName: body.room_alias_name,
    name: body.name ?? undefined,
    topic: body.topic ?? undefined,
    invite: body.invite,
    initialState: body.initial_state?.map(({ type, state_key: stateKey, content }) => ({ type, stateKey, content })),
    creationContent: body.creation_content,
    powerLevelContentOverride: body.power_level_content_override,
    isDirect: body.is_direct,
  };
}
