/** What the parts of sync hand to each other. */
import type { SyncFilter } from "../protocol/filter.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { RenderView } from "../rooms/renderer.ts";
import type { Reader } from "../rooms/room_access.ts";
import type { StreamPositions } from "../streams/notifier.ts";

/** The name under which state at the end of the timeline is returned (MSC4222 before and after it was stable). */
export type StateAfterKey = "state_after" | "org.matrix.msc4222.state_after";

/** A request of `/sync`, checked. */
export interface SyncRequest {
  readonly requester: Reader;
  /** Null for an initial sync. */
  readonly since: StreamPositions | null;
  readonly filter: SyncFilter;
  readonly fullState: boolean;
  /** Null for state at the start of the timeline, under `state`. */
  readonly stateAfter: StateAfterKey | null;
  readonly timeoutMs: number;
  readonly setPresence: "online" | "unavailable" | "offline";
}

/** A request with what one attempt at answering it may see. */
export interface SyncView extends SyncRequest {
  /** Positions taken before anything was read. */
  readonly now: StreamPositions;
  /** Whom the user ignores. */
  readonly ignored: ReadonlySet<string>;
  /** Soft-failed events are shown too. */
  readonly showsSoftFailed: boolean;
}

/** A room to be shown, with the part of its stream. */
export interface RoomPart {
  readonly roomNid: number;
  readonly roomId: RoomId;
  /** Null where everything is new to the client: state is given in full and the timeline from its end. */
  readonly after: number | null;
  readonly upTo: number;
  /** The state at the end, where it is not that of `upTo` in the stream: the one in which the user left. */
  readonly endRoot: number | null;
  /** The room was not shown as joined before this sync. */
  readonly newlyJoined: boolean;
}

/** Returns how events of this request are rendered. */
export function renderViewOf({ requester, filter }: SyncRequest): RenderView {
  return { requester, roomId: false, previous: true, format: filter.eventFormat, fields: filter.eventFields };
}

/** A list of users who came to share rooms with the syncing user, gathered while rooms are read. */
export type NewUsers = Set<UserId>;
