/**
 * Joining and leaving rooms. Spec: client-server API, "Room membership".
 *   POST /_matrix/client/v3/join/{roomIdOrAlias}, /knock/{roomIdOrAlias}
 *   POST /_matrix/client/v3/rooms/{roomId}/{join,leave,forget,invite,kick,ban,unban}
 */
import { z } from "zod";
import {
  parseRoomAlias,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomAlias,
  type RoomId,
  type ServerName,
} from "../../protocol/ids.ts";
import type { JsonObject } from "../../protocol/json.ts";
import type { RoomEngine } from "../../rooms/engine.ts";
import type { MemberDetails } from "../../rooms/member_content.ts";
import type { Requester } from "../../rooms/types.ts";
import type { ThirdPartyInvites } from "../../services/third_party_invites.ts";
import { toSignedInvite } from "../../rooms/third_party_invites.ts";
import { REDACT_EVENTS_KEYS } from "../../rooms/user_redactions.ts";
import type { RateLimits } from "../../services/rate_limits.ts";
import { type App, client, type Ctx, type Guard, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { checkJson, readJson, readJsonObject } from "../middleware/body.ts";
import { pathIds, searchParams } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json } from "../middleware/responses.ts";
import { AddressInviteBody, toAddressInvite } from "./address_invites.ts";

/** What the routes are built from. */
export interface MembershipRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly rateLimits: RateLimits;
  readonly engine: RoomEngine;
  readonly thirdPartyInvites: ThirdPartyInvites;
  readonly directory: {
    resolve(alias: RoomAlias): Promise<{ readonly roomId: RoomId; readonly servers: readonly ServerName[] }>;
  };
}

const MAX_VIA = 50;

const ReasonBody = z.looseObject({ reason: z.string().nullish() });
const UserId = z.string().transform((text, context) => {
  const userId = parseUserId(text);
  if (userId !== null) return userId;
  context.addIssue({ code: "custom", message: "Not a user id" });
  return z.NEVER;
});
/** What an identity server has signed, with all that it holds. */
const ThirdPartySigned = z.looseObject({
  ...{ sender: UserId, mxid: UserId, token: z.string().max(255) },
  signatures: z.record(z.string(), z.record(z.string(), z.string())),
});
const JoinBody = z.looseObject({ reason: z.string().nullish(), third_party_signed: ThirdPartySigned.optional() });
const TargetBody = z.looseObject({
  user_id: UserId,
  reason: z.string().nullish(),
  redact_events: z.boolean().optional(),
  "org.matrix.msc4293.redact_events": z.boolean().optional(),
});

/** Registers the endpoints. */
export function membershipRoutes(app: App, deps: MembershipRoutesDeps): void {
  ownRoutes(app, deps);
  othersRoutes(app, deps);
}

function ownRoutes(
  app: App,
  { auth, limits, rateLimits, engine, directory, thirdPartyInvites }: MembershipRoutesDeps,
): void {
  async function join(c: Ctx, { roomId, via }: Place): Promise<Response> {
    const { reason, third_party_signed: proof, ...extra } = await readJson(c, JoinBody, { allowEmpty: true });
    rateLimits.checkTarget(requester(c), { name: "rc_joins_per_room", key: roomId });
    if (proof !== undefined) {
      const signed = proof as unknown as JsonObject;
      const { userId: target } = requester(c);
      await thirdPartyInvites.exchange(toSignedInvite({ roomId, sender: proof.sender, target, signed }));
    }
    // As elsewhere, what else the body holds goes into the member event.
    await engine.join(requester(c), { roomId, via, details: { reason: reason ?? null, extra: extra as JsonObject } });
    return json({ room_id: roomId });
  }

  async function find(c: Ctx): Promise<Place> {
    const { roomIdOrAlias } = pathIds(c, { roomIdOrAlias: parseRoomIdOrAlias });
    const via = viaOf(c);
    if (!isAlias(roomIdOrAlias)) return { roomId: roomIdOrAlias, via };
    const { roomId, servers } = await directory.resolve(roomIdOrAlias);
    return { roomId, via: [...via, ...servers] };
  }

  const joins = limits.perUser("rc_joins.local");
  client(app)
    .post("/join/:roomIdOrAlias", auth.senderGuestOk(), joins, async (c) => join(c, await find(c)))
    .post("/rooms/:roomId/join", auth.senderGuestOk(), joins, (c) => join(c, { roomId: roomIdOf(c), via: viaOf(c) }))
    .post("/knock/:roomIdOrAlias", auth.sender(), joins, async (c) => {
      const place = await find(c);
      const { reason } = await readJson(c, ReasonBody, { allowEmpty: true });
      await engine.knock(requester(c), { ...place, ...reasonDetails(reason) });
      return json({ room_id: place.roomId });
    })
    .post("/rooms/:roomId/leave", auth.guestOk(), async (c) => {
      const { reason } = await readJson(c, ReasonBody, { allowEmpty: true });
      await engine.leave(requester(c), { roomId: roomIdOf(c), ...reasonDetails(reason) });
      return json({});
    })
    .post("/rooms/:roomId/forget", auth.user(), async (c) => {
      await readJsonObject(c, { allowEmpty: true });
      await engine.forget(requester(c), { roomId: roomIdOf(c) });
      return json({});
    });
}

