/**
 * The room engine: all that changes a room goes through here.
 *
 * Each room has a queue; what has gathered in it is built, authorized, hashed and signed in memory one after another and
 * written in one transaction (`queue.ts`, `batch.ts`, `persist.ts`). Operations are in a file each (`create.ts`,
 * `send.ts`, `membership.ts`, …); to add one, write a function that runs a task in the room's queue and list it here.
 */
import { LruCache } from "../lib/lru.ts";
import { randomString } from "../lib/random.ts";
import type { EventId, RoomId, ServerName, UserId } from "../protocol/ids.ts";
import { createRoom } from "./create.ts";
import { CreateTime } from "./create_time.ts";
import type { CreateRoomOptions } from "./create_options.ts";
import { mergeAllExtremities } from "./dummy_events.ts";
import { joinAnywhere, knockAnywhere, leaveAnywhere } from "./elsewhere.ts";
import type { EngineDeps, RemoteRooms } from "./engine_deps.ts";
import type { MemberDetails } from "./member_content.ts";
import { assertInvitesAllowed } from "./invite_rules.ts";
import { forgetRoom, kickUser, setMembership, unbanUser } from "./membership.ts";
import { storeOutliers } from "./outliers.ts";
import { type OrderedPurge, purgeForgotten, purgeNow } from "./purge.ts";
import { RoomQueues } from "./queue.ts";
import { ResolutionFigures } from "./resolve.ts";
import { type ReceivedEvent, receiveEvents, type ReceiveOutcome } from "./receive.ts";
import { redactEvent, sendEvent, type SendOptions } from "./send.ts";
import { sendMember } from "./send_member.ts";
import type { Requester, RoomHead, StoredEvent } from "./types.ts";
import { assertMayInviteAddress, exchangeInvite, type SignedInvite } from "./third_party_invites.ts";
import { type UpgradeOptions, upgradeRoom } from "./upgrade.ts";

const CACHED_RESOLUTIONS = 10_000;

/** A change of one's own membership. */
export interface OwnMembership {
  readonly roomId: RoomId;
  /** Servers that may know the room. */
  readonly via?: readonly ServerName[];
  readonly details?: MemberDetails;
}

/** A change of somebody else's membership. */
export interface OthersMembership extends OwnMembership {
  readonly userId: UserId;
}

/** Everything that writes to rooms. */
export class RoomEngine {
  readonly #deps: EngineDeps;

