/** Joining rooms that let in the members of other rooms. Spec: "Room version 8", "Restricted rooms". */
import { forbidden, MatrixError } from "../protocol/errors.ts";
import { parseRoomId, type RoomId, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { getActionLevel, getUserLevel } from "../protocol/power_levels.ts";
import { selectLocalMembership } from "../storage/local_memberships.ts";
import type { RoomBatch } from "./batch.ts";
import type { EngineDeps } from "./engine_deps.ts";
import type { StoredEvent } from "./types.ts";

/** Nobody of this server has the power to let users into a room, but another server may. */
export class NoAuthorizer extends MatrixError {
  constructor() {
    super(403, "M_FORBIDDEN", "Nobody of this server may let you into the room");
  }
}

const MAX_ALLOWED_ROOMS = 100;

/**
 * Returns what a join must say besides: who of this server's members authorizes it, where the join rule asks for that.
 * Throws `M_FORBIDDEN` when the user is in none of the rooms whose members may join.
 */
export async function restrictedJoinContent(
  deps: EngineDeps,
  { batch, target, current }: { batch: RoomBatch; target: UserId; current: StoredEvent | null },
): Promise<JsonObject> {
  const { rules } = batch;
  const joinRules = await batch.current("m.room.join_rules", "");
  const joinRule = joinRules?.event.content["join_rule"];
  const isRestricted = (joinRule === "restricted" && rules.restrictedJoinRule) ||
    (joinRule === "knock_restricted" && rules.knockRestrictedJoinRule);
  const membership = current?.event.content["membership"];
  if (joinRules === null || !isRestricted || membership === "join" || membership === "invite") return {};
  if (membership === "ban") return {};
  const rooms = allowedRooms(joinRules.event.content["allow"]);
  if (!await isInAny(deps, { userId: target, rooms })) {
    throw forbidden("You are in none of the rooms whose members may join");
  }
  const authorizer = await findAuthorizer(batch);
  if (authorizer === null) throw new NoAuthorizer();
  return { join_authorised_via_users_server: authorizer };
}

/** Returns the rooms in the `allow` list of join rules. */
export function allowedRooms(allow: JsonValue | undefined): RoomId[] {
  if (!Array.isArray(allow)) return [];
  return allow.slice(0, MAX_ALLOWED_ROOMS).flatMap((entry) => {
    if (!isJsonObject(entry) || entry["type"] !== "m.room_membership") return [];
    const roomId = typeof entry["room_id"] === "string" ? parseRoomId(entry["room_id"]) : null;
    return roomId === null ? [] : [roomId];
  });
}

/** Tells whether a local user is joined to one of the rooms. */
export async function isInAny(
  { db }: Pick<EngineDeps, "db">,
  { userId, rooms }: { userId: UserId; rooms: readonly RoomId[] },
): Promise<boolean> {
  for (const roomId of rooms) {
    const own = await selectLocalMembership(db, { userId, roomId });
    if (own !== null && own.membership === "join") return true;
  }
  return false;
}

/** Returns the local member with the most power, if that is enough to invite. */
async function findAuthorizer(batch: RoomBatch): Promise<UserId | null> {
  const create = await batch.current("m.room.create", "");
  if (create === null || batch.copy === null) return null;
  const levels = { create: create.event, powerLevels: (await batch.current("m.room.power_levels", ""))?.event };
  const needed = getActionLevel(levels, "invite");
  let best: { userId: UserId; level: number } | null = null;
  for (const userId of batch.copy.localJoined) {
    const level = getUserLevel(levels, userId);
    if (level < needed || (best !== null && level <= best.level)) continue;
    if (await batch.membershipOf(userId) !== "join") continue;
    best = { userId, level };
    if (level === Infinity) break;
  }
  return best === null ? null : best.userId;
}
