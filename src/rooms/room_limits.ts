/**
 * `limit_remote_rooms`: big rooms of other servers are not joined. How big is told in Synapse's terms, by an endpoint of
 * its own that the spec does not have: https://github.com/matrix-org/synapse/pull/5216.
 */
import { MatrixError } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { countCurrentState } from "../storage/federation_rooms.ts";
import type { EngineDeps, RemoteMembershipRequest, RemoteRooms } from "./engine_deps.ts";
import { setMembership } from "./membership.ts";
import type { Requester } from "./types.ts";

/** The most complex room that may be joined. */
export interface RoomLimit {
  readonly complexity: number;
  /** What those who are refused are told. */
  readonly complexityError: string;
  readonly adminsCanJoin: boolean;
}

/** So many state events are a complexity of one. */
const EVENTS_PER_UNIT = 500;

/** Returns the complexity of a room that this server knows, rounded as it is told to others. */
export async function complexityOf(db: Db, roomNid: number): Promise<number> {
  return Math.round(await countCurrentState(db, roomNid) / EVENTS_PER_UNIT * 100) / 100;
}

/** Joins through another server, unless the room is too complex. What no server tells is found out by joining. */
export async function joinWithinLimit(
  deps: EngineDeps,
  { requester, remote, request }: { requester: Requester; remote: RemoteRooms; request: RemoteMembershipRequest },
): Promise<EventId> {
  const { roomLimit: limit = null } = deps.options;
  if (limit === null || limit.adminsCanJoin && requester.isAdmin) return await remote.join(request);
  // One more of us adds nothing: the room's state is here already, or on its way.
  if (((await deps.heads.load(request.roomId))?.localJoined.size ?? 0) > 0) return await remote.join(request);
  const told = await remote.complexity(request);
  if (told !== null) {
    if (told > limit.complexity) throw tooComplex(limit);
    return await remote.join(request);
  }
  const eventId = await remote.join({ ...request, isWhole: true });
  const { roomId, userId } = request;
  const room = await deps.events.roomById(roomId);
  if (room === null || await complexityOf(deps.db, room.roomNid) <= limit.complexity) return eventId;
  await setMembership(deps, { requester, roomId, target: userId, membership: "leave" });
  throw tooComplex(limit);
}

function tooComplex({ complexityError }: RoomLimit): MatrixError {
  return new MatrixError(400, "M_RESOURCE_LIMIT_EXCEEDED", complexityError);
}
