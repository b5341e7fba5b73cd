/** Invitations to addresses, and what becomes of them. Spec: client-server API, "Third-party invites". */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { forbidden } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { inviteElsewhere } from "./elsewhere.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { assertMayInvite } from "./invite_rules.ts";
import { memberContent, membershipIn, profileFor } from "./member_content.ts";

/** The type of the event that says that somebody with an address may come. */
export const THIRD_PARTY_INVITE_TYPE = "m.room.third_party_invite";

/** What an identity server has signed: that a user has the address that was invited. */
export interface SignedInvite {
  readonly roomId: RoomId;
  /** Who invited the address. */
  readonly sender: UserId;
  readonly target: UserId;
  /** With `mxid`, `token` and `signatures`. */
  readonly signed: JsonObject;
  readonly token: string;
}

/** Returns the signed object with what it is for; throws `M_FORBIDDEN` when it is for somebody else. */
export function toSignedInvite(invite: Omit<SignedInvite, "token">): SignedInvite {
  const { mxid, token } = invite.signed;
  if (mxid !== invite.target || typeof token !== "string") {
    throw forbidden("The third-party invite is for another user");
  }
  return { ...invite, token };
}

/** Throws `M_FORBIDDEN` where a user may not invite addresses to a room: before anybody is told of the address. */
export async function assertMayInviteAddress(
  deps: Pick<EngineDeps, "queues">,
  { roomId, sender }: { roomId: RoomId; sender: UserId },
): Promise<void> {
  await deps.queues.run(roomId, async (batch) => {
    await batch.plan({ type: THIRD_PARTY_INVITE_TYPE, stateKey: "any", sender, content: {} });
  });
}

/** Makes the invitation of the user who has the address. The rules check the signature. */
export async function exchangeInvite(
  deps: EngineDeps,
  { roomId, sender, target, signed, token }: SignedInvite,
): Promise<EventId> {
  await assertMayInvite(deps, { sender, target });
  const profile = await profileFor(deps, { userId: target, membership: "invite" });
  const issued = await deps.queues.run(roomId, (batch) => batch.current(THIRD_PARTY_INVITE_TYPE, token));
  if (issued === null) throw forbidden("The room has no such third-party invite");
  const displayName = issued.event.content["display_name"];
  const content = {
    ...memberContent("invite", { profile }),
    third_party_invite: { ...(typeof displayName === "string" ? { display_name: displayName } : {}), signed },
  };
  const template = { type: "m.room.member", stateKey: target, sender, content };
  if (domainOf(target) !== deps.serverName) {
    return await inviteElsewhere(deps, {
      ...{ roomId, template },
      check: async (batch) => doneBy(await batch.current("m.room.member", target), token),
    });
  }
  return await deps.queues.run(roomId, async (batch) => {
    const done = doneBy(await batch.current("m.room.member", target), token);
    return (done ?? await batch.append(template)).event.eventId;
  });
}

type Stored = Awaited<ReturnType<Parameters<typeof inviteElsewhere>[1]["check"]>>;

/** Returns the member event if it comes from the same invitation already; throws when the user is in the room anyway. */
function doneBy(current: Stored, token: string): Stored {
  const membership = membershipIn(current);
  if (membership === "join") throw forbidden(`"${current?.event.stateKey}" is already in the room`);
  if (current === null || membership !== "invite") return null;
  const { third_party_invite: invite } = current.event.content;
  const signed = isJsonObject(invite) ? invite["signed"] : undefined;
  return isJsonObject(signed) && signed["token"] === token ? current : null;
}
