/** Whom a local user may invite, beyond what the authorization rules say. */
import { domainOf } from "../protocol/auth_rules_context.ts";
import { forbidden } from "../protocol/errors.ts";
import type { ServerName, UserId } from "../protocol/ids.ts";

/** Throws when the invitation could not reach the user: those of other servers are reached by federation. */
export function assertMayInvite({ serverName }: { readonly serverName: ServerName }, userId: UserId): void {
  if (domainOf(userId) !== serverName) throw forbidden(`"${userId}" is of another server, which cannot be reached`);
}
