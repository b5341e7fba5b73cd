/** Member events sent as state events: they mean the same as the endpoints for memberships. */
import { badJson, forbidden, invalidParam, MatrixError } from "../protocol/errors.ts";
import { type EventId, parseUserId } from "../protocol/ids.ts";
import type { EngineDeps } from "./engine_deps.ts";
import { setMembership } from "./membership.ts";
import type { SendOptions } from "./send.ts";
import type { Membership, Requester } from "./types.ts";

const MEMBERSHIPS: readonly Membership[] = ["join", "invite", "leave", "ban", "knock"];

/** Changes a membership as the content says. */
export async function sendMember(
  deps: EngineDeps,
  { requester, options }: { requester: Requester; options: SendOptions },
): Promise<EventId> {
  const target = parseUserId(options.stateKey ?? "");
  if (target === null) throw invalidParam("The state key of a member event must be a user id");
  const membership = MEMBERSHIPS.find((known) => known === options.content["membership"]);
  if (membership === undefined) throw badJson("The content has no known membership");
  const isOwn = target === requester.userId;
  if ((membership === "join" || membership === "knock") && !isOwn) {
    throw forbidden(`You cannot ${membership} for others`);
  }
  if (requester.isGuest && !(isOwn && (membership === "join" || membership === "leave"))) {
    throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests may only join and leave");
  }
  return await setMembership(deps, {
    requester,
    roomId: options.roomId,
    target,
    membership,
    details: { extra: options.content },
    txnId: options.txnId,
  });
}
