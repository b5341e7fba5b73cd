/** What the operations on rooms share. */
import type { JsonObject } from "../protocol/json.ts";
import type { RoomVersionId } from "../protocol/room_versions.ts";
import type { EventId, RoomId, ServerName, UserId } from "../protocol/ids.ts";
import type { CreateTime } from "./create_time.ts";
import type { BatchDeps } from "./batch.ts";
import type { DecideInvite } from "./invite_rules.ts";
import type { PersistDeps } from "./persist.ts";
import type { PolicySigner } from "./policy.ts";
import type { RoomQueues } from "./queue.ts";
import type { RoomLimit } from "./room_limits.ts";
import type { ReceivedEvent } from "./receive.ts";
import type { StoredEvent } from "./types.ts";

/** What member events show of a user. */
export interface MemberProfile {
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
}

/** Gives the profiles of users; null for a user whose profile is not known. */
export interface ProfileSource {
  get(userId: UserId): Promise<MemberProfile | null>;
}

/** Which presets make encrypted rooms by themselves: `encryption_enabled_by_default_for_room_type`. */
export type EncryptionDefault = "all" | "invite" | "off";

/** The options that the engine obeys. */
export interface EngineOptions {
  readonly defaultRoomVersion: RoomVersionId;
  readonly encryptionDefault: EncryptionDefault;
  /** `default_power_level_content_override` by preset. */
  readonly powerLevelOverrides: Readonly<Record<string, Readonly<JsonObject> | null>>;
  /** More forward extremities than this are merged by a dummy event. */
  readonly dummyEventsThreshold: number;
  /** Only administrators of the server invite, and nobody here is invited from elsewhere: `block_non_admin_invites`. */
  readonly blocksInvites?: boolean;
  /** Whether users may have another name or avatar in a room: `allow_per_room_profiles`. */
  readonly allowsRoomProfiles?: boolean;
  /** After this a room is deleted that all local users have forgotten: `forgotten_room_retention_period`. */
  readonly forgottenRetentionMs?: number | null;
  /** Whoever leaves a room has forgotten it: `forget_rooms_on_leave`. */
  readonly forgetsOnLeave?: boolean;
  /** Which rooms of other servers are too big to join: `limit_remote_rooms`. Null for none. */
  readonly roomLimit?: RoomLimit | null;
  /** Whether an invitation has the profile of the invited user: `include_profile_data_on_invite`. */
  readonly showsInvitedProfiles?: boolean;
  /** The user of `server_notices`, whose invitations cannot be turned down. */
  readonly noticesUser?: UserId | null;
}

/** A membership to get through other servers. */
export interface RemoteMembershipRequest {
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** Servers to ask, the best first. */
  readonly servers: readonly ServerName[];
  /** The content of the member event. */
  readonly content: JsonObject;
  /** A join comes with all members at once. */
  readonly isWhole?: boolean;
}

/** Memberships that need other servers. All throw the `MatrixError` that the client shall see. */
export interface RemoteRooms {
  join(request: RemoteMembershipRequest): Promise<EventId>;
  /** Returns how complex the first server that tells says the room is; null when none does. */
  complexity(request: RemoteMembershipRequest): Promise<number | null>;
  knock(request: RemoteMembershipRequest): Promise<EventId>;
  leave(request: RemoteMembershipRequest): Promise<EventId>;
  /** Shows an invitation to the server of the invited user; returns it with that server's signature. */
  invite(invite: { received: ReceivedEvent; roomState: readonly JsonObject[] }): Promise<ReceivedEvent>;
  /** Returns the other servers in a room that we are in. */
  serversIn(roomId: RoomId): Promise<ServerName[]>;
}

/** What the operations take. */
export interface EngineDeps extends BatchDeps, PersistDeps {
  readonly queues: RoomQueues;
  readonly profiles: ProfileSource;
  readonly options: EngineOptions;
  readonly decideInvite?: DecideInvite;
  /** Returns what of a room's current state people are shown before they are in it. */
  readonly prejoinState: (roomId: RoomId) => Promise<StoredEvent[]>;
  /** Told after the commit that a user has forgotten a room, so that what is held in memory of them is dropped. */
  readonly onForgotten?: (userId: UserId) => void;
  /** Told after the commit of a local user's membership in a room that this server is not in. */
  readonly onOutOfBand?: (stored: StoredEvent) => void;
  readonly createTime: CreateTime;
  readonly policySigner: PolicySigner;
  /** Null while other servers cannot be reached. */
  readonly remote: { current: RemoteRooms | null };
}
