/** Whom a local user may invite, beyond what the authorization rules say. */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { forbidden, MatrixError } from "../protocol/errors.ts";
import type { ServerName, UserId } from "../protocol/ids.ts";

/** What becomes of an invitation: an ignored one is made, but the invited user is not told. */
export type InviteDecision = "allow" | "ignore" | "block";

/** What decides about invitations of local users; without it all are allowed. */
export type DecideInvite = (invite: { readonly sender: UserId; readonly target: UserId }) => Promise<InviteDecision>;

/** Throws where `block_non_admin_invites` keeps a user from inviting anybody. */
export function assertInvitesAllowed(
  { blocksInvites = false }: { readonly blocksInvites?: boolean },
  { isAdmin }: { readonly isAdmin: boolean },
): void {
  if (blocksInvites && !isAdmin) throw forbidden("Invites have been disabled on this server");
}

/** Throws when a user of this server does not want the invitation; servers decide for their own users. */
export async function assertMayInvite(
  { serverName, decideInvite }: { readonly serverName: ServerName; readonly decideInvite?: DecideInvite },
  invite: { readonly sender: UserId; readonly target: UserId },
): Promise<void> {
  const { target } = invite;
  if (domainOf(target) !== serverName) return;
  if (await decideInvite?.(invite) === "block") {
    throw new MatrixError(403, "M_INVITE_BLOCKED", "The user does not accept this invitation");
  }
}
