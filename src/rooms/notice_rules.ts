/** What holds for rooms of server notices. Spec: client-server API, "Server Notices". */
import { MatrixError } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import type { MembershipChange } from "./membership.ts";
import type { StoredEvent } from "./types.ts";

/** Throws when the change would turn down an invitation to the server's notices: one must join before one can leave. */
export function assertMayRefuse(
  noticesUser: UserId | null,
  { change, current }: { change: MembershipChange; current: StoredEvent | null },
): void {
  const isOwn = change.requester.userId === change.target;
  if (noticesUser === null || !isOwn || change.membership !== "leave" || current === null) return;
  if (current.event.sender === noticesUser && current.event.content["membership"] === "invite") {
    throw new MatrixError(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "You cannot reject this invite");
  }
}
