/** Memberships that need other servers: which way a user's own goes, and inviting users of other servers. */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { forbidden, MatrixError, notFound } from "../protocol/errors.ts";
import { type EventId, parseServerName, type RoomId, type ServerName, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { federationRoomState } from "../protocol/stripped_state.ts";
import { selectLocalMembership } from "../storage/local_memberships.ts";
import type { RoomBatch } from "./batch.ts";
import { assertNotBlocked } from "./blocked_rooms.ts";
import { buildAt, type EventTemplate } from "./build.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { allowedDetails, memberContent, type MemberDetails, profileFor } from "./member_content.ts";
import { joinRoom, setMembership } from "./membership.ts";
import { NoAuthorizer } from "./membership_restricted.ts";
import { joinWithinLimit } from "./room_limits.ts";
import { policyServerOf } from "./policy.ts";
import { type ReceivedEvent, receiveEvents } from "./receive.ts";
import type { Membership, Requester, StoredEvent } from "./types.ts";

/** A change of one's own membership, with servers that may know the room. */
export interface OwnChange {
  readonly requester: Requester;
  readonly roomId: RoomId;
  readonly via?: readonly ServerName[];
  readonly details?: MemberDetails;
}

/**
 * Joins a room: by ourselves where one of our users is in it and may let others in, else through another server. While the
 * room's members are not all here we do not know who is banned, so that others decide.
 */
export async function joinAnywhere(deps: EngineDeps, change: OwnChange): Promise<EventId> {
  const { roomId, requester: { userId } } = change;
  await assertNotBlocked(deps.db, roomId);
  const copy = await deps.heads.load(roomId);
  const isIn = copy !== null && copy.localJoined.size > 0;
  if (isIn && copy.isPartial && !copy.localJoined.has(userId) && deps.remote.current !== null) {
    const servers = await deps.remote.current.serversIn(roomId);
    return await joinElsewhere(deps, { ...change, via: [...change.via ?? [], ...servers] });
  }
  if (isIn) {
    try {
      return await joinRoom(deps, change);
    } catch (error) {
      if (!(error instanceof NoAuthorizer) || deps.remote.current === null) throw error;
      const servers = await deps.remote.current.serversIn(roomId);
      return await joinElsewhere(deps, { ...change, via: [...change.via ?? [], ...servers] });
    }
  }
  if (deps.remote.current === null) return await joinRoom(deps, change);
  if (change.requester.isGuest) {
    throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot join rooms of other servers");
  }
  const { current: remote } = deps.remote;
  const request = await requestOf(deps, { change, membership: "join" });
  return await joinWithinLimit(deps, { requester: change.requester, remote, request });
}

/** Knocks on a room: by ourselves or through another server. */
export async function knockAnywhere(deps: EngineDeps, change: OwnChange): Promise<EventId> {
  const { requester, roomId } = change;
  const { current: remote } = deps.remote;
  await assertNotBlocked(deps.db, roomId);
  if (remote === null || await isInRoom(deps, roomId)) {
    return await setMembership(deps, { ...change, target: requester.userId, membership: "knock" });
  }
  return await remote.knock(await requestOf(deps, { change, membership: "knock" }));
}

/** Leaves a room, turns down an invitation or takes back a knock. */
export async function leaveAnywhere(deps: EngineDeps, change: OwnChange): Promise<EventId> {
  const { requester: { userId }, roomId } = change;
  const { current: remote } = deps.remote;
  if (remote !== null && !await isInRoom(deps, roomId)) {
    const own = await selectLocalMembership(deps.db, { userId, roomId });
    const stored = own === null ? null : await deps.events.getByNid(own.eventNid);
    if (stored !== null && own?.membership === "leave") return stored.event.eventId;
    if (own?.membership === "invite" || own?.membership === "knock") {
      return await remote.leave(await requestOf(deps, { change, membership: "leave" }));
    }
  }
  return await setMembership(deps, { ...change, target: userId, membership: "leave" });
}

async function joinElsewhere(deps: EngineDeps, change: OwnChange): Promise<EventId> {
  const { current: remote } = deps.remote;
  if (remote === null) throw notFound("No server that is in the room is known");
  return await remote.join(await requestOf(deps, { change, membership: "join" }));
}

async function requestOf(
  deps: EngineDeps,
  { change: { requester, roomId, via = [], details }, membership }: {
    change: OwnChange;
    membership: Membership;
  },
): Promise<{ roomId: RoomId; userId: UserId; servers: ServerName[]; content: JsonObject }> {
  const { userId } = requester;
  const profile = await profileFor(deps, { userId, membership });
  const content = memberContent(membership, { profile, details: allowedDetails(deps.options, { requester, details }) });
  const own = await selectLocalMembership(deps.db, { userId, roomId });
  const inviter = own?.membership === "invite" ? domainOf(own.sender) : null;
  // Who names servers means these: the room's id tells only where it was made.
  const named = via.length === 0 ? [domainOf(roomId)] : via;
  const candidates = membership === "leave" ? [inviter, ...named] : [...named, inviter];
  const servers = candidates.map((name) => name === null ? null : parseServerName(name));
  return { roomId, userId, content, servers: [...new Set(servers.filter((name) => name !== null))] };
}

async function isInRoom({ heads }: EngineDeps, roomId: RoomId): Promise<boolean> {
  const copy = await heads.load(roomId);
  return copy !== null && copy.localJoined.size > 0;
}

/**
 * Invites a user of another server: their server signs the event before anybody else sees it. The room goes on meanwhile.
 */
export async function inviteElsewhere(
  deps: EngineDeps,
  { roomId, template, check }: {
    roomId: RoomId;
    template: EventTemplate;
    /** Throws when the invitation makes no sense; returns the event that says the same already. */
    check: (batch: RoomBatch) => Promise<StoredEvent | null>;
  },
): Promise<EventId> {
  const { current: remote } = deps.remote;
  const target = template.stateKey as UserId;
  if (remote === null) throw forbidden(`"${target}" is of another server, which cannot be reached`);
  const prepared = await deps.queues.run(roomId, async (batch) => {
    const done = await check(batch);
    if (done !== null) return done.event.eventId;
    const { place } = await batch.plan(template);
    const received = buildAt(template, place);
    const inviter = await batch.current("m.room.member", template.sender);
    return { received, inviter, policy: await policyServerOf(batch) };
  });
  if (typeof prepared === "string") return prepared;
  const { received, inviter, policy } = prepared;
  const shown = await deps.prejoinState(roomId);
  const known = inviter === null || shown.some(({ nid }) => nid === inviter.nid) ? shown : [...shown, inviter];
  const roomState = federationRoomState(known.map(({ event }) => event));
  const recommended = policy === null ? received : await deps.policySigner.sign(received, policy);
  const signed: ReceivedEvent = await remote.invite({ received: recommended, roomState });
  const [outcome] = await receiveEvents(deps, { roomId, events: [{ ...signed, isOurs: true }] });
  if (outcome?.kind !== "accepted" && outcome?.kind !== "duplicate") {
    throw forbidden(outcome !== undefined && "reason" in outcome ? outcome.reason : "The invitation came too late");
  }
  return signed.event.eventId;
}