  constructor(deps: Omit<EngineDeps, "queues" | "createTime" | "resolutions" | "figures" | "remote">) {
    const resolutions = new LruCache<string, number>({ name: "state_resolutions", maxEntries: CACHED_RESOLUTIONS });
    const withCache = { ...deps, resolutions, figures: new ResolutionFigures() };
    this.#deps = {
      ...withCache,
      queues: new RoomQueues(withCache),
      createTime: new CreateTime(deps.clock),
      remote: { current: null },
    };
  }

  /** What was resolved so far. */
  get resolutionFigures(): ResolutionFigures {
    return this.#deps.figures;
  }

  /** How many changes of rooms wait for their turn. */
  get waiting(): number {
    return this.#deps.queues.waiting;
  }

  /** Lets rooms be joined, left and invited to that need other servers. */
  connect(build: (deps: EngineDeps) => RemoteRooms): void {
    this.#deps.remote.current = build(this.#deps);
  }

  /** Builds a part of the room layer that writes to rooms as the engine's own operations do. */
  withDeps<T>(build: (deps: EngineDeps) => T): T {
    return build(this.#deps);
  }

  /** Creates a room and returns its id. */
  createRoom(requester: Requester, options: CreateRoomOptions): Promise<RoomId> {
    return createRoom(this.#deps, { requester, options });
  }

  /** Sends an event; a member event goes the way of memberships. */
  async sendEvent(requester: Requester, options: SendOptions): Promise<EventId> {
    const isInvite = options.type !== "m.room.member" || options.content["membership"] === "invite";
    if (requester.isShadowBanned && isInvite) return pretendedEventId();
    if (options.type === "m.room.member" && options.stateKey !== null) {
      return await sendMember(this.#deps, { requester, options });
    }
    return await sendEvent(this.#deps, { requester, options });
  }

  /** Redacts an event. */
  async redact(
    requester: Requester,
    options: { roomId: RoomId; eventId: EventId; reason: string | null; txnId: string | null; ownOnly?: boolean },
  ): Promise<EventId> {
    if (requester.isShadowBanned) return pretendedEventId();
    return await redactEvent(this.#deps, { requester, ...options });
  }

  /** Joins a room; doing so again changes nothing unless the profile did. */
  join(requester: Requester, own: OwnMembership): Promise<EventId> {
    return joinAnywhere(this.#deps, { requester, ...own });
  }

  /** Leaves a room, turns down an invitation or takes back a knock. */
  leave(requester: Requester, own: OwnMembership): Promise<EventId> {
    return leaveAnywhere(this.#deps, { requester, ...own });
  }

  /** Asks to be let in. */
  knock(requester: Requester, own: OwnMembership): Promise<EventId> {
    return knockAnywhere(this.#deps, { requester, ...own });
  }

  /** Invites a user. */
  async invite(requester: Requester, { userId, ...others }: OthersMembership): Promise<EventId> {
    if (requester.isShadowBanned) return pretendedEventId();
    return await setMembership(this.#deps, { ...others, requester, target: userId, membership: "invite" });
  }

  /** Throws `M_FORBIDDEN` where a user may not invite people by their addresses. */
  async assertMayInviteAddress(requester: Requester, { roomId }: { roomId: RoomId }): Promise<void> {
    assertInvitesAllowed(this.#deps.options, requester);
    await assertMayInviteAddress(this.#deps, { roomId, sender: requester.userId });
  }

  /** Invites the user whose address was invited, at the word of an identity server. */
  exchangeInvite(invite: SignedInvite): Promise<EventId> {
    return exchangeInvite(this.#deps, invite);
  }

  /** Puts a user out. */
  kick(requester: Requester, { userId, ...others }: OthersMembership): Promise<EventId> {
    return kickUser(this.#deps, { ...others, requester, target: userId });
  }

  /** Puts a user out for good. */
  ban(requester: Requester, { userId, ...others }: OthersMembership): Promise<EventId> {
    return setMembership(this.#deps, { ...others, requester, target: userId, membership: "ban" });
  }

  /** Takes back a ban. */
  unban(requester: Requester, { userId, ...others }: OthersMembership): Promise<EventId> {
    return unbanUser(this.#deps, { ...others, requester, target: userId });
  }

  /** Hides a room that one has left. */
  forget(requester: Requester, { roomId }: { roomId: RoomId }): Promise<void> {
    return forgetRoom(this.#deps, { requester, roomId });
  }

  /** Deletes the rooms that it is time to delete. */
  purgeForgotten(signal: AbortSignal): Promise<void> {
    return purgeForgotten(this.#deps, signal);
  }

  /** Deletes a room for an administrator. Throws 400 while users are joined, unless it is forced. */
  purge(purge: OrderedPurge): Promise<void> {
    return purgeNow(this.#deps, purge);
  }

  /** Replaces a room by one of another version; returns the new room's id. */
  upgrade(requester: Requester, options: UpgradeOptions): Promise<RoomId> {
    if (requester.isShadowBanned) return Promise.resolve(`!${randomString(43)}` as RoomId);
    return upgradeRoom(this.#deps, { requester, options });
  }

  /** Takes in events that other servers made, parents first; each has its own outcome. */
  receiveEvents(roomId: RoomId, events: readonly ReceivedEvent[]): Promise<ReceiveOutcome[]> {
    return receiveEvents(this.#deps, { roomId, events });
  }

  /** Keeps events of a known room without a place in its graph: the auth chains and states that others send along. */
  storeOutliers(roomId: RoomId, events: readonly ReceivedEvent[]): Promise<void> {
    return storeOutliers(this.#deps, { roomId, events });
  }

  /** Makes the ends of a room's graph one, where somebody here may send; returns by how many there are fewer. */
  mergeExtremities(roomId: RoomId): Promise<number> {
    return mergeAllExtremities(this.#deps, roomId);
  }

  /** Returns the ends of a room's graph as they are stored; none for an unknown room. */
  async extremities(roomId: RoomId): Promise<readonly StoredEvent[]> {
    return (await this.#deps.heads.load(roomId))?.extremities ?? [];
  }

  /** Returns the ends of a room's graph and its current state, or null for an unknown room. */
  async head(roomId: RoomId): Promise<RoomHead | null> {
    const copy = await this.#deps.heads.load(roomId);
    if (copy === null) return null;
    return {
      roomNid: copy.identity.roomNid,
      roomId,
      rules: copy.identity.rules,
      extremities: copy.extremities.map(({ nid, event }) => ({ nid, eventId: event.eventId, depth: event.depth })),
      stateRoot: copy.stateRoot,
      lastPosition: copy.lastPosition,
    };
  }

  /** Returns the local users who are joined to a room; the set changes with the room. */
  async localJoinedUsers(roomId: RoomId): Promise<ReadonlySet<UserId>> {
    return (await this.#deps.heads.load(roomId))?.localJoined ?? new Set();
  }
}

/** What a shadow-banned user is told: they must not notice. */
function pretendedEventId(): EventId {
  return `$${randomString(43)}` as EventId;
}
