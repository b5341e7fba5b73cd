/**
 * Invitations to addresses that have found their user. Spec: server-server API, "Third-party invites".
 *   PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}
 *   PUT /_matrix/federation/v1/3pid/onbind, by identity servers, without a signature
 */
import { z } from "zod";
import { domainOf } from "../../protocol/auth_rules_context.ts";
import { badJson, forbidden } from "../../protocol/errors.ts";
import { parseRoomId, parseUserId, type ServerName } from "../../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../protocol/json.ts";
import { toSignedInvite } from "../../rooms/third_party_invites.ts";
import type { ThirdPartyInvites } from "../../services/third_party_invites.ts";
import { type App, plain } from "../app.ts";
import { checkJson, readJsonObject } from "../middleware/body.ts";
import { pathIds } from "../middleware/params.ts";
import { json } from "../middleware/responses.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the routes are built from. */
export interface ThirdPartyInviteRoutesDeps {
  readonly auth: FederationAuth;
  readonly serverName: ServerName;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

const MAX_INVITES = 50;
const MAX_ADDRESS = 500;
const MAX_ONBIND_BYTES = 262_144;

const Id = <T>(parse: (text: string) => T | null, what: string) =>
  z.string().transform((text, context): T => {
    const id = parse(text);
    if (id !== null) return id;
    context.addIssue(`Not ${what}`);
    return z.NEVER;
  });
const SignedSchema = z.looseObject({
  mxid: Id(parseUserId, "a user id"),
  token: z.string().max(255),
  signatures: z.custom<JsonObject>((value) => isJsonObject(value as JsonValue)),
});
const ExchangeBody = z.looseObject({
  type: z.literal("m.room.member"),
  room_id: Id(parseRoomId, "a room id"),
  sender: Id(parseUserId, "a user id"),
  state_key: Id(parseUserId, "a user id"),
  content: z.looseObject({
    membership: z.literal("invite"),
    third_party_invite: z.looseObject({ signed: SignedSchema }),
  }),
});
const OnBindBody = z.looseObject({
  medium: z.string().max(MAX_ADDRESS),
  address: z.string().max(MAX_ADDRESS),
  mxid: Id(parseUserId, "a user id"),
  invites: z.array(z.looseObject({
    mxid: Id(parseUserId, "a user id"),
    room_id: Id(parseRoomId, "a room id"),
    sender: Id(parseUserId, "a user id"),
    signed: SignedSchema,
  })).max(MAX_INVITES),
});

/** Registers the endpoints. */
export function thirdPartyInviteRoutes(
  app: App,
  { auth, serverName, thirdPartyInvites }: ThirdPartyInviteRoutesDeps,
): void {
  signed(app, auth).put("/v1/exchange_third_party_invite/:roomId", async (c, { body }) => {
    const { roomId } = pathIds(c, { roomId: parseRoomId });
    const event = checkJson(ExchangeBody, body);
    const { sender, state_key: target, content: { third_party_invite: { signed: proof } } } = event;
    if (event.room_id !== roomId) throw badJson("The event is of another room");
    if (domainOf(sender) !== serverName) throw forbidden("The inviter is not of this server");
    await thirdPartyInvites.exchange(
      toSignedInvite({ roomId, sender, target, signed: proof as unknown as JsonObject }),
    );
    return json({});
  });
  plain(app).put("/_matrix/federation/v1/3pid/onbind", async (c) => {
    const { mxid, invites } = checkJson(OnBindBody, await readJsonObject(c, { maxBytes: MAX_ONBIND_BYTES }));
    if (domainOf(mxid) !== serverName) throw forbidden("The user is not of this server");
    await thirdPartyInvites.bound(
      invites.filter((invite) => invite.mxid === mxid).map(({ room_id: roomId, sender, signed: proof }) =>
        toSignedInvite({ roomId, sender, target: mxid, signed: proof as unknown as JsonObject })
      ),
    );
    return json({});
  });
}
