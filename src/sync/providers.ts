/**
 * What sync takes from the services, as narrow interfaces: each is a part of a service in `services/` and is met by its
 * class as it stands. Ranges are `(after, upTo]` of the service's own stream; `after` 0 asks for everything there is, as
 * an initial sync does. Providers are asked only when their stream moved, but must still be cheap when nothing of it
 * concerns this user: they are on the path of every sync.
 */
import type { DeviceId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";

/** A part of a stream. */
export interface Range {
  readonly after: number;
  readonly upTo: number;
}

/** Met by `AccountDataService`. Content is JSON text; `roomId` is empty for what is global. */
export interface AccountDataProvider {
  between(range: Range & { userId: UserId }): Promise<readonly { roomId: string; type: string; content: string }[]>;
  ignoredUsers(userId: UserId): ReadonlySet<string>;
  /** Tells whether a reader is shown soft-failed events too. */
  showsSoftFailed(reader: { readonly userId: UserId; readonly isAdmin?: boolean }): boolean;
}

/** Met by `PushRulesService`: the rules are shown as account data of type `m.push_rules`. */
export interface PushRulesProvider {
  hasChanged(range: Range & { userId: UserId }): boolean;
  /** Returns the content of `m.push_rules`. */
  content(userId: UserId): Promise<JsonObject>;
}

/** A receipt as sync shows it. `threadId` is empty outside of threads. */
export interface ReceiptEntry {
  readonly roomNid: number;
  readonly receiptType: string;
  readonly userId: string;
  readonly threadId: string;
  readonly eventId: string;
  readonly ts: number;
}

/** Met by `ReceiptsService`; others' private receipts are already left out. */
export interface ReceiptsProvider {
  inRooms(range: Range & { userId: UserId; roomNids: ReadonlySet<number> }): Promise<readonly ReceiptEntry[]>;
}

/** Met by `TypingService`. */
export interface TypingProvider {
  typingIn(roomId: RoomId): readonly UserId[];
  changedRooms(range: Range & { roomIds: ReadonlySet<RoomId> }): readonly RoomId[];
}

/** Met by `PresenceService`. */
export interface PresenceProvider {
  /** Notes that a client syncs; the result is called when the request ends. */
  beginSync(
    device: { userId: UserId; deviceId: DeviceId | null },
    state: "online" | "unavailable" | "offline",
  ): Promise<() => void>;
  /** Returns whole `m.presence` events of users sharing a room with the viewer. */
  between(range: Range & { viewer: UserId }): Promise<readonly JsonObject[]>;
  /** Returns whole `m.presence` events of these users, whom the viewer has just come to share a room with. */
  of(query: { viewer: UserId; users: readonly UserId[] }): Promise<readonly JsonObject[]>;
}

/** Met by `ToDeviceService`. */
export interface ToDeviceProvider {
  /** Returns whole events as text, and the position up to which they reach: the next range begins there. */
  messages(
    range: Range & { userId: UserId; deviceId: DeviceId; limit: number },
  ): Promise<{ readonly events: readonly string[]; readonly upTo: number }>;
  /** The client has everything up to here. */
  acknowledge(range: { userId: UserId; deviceId: DeviceId; upTo: number }): Promise<void>;
}

/** Met by `DeviceListsService`. */
export interface DeviceListsProvider {
  changes(
    userId: UserId,
    range: { readonly deviceLists: Range; readonly events: Range },
  ): Promise<{ readonly changed: readonly UserId[]; readonly left: readonly UserId[] }>;
}

/** The keys that a device has left to give out; another object whenever they are others. */
export interface KeyStock {
  /** How many one-time keys, by algorithm. */
  readonly oneTime: Readonly<Record<string, number>>;
  /** The algorithms of unused fallback keys. */
  readonly fallback: readonly string[];
}

/** Met by `DeviceKeysService`. Asked on every sync of a device, so answers come from memory where they can. */
export interface KeyCountsProvider {
  stock(device: { userId: UserId; deviceId: DeviceId }): KeyStock | Promise<KeyStock>;
}

/** How much is unread. */
export interface UnreadCount {
  readonly notify: number;
  readonly highlight: number;
}

/** Unread counts of one room: of the main timeline, and by thread root. */
export interface UnreadCounts {
  readonly main: UnreadCount;
  readonly threads: ReadonlyMap<string, UnreadCount>;
}

/** What to count. */
export interface UnreadQuery {
  readonly userId: UserId;
  readonly roomNid: number;
  readonly joinedAt: number;
  readonly upTo: number;
}

/** Met by `NotificationsService`. Asked once for each joined room that is shown. */
export interface NotificationsProvider {
  /** Counts up to a position of the events stream; nothing before `joinedAt` counts. */
  unread(query: UnreadQuery): Promise<UnreadCounts>;
  /** As `unread`, if it takes nothing that is not in memory; else null. */
  peekUnread(query: UnreadQuery): UnreadCounts | null;
  /** Counts in many rooms at once, so that `peekUnread` has them. */
  prepareUnread(query: {
    readonly userId: UserId;
    readonly rooms: readonly { readonly roomNid: number; readonly joinedAt: number }[];
    readonly upTo: number;
  }): Promise<void>;
}

/** All of them. */
export interface SyncProviders {
  readonly accountData: AccountDataProvider;
  readonly pushRules: PushRulesProvider;
  readonly receipts: ReceiptsProvider;
  readonly typing: TypingProvider;
  readonly presence: PresenceProvider;
  readonly toDevice: ToDeviceProvider;
  readonly deviceLists: DeviceListsProvider;
  readonly keyCounts: KeyCountsProvider;
  readonly notifications: NotificationsProvider;
}
