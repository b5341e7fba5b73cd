/**
 * Joining, leaving, inviting and the rest. Spec: client-server API, "Room membership".
 *
 * What is refused here is what the authorization rules would let pass, or what deserves a better answer than theirs.
 */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { forbidden, MatrixError, notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import { selectLocalMembership } from "../storage/local_memberships.ts";
import { hasLeft, markForgotten } from "./auto_forget.ts";
import type { RoomBatch } from "./batch.ts";
import { assertNotBlocked } from "./blocked_rooms.ts";
import { inviteElsewhere } from "./elsewhere.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { assertInvitesAllowed, assertMayInvite } from "./invite_rules.ts";
import { allowedDetails, memberContent, type MemberDetails, profileFor } from "./member_content.ts";
import { restrictedJoinContent } from "./membership_restricted.ts";
import { assertMayRefuse } from "./notice_rules.ts";
import { findSameState, transactionKey } from "./send.ts";
import type { Membership, Requester, StoredEvent } from "./types.ts";

/** One change of a membership. */
export interface MembershipChange {
  readonly requester: Requester;
  readonly roomId: RoomId;
  /** Whose membership changes. */
  readonly target: UserId;
  readonly membership: Membership;
  readonly details?: MemberDetails;
  readonly txnId?: string | null;
}

/** Joins a room that this server is in; returns the member event, the old one when nothing changes. */
export async function joinRoom(
  deps: EngineDeps,
  { requester, roomId, details }: { requester: Requester; roomId: RoomId; details?: MemberDetails },
): Promise<EventId> {
  if (await deps.heads.load(roomId) === null) throw noServers();
  return await setMembership(deps, {
    requester,
    roomId,
    target: requester.userId,
    membership: "join",
    ...(details === undefined ? {} : { details }),
  });
}

/** Makes a membership event and sends it, unless the membership already is like that. */
export async function setMembership(deps: EngineDeps, change: MembershipChange): Promise<EventId> {
  const { requester, roomId, target, membership, details, txnId = null } = change;
  if (membership !== "leave" && membership !== "ban") await assertNotBlocked(deps.db, roomId);
  if (membership === "invite") {
    assertInvitesAllowed(deps.options, requester);
    await assertMayInvite(deps, { sender: requester.userId, target });
  }
  const profile = await profileFor(deps, { userId: target, membership });
  const content = memberContent(membership, { profile, details: allowedDetails(deps.options, { requester, details }) });
  if (membership === "invite" && domainOf(target) !== deps.serverName) {
    return await inviteOther(deps, { change, content });
  }
  return await deps.queues.run(roomId, async (batch) => {
    const current = await batch.current("m.room.member", target);
    const done = await findDone(batch, { change, current, content });
    if (done !== null) return done.event.eventId;
    assertPossible(change, current);
    assertMayRefuse(deps.options.noticesUser ?? null, { change, current });
    if (membership === "join") await assertMayJoin(batch, { requester, current });
    const extra = membership === "join" ? await restrictedJoinContent(deps, { batch, target, current }) : {};
    const template = {
      type: "m.room.member",
      stateKey: target,
      sender: requester.userId,
      content: { ...content, ...extra },
    };
    return (await batch.append(template, transactionKey(requester, { type: template.type, txnId }))).event.eventId;
  });
}

async function inviteOther(
  deps: EngineDeps,
  { change, content }: { change: MembershipChange; content: JsonObject },
): Promise<EventId> {
  const { requester, roomId, target } = change;
  return await inviteElsewhere(deps, {
    roomId,
    template: { type: "m.room.member", stateKey: target, sender: requester.userId, content },
    check: async (batch) => {
      const current = await batch.current("m.room.member", target);
      const done = await findDone(batch, { change, current, content });
      if (done === null) assertPossible(change, current);
      return done;
    },
  });
}

/** Returns the current event when the change would say the same again. */
async function findDone(
  batch: RoomBatch,
  { change: { requester, target, membership }, current, content }: {
    change: MembershipChange;
    current: StoredEvent | null;
    content: JsonObject;
  },
): Promise<StoredEvent | null> {
  if (current === null || membershipOf(current) !== membership) return null;
  const { join_authorised_via_users_server: authorizer } = current.event.content;
  // A join keeps who authorized it while only the profile may change.
  const same = membership === "join" && authorizer !== undefined
    ? { ...content, join_authorised_via_users_server: authorizer }
    : content;
  if (membership === "join" && current.event.content["third_party_invite"] !== undefined) return null;
  return await findSameState(batch, {
    type: "m.room.member",
    stateKey: target,
    sender: requester.userId,
    content: same,
  });
}

/** Refuses changes that make no sense from the current membership. */
function assertPossible({ requester, target, membership }: MembershipChange, current: StoredEvent | null): void {
  const before = membershipOf(current);
  const isOwn = requester.userId === target;
  if (membership === "leave" && !isOwn && before !== "join" && before !== "invite" && before !== "knock") {
    if (before !== "ban") throw forbidden(`"${target}" is not in the room`);
  }
  if (membership === "invite" && before === "join") throw forbidden(`"${target}" is already in the room`);
  if (membership === "invite" && before === "ban") throw forbidden(`"${target}" is banned from the room`);
}

async function assertMayJoin(
  batch: RoomBatch,
  { requester, current }: { requester: Requester; current: StoredEvent | null },
): Promise<void> {
  if (batch.copy !== null && batch.copy.localJoined.size === 0 && membershipOf(current) !== "join") throw noServers();
  if (!requester.isGuest) return;
  const access = await batch.current("m.room.guest_access", "");
  if (access?.event.content["guest_access"] !== "can_join") {
    throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot join the room");
  }
}

/** Takes back a ban. */
export async function unbanUser(
  deps: EngineDeps,
  { requester, roomId, target, details }: {
    requester: Requester;
    roomId: RoomId;
    target: UserId;
    details?: MemberDetails;
  },
): Promise<EventId> {
  const content = memberContent("leave", { profile: null, ...(details === undefined ? {} : { details }) });
  return await deps.queues.run(roomId, async (batch) => {
    if (await batch.membershipOf(requester.userId) !== "join") throw forbidden("You are not in the room");
    if (await batch.membershipOf(target) !== "ban") {
      throw new MatrixError(403, "M_BAD_STATE", `"${target}" is not banned from the room`);
    }
    const template = { type: "m.room.member", stateKey: target, sender: requester.userId, content };
    return (await batch.append(template)).event.eventId;
  });
}

/** Puts out a user who is in the room, invited or knocking; a banned one stays banned. */
export async function kickUser(deps: EngineDeps, change: Omit<MembershipChange, "membership">): Promise<EventId> {
  const { requester, roomId, target, details } = change;
  const content = memberContent("leave", { profile: null, ...(details === undefined ? {} : { details }) });
  return await deps.queues.run(roomId, async (batch) => {
    if (await batch.membershipOf(requester.userId) !== "join") throw forbidden("You are not in the room");
    const before = await batch.membershipOf(target);
    if (before !== "join" && before !== "invite" && before !== "knock") {
      throw forbidden(`"${target}" is not in the room`);
    }
    const template = { type: "m.room.member", stateKey: target, sender: requester.userId, content };
    return (await batch.append(template)).event.eventId;
  });
}

/** Hides a room that a user is not in from their lists. Throws 400 while they are in it. */
export async function forgetRoom(
  deps: EngineDeps,
  { requester, roomId }: { requester: Requester; roomId: RoomId },
): Promise<void> {
  const { userId } = requester;
  await deps.db.transaction(async (tx) => {
    const own = await selectLocalMembership(tx, { userId, roomId });
    if (own === null) throw notFound("You have never been in the room");
    if (!hasLeft(own.membership)) {
      throw new MatrixError(400, "M_UNKNOWN", `You have to leave "${roomId}" before you can forget it`);
    }
    await markForgotten(deps, { tx, userId, roomNid: own.roomNid, roomId });
  });
}

/** Returns the membership that an event gives, or null. */
export function membershipOf(stored: StoredEvent | null): string | null {
  const membership = stored?.event.content["membership"];
  return typeof membership === "string" ? membership : null;
}

function noServers(): MatrixError {
  return notFound("No server that is in the room is known");
}
