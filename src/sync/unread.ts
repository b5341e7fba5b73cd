/** How much a user has not read of a room. */
import type { UserId } from "../protocol/ids.ts";
import type { JoinPositions } from "../rooms/join_positions.ts";
import type { LocalMembership } from "../rooms/local_memberships.ts";
import type { NotificationsProvider, UnreadCounts } from "./providers.ts";

/** What counting is done with. */
export interface UnreadDeps {
  readonly joinPositions: JoinPositions;
  readonly notifications: NotificationsProvider;
}

/** As `countUnread`, if it takes nothing that is not in memory; else null. */
export function peekUnread(
  { joinPositions, notifications }: UnreadDeps,
  { userId, entry, upTo }: {
    userId: UserId;
    entry: Pick<LocalMembership, "roomNid" | "eventNid">;
    upTo: number;
  },
): UnreadCounts | null {
  const joinedAt = joinPositions.peek(entry.eventNid);
  return joinedAt === undefined ? null : notifications.peekUnread({ userId, roomNid: entry.roomNid, joinedAt, upTo });
}

/** Counts what is unread of a joined room up to a position of the events stream. */
export async function countUnread(
  { joinPositions, notifications }: UnreadDeps,
  { userId, entry, upTo }: {
    userId: UserId;
    entry: Pick<LocalMembership, "roomNid" | "eventNid"> | { readonly roomNid: number; readonly eventNid: null };
    upTo: number;
  },
): Promise<UnreadCounts> {
  const joinedAt = entry.eventNid === null ? 0 : await joinPositions.of(userId, entry.eventNid);
  return await notifications.unread({ userId, roomNid: entry.roomNid, joinedAt, upTo });
}

/** Counts in many rooms at once, so that counting in each of them finds all in memory. */
export async function prepareUnread(
  { joinPositions, notifications }: UnreadDeps,
  { userId, entries, upTo }: { userId: UserId; entries: readonly LocalMembership[]; upTo: number },
): Promise<void> {
  // One room is counted as well by itself.
  if (entries.length < 2) return;
  const rooms: { roomNid: number; joinedAt: number }[] = [];
  for (const { roomNid, eventNid } of entries) {
    rooms.push({ roomNid, joinedAt: joinPositions.peek(eventNid) ?? await joinPositions.of(userId, eventNid) });
  }
  await notifications.prepareUnread({ userId, rooms, upTo });
}
