/** What the parts of sliding sync hand to each other. */
import type { RoomId } from "../../protocol/ids.ts";
import type { LocalMembership } from "../../rooms/local_memberships.ts";
import type { Reader } from "../../rooms/room_access.ts";
import type { SlidingPos } from "../../streams/tokens.ts";
import type { StateClause, StateSelection } from "./state_selection.ts";

/** How much of a room is asked for. */
export interface RoomConfig {
  readonly timelineLimit: number;
  readonly state: StateClause;
}

/** The filters of a list; null where the client did not say. */
export interface ListFilters {
  readonly isDm: boolean | null;
  readonly spaces: readonly RoomId[] | null;
  readonly isEncrypted: boolean | null;
  readonly isInvited: boolean | null;
  readonly roomTypes: readonly (string | null)[] | null;
  readonly notRoomTypes: readonly (string | null)[] | null;
  /** Lower case. */
  readonly roomNameLike: string | null;
  readonly tags: readonly string[] | null;
  readonly notTags: readonly string[] | null;
}

/** A list of rooms that the client follows. */
export interface ListConfig extends RoomConfig {
  /** Both ends are within; null for all rooms. */
  readonly ranges: readonly (readonly [number, number])[] | null;
  readonly filters: ListFilters | null;
}

/** For which rooms an extension is asked; null for all that the lists and subscriptions show. */
export interface ExtensionRooms {
  readonly lists: ReadonlySet<string> | null;
  readonly rooms: ReadonlySet<string> | null;
}

/** Which fields of profiles are asked for; null for all. */
export interface ProfileFields {
  readonly names: ReadonlySet<string> | null;
  /** A number made of the names, so that other fields are another number. */
  readonly key: number;
}

/** The extensions that are enabled; null where one is not. */
export interface ExtensionRequests {
  readonly toDevice: { readonly since: number | null; readonly limit: number } | null;
  readonly e2ee: boolean;
  readonly accountData: ExtensionRooms | null;
  readonly receipts: ExtensionRooms | null;
  readonly typing: ExtensionRooms | null;
  readonly profiles: ExtensionRooms & { readonly fields: ProfileFields } | null;
  readonly threadSubscriptions: { readonly limit: number } | null;
  /** `since` is a position of the events stream. */
  readonly stickyEvents: { readonly since: number | null; readonly limit: number } | null;
}

/** A request, checked. */
export interface SlidingRequest {
  readonly requester: Reader;
  /** Empty when the client gave none. */
  readonly connId: string;
  /** Null for the first request of a connection; `text` is what the client sent. */
  readonly pos: { readonly pos: SlidingPos; readonly text: string } | null;
  readonly timeoutMs: number;
  readonly setPresence: "online" | "unavailable" | "offline";
  readonly lists: ReadonlyMap<string, ListConfig>;
  readonly subscriptions: ReadonlyMap<RoomId, RoomConfig>;
  readonly extensions: ExtensionRequests;
  /** State that went away is told by stubs (the stable endpoint). */
  readonly stateStubs: boolean;
}

/** A room that some list or subscription of a request matches. */
export interface WantedRoom {
  readonly entry: LocalMembership;
  readonly timelineLimit: number;
  readonly state: StateSelection;
  /** The names of the lists that it is in the window of. */
  readonly lists: readonly string[];
  readonly isSubscribed: boolean;
}
