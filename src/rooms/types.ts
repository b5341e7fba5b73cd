/** What the parts of the room engine hand to each other and to the services above. */
import type { RoomEvent } from "../protocol/event.ts";
import type { DeviceId, EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";

/** Who is asking: the account and device behind a request. */
export interface Requester {
  readonly userId: UserId;
  /** Null for application services acting without a device and for tokens that an admin made. */
  readonly deviceId: DeviceId | null;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  readonly isShadowBanned: boolean;
  /** The id of the application service whose token was used, or null. */
  readonly appserviceId: string | null;
  /** No rate limit holds: for application services that are registered so. */
  readonly isUnlimited?: boolean;
}

/** A membership as the spec names it. */
export type Membership = "join" | "invite" | "leave" | "ban" | "knock";

/** An event with what the database knows of it. Immutable but for the redaction, which makes another object. */
export interface StoredEvent {
  readonly nid: number;
  readonly roomNid: number;
  readonly event: RoomEvent;
  /** The federation JSON, byte-exact. */
  readonly json: string;
  /** In the events stream; negative when backfilled; null for outliers. */
  readonly position: number | null;
  readonly receivedTs: number;
  readonly isOutlier: boolean;
  readonly isRejected: boolean;
  readonly isSoftFailed: boolean;
  /** Root in the state tree; null for outliers. */
  readonly stateBefore: number | null;
  /** Root of the state after it: the same as before, unless it is an accepted state event. Null for outliers. */
  readonly stateAfter: number | null;
  readonly stateKeyNid: number | null;
  readonly authRank: number;
  /** The redaction in force. `event` and `json` are still the unredacted form: readers prune. */
  readonly redactedByNid: number | null;
  /** Set on a copy without the content, for readers who were not there when a user spoke who is erased now. */
  readonly isPruned?: boolean;
}

/** The ends of a room's graph and what they add up to. */
export interface RoomHead {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly rules: RoomVersionRules;
  readonly extremities: readonly { readonly nid: number; readonly eventId: EventId; readonly depth: number }[];
  /** Root of the resolved current state. */
  readonly stateRoot: number;
  /** Position of the last event written to the room. */
  readonly lastPosition: number;
}
