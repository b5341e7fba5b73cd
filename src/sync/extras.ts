/** What sync shows of a room besides its events: typing, receipts, account data, unread counts. Texts of events. */
import { type EventFilter, matchesRoom } from "../protocol/filter.ts";
import type { RoomId } from "../protocol/ids.ts";
import type { ReceiptEntry, SyncProviders } from "./providers.ts";
import type { SyncView } from "./types.ts";

/** Account data of one sync, by room; the empty id holds what is global. */
export type AccountDataByRoom = ReadonlyMap<string, readonly string[]>;

/** Ephemeral events of one sync, by the room's numeric id. */
export type EphemeralByRoom = ReadonlyMap<number, string[]>;

/** Tells whether there may be account data that changed. */
export function mayHaveAccountData({ pushRules }: SyncProviders, { since, now, requester }: SyncView): boolean {
  if (since === null || now.account_data > since.account_data) return true;
  const range = { after: since.push_rules, upTo: now.push_rules };
  return range.upTo > range.after && pushRules.hasChanged({ userId: requester.userId, ...range });
}

/** Tells whether there may be typing or receipts that changed. */
export function mayHaveEphemeral({ since, now, filter }: SyncView, fresh: ReadonlySet<number>): boolean {
  if (filter.room.ephemeral.matchesNone) return false;
  return since === null || fresh.size > 0 || now.receipts > since.receipts || now.typing > since.typing;
}

/** Returns the account data that changed, global and per room, filtered. */
export async function readAccountData(providers: SyncProviders, view: SyncView): Promise<AccountDataByRoom> {
  const { since, now, requester: { userId }, filter } = view;
  const byRoom = new Map<string, string[]>();
  const after = since?.account_data ?? 0;
  if (since === null || now.account_data > after) {
    const rows = await providers.accountData.between({ userId, after, upTo: now.account_data });
    for (const { roomId, type, content } of rows) {
      const wanted = roomId === "" ? filter.accountData : filter.room.accountData;
      if (!passes(wanted, { type, roomId })) continue;
      push(byRoom, { key: roomId, text: `{"type":${JSON.stringify(type)},"content":${content}}` });
    }
  }
  const rulesAfter = since?.push_rules ?? 0;
  if (
    passes(filter.accountData, { type: "m.push_rules", roomId: "" }) && (since === null || now.push_rules > rulesAfter)
  ) {
    const hasChanged = since === null ||
      providers.pushRules.hasChanged({ userId, after: rulesAfter, upTo: now.push_rules });
    if (hasChanged) {
      const content = JSON.stringify(await providers.pushRules.content(userId));
      push(byRoom, { key: "", text: `{"type":"m.push_rules","content":${content}}` });
    }
  }
  return byRoom;
}

/** Returns typing and receipts that changed in the rooms given; for rooms in `fresh` all there are. */
export async function readEphemeral(
  providers: SyncProviders,
  { view, rooms, fresh }: {
    view: SyncView;
    rooms: ReadonlyMap<number, RoomId>;
    /** Rooms that are new to the client. */
    fresh: ReadonlySet<number>;
  },
): Promise<EphemeralByRoom> {
  const found = new Map<number, string[]>();
  const filter = view.filter.room.ephemeral;
  if (filter.matchesNone) return found;
  await addReceipts(providers, { view, rooms, fresh, found });
  addTyping(providers, { view, rooms, fresh, found });
  return found;
}

interface Query {
  readonly view: SyncView;
  readonly rooms: ReadonlyMap<number, RoomId>;
  readonly fresh: ReadonlySet<number>;
  readonly found: Map<number, string[]>;
}

async function addReceipts(providers: SyncProviders, { view, rooms, fresh, found }: Query): Promise<void> {
  const { since, now, requester: { userId }, filter } = view;
  if (!passes(filter.room.ephemeral, { type: "m.receipt", roomId: null })) return;
  const after = since?.receipts ?? 0;
  const entries: ReceiptEntry[] = [];
  if (since === null || now.receipts > after) {
    const roomNids: ReadonlySet<number> = new Set(rooms.keys());
    entries.push(...await providers.receipts.inRooms({ userId, roomNids, after, upTo: now.receipts }));
  }
  if (since !== null && fresh.size > 0) {
    const upTo = Math.min(after, now.receipts);
    entries.push(...await providers.receipts.inRooms({ userId, roomNids: fresh, after: 0, upTo }));
  }
  const byRoom = new Map<number, ReceiptEntry[]>();
  for (const entry of entries) {
    const list = byRoom.get(entry.roomNid);
    if (list === undefined) byRoom.set(entry.roomNid, [entry]);
    else list.push(entry);
  }
  for (const [roomNid, receipts] of byRoom) {
    if (!matchesRoom(filter.room.ephemeral, rooms.get(roomNid) ?? "")) continue;
    push(found, { key: roomNid, text: receiptsText(receipts) });
  }
}

function addTyping({ typing }: SyncProviders, { view, rooms, fresh, found }: Query): void {
  const { since, now, filter } = view;
  if (!passes(filter.room.ephemeral, { type: "m.typing", roomId: null })) return;
  if (since !== null && now.typing <= since.typing && fresh.size === 0) return;
  const nids = new Map<RoomId, number>();
  for (const [nid, roomId] of rooms) nids.set(roomId, nid);
  const changed = since === null
    ? new Set<RoomId>()
    : new Set(typing.changedRooms({ roomIds: new Set(nids.keys()), after: since.typing, upTo: now.typing }));
  for (const nid of since === null ? rooms.keys() : fresh) {
    const roomId = rooms.get(nid);
    if (roomId !== undefined && typing.typingIn(roomId).length > 0) changed.add(roomId);
  }
  for (const roomId of changed) {
    const nid = nids.get(roomId);
    if (nid === undefined || !matchesRoom(filter.room.ephemeral, roomId)) continue;
    const users = JSON.stringify(typing.typingIn(roomId));
    push(found, { key: nid, text: `{"type":"m.typing","content":{"user_ids":${users}}}` });
  }
}

/** Returns one `m.receipt` event for all receipts of a room. */
export function receiptsText(receipts: readonly ReceiptEntry[]): string {
  const content: Record<string, Record<string, Record<string, { ts: number; thread_id?: string }>>> = Object.create(
    null,
  );
  for (const { eventId, receiptType, userId, threadId, ts } of receipts) {
    const byType = content[eventId] ??= Object.create(null) as Record<string, never>;
    const byUser = byType[receiptType] ??= Object.create(null) as Record<string, never>;
    // Of several receipts for one event the one outside of threads counts for more.
    if (byUser[userId] !== undefined && threadId !== "") continue;
    byUser[userId] = threadId === "" ? { ts } : { ts, thread_id: threadId };
  }
  return `{"type":"m.receipt","content":${JSON.stringify(content)}}`;
}

function passes(filter: EventFilter, { type, roomId }: { type: string; roomId: string | null }): boolean {
  if (roomId !== null && roomId !== "" && !matchesRoom(filter, roomId)) return false;
  return filter.matchesAll || filter.matches({ type, sender: "", content: {} });
}

function push<K>(map: Map<K, string[]>, { key, text }: { key: K; text: string }): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [text]);
  else list.push(text);
}