type Target = z.output<typeof TargetBody>;
type Action = (
  who: Requester,
  target: { roomId: RoomId; userId: Target["user_id"]; details?: MemberDetails },
) => Promise<unknown>;

function othersRoutes(app: App, { auth, limits, rateLimits, engine, thirdPartyInvites }: MembershipRoutesDeps): void {
  async function inviteAddress(c: Ctx, body: JsonObject): Promise<Response> {
    const invite = toAddressInvite(roomIdOf(c), checkJson(AddressInviteBody, body));
    rateLimits.checkUser("rc_third_party_invite", requester(c));
    rateLimits.checkTarget(requester(c), { name: "rc_invites.per_room", key: invite.roomId });
    await thirdPartyInvites.invite(requester(c), invite);
    return json({});
  }

  function route(name: string, { guard, act }: { guard: Guard; act: Action }): void {
    client(app).post(`/rooms/:roomId/${name}`, auth.sender(), guard, async (c) => {
      const body = await readJsonObject(c);
      if (name === "invite" && body.user_id === undefined && body.medium !== undefined) {
        return await inviteAddress(c, body);
      }
      const target = checkJson(TargetBody, body);
      const details = { reason: target.reason ?? null, extra: REDACTING.has(name) ? redactEventsIn(target) : {} };
      await act(requester(c), { roomId: roomIdOf(c), userId: target.user_id, details });
      return json({});
    });
  }

  const message = limits.perUser("rc_message");
  route("invite", {
    guard: limits.perUser("rc_invites.per_issuer"),
    act: (who, target) => {
      rateLimits.checkTarget(who, { name: "rc_invites.per_room", key: target.roomId });
      rateLimits.checkTarget(who, { name: "rc_invites.per_user", key: target.userId });
      return engine.invite(who, target);
    },
  });
  route("kick", { guard: message, act: (who, target) => engine.kick(who, target) });
  route("ban", { guard: message, act: (who, target) => engine.ban(who, target) });
  route("unban", { guard: message, act: (who, target) => engine.unban(who, target) });
}

/** The ways to put somebody out may redact what they said (MSC4293). */
const REDACTING: ReadonlySet<string> = new Set(["ban", "kick"]);

function redactEventsIn(target: Target): JsonObject {
  return Object.fromEntries(REDACT_EVENTS_KEYS.flatMap((key) => target[key] === undefined ? [] : [[key, target[key]]]));
}

function reasonDetails(reason: string | null | undefined): { details?: MemberDetails } {
  return typeof reason === "string" ? { details: { reason } } : {};
}

/** A room, and servers that may know it. */
interface Place {
  readonly roomId: RoomId;
  readonly via: readonly ServerName[];
}

/** Spec: `via`, and `server_name` as it was called before version 1.12. */
function viaOf(c: Ctx): ServerName[] {
  const params = searchParams(c);
  const names = [...params.getAll("via"), ...params.getAll("server_name")].slice(0, MAX_VIA);
  return names.map(parseServerName).filter((name) => name !== null);
}

function roomIdOf(c: Ctx): RoomId {
  return pathIds(c, { roomId: parseRoomId }).roomId;
}

function parseRoomIdOrAlias(text: string): RoomId | RoomAlias | null {
  return text.startsWith("#") ? parseRoomAlias(text) : parseRoomId(text);
}

function isAlias(id: RoomId | RoomAlias): id is RoomAlias {
  return id.startsWith("#");
}
