/** What one attempt at answering a request sees. */
import type { UserRooms } from "../../rooms/local_memberships.ts";
import type { StreamPositions } from "../../streams/notifier.ts";
import type { Connection } from "./connections.ts";
import type { SlidingRequest } from "./types.ts";

/** A request with the moment at which it is answered. */
export interface SlidingView {
  readonly request: SlidingRequest;
  readonly connection: Connection;
  /** The user's rooms; may run ahead of `now`. */
  readonly rooms: UserRooms;
  /** Up to where the client has everything of its live rooms; null at the start of a connection. */
  readonly since: StreamPositions | null;
  /** Positions taken before anything was read. */
  readonly now: StreamPositions;
  /** Ids of the user's direct chats. */
  readonly direct: ReadonlySet<string>;
  /** Whom the user ignores. */
  readonly ignored: ReadonlySet<string>;
  /** Soft-failed events are shown too. */
  readonly showsSoftFailed: boolean;
}
