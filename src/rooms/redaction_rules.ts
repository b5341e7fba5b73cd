/** Whether a redaction takes effect. Spec: "Room versions", "Handling redactions" (version 3 on). */
import { domainOf } from "../protocol/auth_rules_context.ts";
import type { RoomEvent } from "../protocol/event.ts";
import { getActionLevel, getUserLevel, type PowerLevelSource } from "../protocol/power_levels.ts";

/**
 * Tells whether an accepted redaction may be applied to its target: the sender has the power, or is of the target's
 * server. In versions 1 and 2 the authorization rules have decided that already, by the domains of the event ids.
 */
export function mayRedact(
  redaction: RoomEvent,
  { target, levels }: { target: RoomEvent; levels: PowerLevelSource },
): boolean {
  if (target.roomId !== redaction.roomId || target.type === "m.room.create") return false;
  if (redaction.rules.eventIdFormat === "server_assigned") return true;
  if (domainOf(redaction.sender) === domainOf(target.sender)) return true;
  return getUserLevel(levels, redaction.sender) >= getActionLevel(levels, "redact");
}
