/**
 * Extensions that tell of rooms: account data (MSC3959), receipts (MSC3960) and typing (MSC3961).
 *
 * Each room of a connection has a place in these streams of its own, because a room that is not shown for a while must
 * not miss what happens meanwhile.
 */
import type { RoomId } from "../../protocol/ids.ts";
import { selectAccountDataOfRooms } from "../../storage/account_data.ts";
import type { Db } from "../../storage/database.ts";
import { selectReceiptsOfEvents } from "../../storage/receipts.ts";
import { receiptsText } from "../extras.ts";
import type { ReceiptEntry } from "../providers.ts";
import { LIVE, NEVER, type RoomRecord } from "./connections.ts";
import type { ShownRooms } from "./extensions.ts";
import type { SlidingProviders } from "./providers.ts";
import type { ExtensionRooms, WantedRoom } from "./types.ts";
import type { SlidingView } from "./view.ts";

/** What they are read from. */
export interface RoomExtensionDeps {
  readonly db: Db;
  readonly providers: SlidingProviders;
}

/** An attempt, as these extensions see it. */
export interface RoomExtensionQuery {
  readonly view: SlidingView;
  readonly rooms: ShownRooms;
}

/** Returns account data, global and of the rooms asked for; null when none changed. */
export async function readAccountData(
  { db, providers }: RoomExtensionDeps,
  { view, rooms }: RoomExtensionQuery,
): Promise<string | null> {
  const { since, now, request: { requester: { userId }, extensions: { accountData: asked } } } = view;
  if (asked === null) return null;
  const byRoom = new Map<string, string[]>();
  const add = ({ roomId, type, content }: { roomId: string; type: string; content: string }) =>
    addTo(byRoom, { key: roomId, item: `{"type":${JSON.stringify(type)},"content":${content}}` });
  const chosen = choose(asked, rooms.wanted);
  const fresh: WantedRoom[] = [];
  for (const room of chosen.values()) if (recordOf(view, { rooms, room })?.accountData !== LIVE) fresh.push(room);
  const freshIds = new Set<string>(fresh.map(({ entry }) => entry.roomId));
  if (since === null) freshIds.add("");
  else if (now.account_data > since.account_data) {
    const shownIds = new Set<string>([...chosen.values()].map(({ entry }) => entry.roomId));
    const missed = new Set<string>();
    for (
      const row of await providers.accountData.between({ userId, after: since.account_data, upTo: now.account_data })
    ) {
      if (row.roomId === "" || shownIds.has(row.roomId) && !freshIds.has(row.roomId)) add(row);
      else if (!shownIds.has(row.roomId)) missed.add(row.roomId);
    }
    if (missed.size > 0) forget(view, { rooms, missed });
  }
  for (const row of await selectAccountDataOfRooms(db, { userId, roomIds: [...freshIds] })) add(row);
  for (const room of fresh) change(view, { rooms, room, to: { accountData: LIVE } });
  await addPushRules(providers, { view, byRoom });
  const global = byRoom.get("") ?? [];
  byRoom.delete("");
  if (global.length + byRoom.size === 0) return null;
  const texts = [...byRoom].map(([roomId, items]) => `${JSON.stringify(roomId)}:[${items.join(",")}]`);
  return `{"global":[${global.join(",")}],"rooms":{${texts.join(",")}}}`;
}

/** The rooms of the connection that are not shown now are sent all their account data when they are shown again. */
function forget(view: SlidingView, { rooms, missed }: { rooms: ShownRooms; missed: ReadonlySet<string> }): void {
  for (const entry of view.rooms.all.values()) {
    if (!missed.has(entry.roomId)) continue;
    const record = rooms.records.get(entry.roomNid) ?? view.connection.rooms.get(entry.roomNid);
    if (record?.accountData === LIVE) rooms.records.set(entry.roomNid, { ...record, accountData: NEVER });
  }
}

async function addPushRules(
  { pushRules }: SlidingProviders,
  { view: { since, now, request: { requester: { userId } } }, byRoom }: {
    view: SlidingView;
    byRoom: Map<string, string[]>;
  },
): Promise<void> {
  const after = since?.push_rules ?? 0;
  const hasChanged = since === null ||
    now.push_rules > after && pushRules.hasChanged({ userId, after, upTo: now.push_rules });
  if (!hasChanged) return;
  const content = JSON.stringify(await pushRules.content(userId));
  addTo(byRoom, { key: "", item: `{"type":"m.push_rules","content":${content}}` });
}

/** Returns receipts of the rooms asked for; null when there are none to tell. */
export async function readReceipts(deps: RoomExtensionDeps, query: RoomExtensionQuery): Promise<string | null> {
  const { view, rooms } = query;
  const asked = view.request.extensions.receipts;
  if (asked === null) return null;
  const byRoom = new Map<number, ReceiptEntry[]>();
  const live = new Set<number>();
  for (const [roomNid, room] of choose(asked, rooms.wanted)) {
    if (room.entry.membership !== "join") continue;
    const record = recordOf(view, { rooms, room });
    if (record === undefined) continue;
    const isFresh = rooms.results.get(roomNid)?.isInitial === true || record.receipts === NEVER;
    if (!isFresh && record.receipts === LIVE) {
      live.add(roomNid);
      continue;
    }
    const entries = isFresh
      ? await freshReceipts(deps, { query, roomNid })
      : await missedReceipts(deps, { query, roomNid, after: record.receipts });
    if (entries.length > 0) byRoom.set(roomNid, [...entries]);
    change(view, { rooms, room, to: { receipts: LIVE } });
  }
  await liveReceipts(deps, { query, live, byRoom });
  if (byRoom.size === 0) return null;
  const texts: string[] = [];
  for (const [roomNid, entries] of byRoom) {
    const roomId = rooms.wanted.get(roomNid)?.entry.roomId;
    texts.push(`${JSON.stringify(roomId)}:${receiptsText(entries)}`);
  }
  return `{"rooms":{${texts.join(",")}}}`;
}

/** A room shown for the first time comes with the receipts of the events shown, and the user's own. */
async function freshReceipts(
  { db }: RoomExtensionDeps,
  { query: { view, rooms }, roomNid }: { query: RoomExtensionQuery; roomNid: number },
): Promise<readonly ReceiptEntry[]> {
  const { requester: { userId } } = view.request;
  const eventIds = rooms.results.get(roomNid)?.eventIds ?? [];
  return await selectReceiptsOfEvents(db, { roomNid, eventIds, userId, upTo: view.now.receipts });
}

async function missedReceipts(
  { providers }: RoomExtensionDeps,
  { query: { view }, roomNid, after }: { query: RoomExtensionQuery; roomNid: number; after: number },
): Promise<readonly ReceiptEntry[]> {
  const { now, request: { requester: { userId } } } = view;
  return await providers.receipts.inRooms({ userId, roomNids: new Set([roomNid]), after, upTo: now.receipts });
}

/** Adds what came since the last response; rooms that are not shown now remember from where on they must catch up. */
async function liveReceipts(
  { providers }: RoomExtensionDeps,
  { query: { view, rooms }, live, byRoom }: {
    query: RoomExtensionQuery;
    live: ReadonlySet<number>;
    byRoom: Map<number, ReceiptEntry[]>;
  },
): Promise<void> {
  const { since, now, connection, request: { requester: { userId } } } = view;
  if (since === null || now.receipts <= since.receipts) return;
  const roomNids = new Set(live);
  for (const [roomNid, { receipts }] of connection.rooms) if (receipts === LIVE) roomNids.add(roomNid);
  const range = { after: since.receipts, upTo: now.receipts };
  for (const entry of await providers.receipts.inRooms({ userId, roomNids, ...range })) {
    if (live.has(entry.roomNid)) {
      addTo(byRoom, { key: entry.roomNid, item: entry });
      continue;
    }
    const record = rooms.records.get(entry.roomNid) ?? connection.rooms.get(entry.roomNid);
    const isShown = rooms.results.get(entry.roomNid)?.isInitial === true;
    if (record?.receipts === LIVE && !isShown) rooms.records.set(entry.roomNid, { ...record, receipts: range.after });
  }
}

/** Returns who is typing in the rooms asked for; null when that did not change. */
export function readTyping(
  { providers: { typing } }: RoomExtensionDeps,
  { view, rooms }: RoomExtensionQuery,
): string | null {
  const { since, now, connection, request: { extensions: { typing: asked } } } = view;
  if (asked === null) return null;
  const known = new Set<RoomId>();
  const shown = new Set<RoomId>();
  for (const { entry: { roomNid, roomId, membership } } of choose(asked, rooms.wanted).values()) {
    if (membership !== "join") continue;
    if (since !== null && connection.rooms.get(roomNid)?.events === LIVE) known.add(roomId);
    else if (typing.typingIn(roomId).length > 0) shown.add(roomId);
  }
  if (since !== null && now.typing > since.typing && known.size > 0) {
    for (const roomId of typing.changedRooms({ roomIds: known, after: since.typing, upTo: now.typing })) {
      shown.add(roomId);
    }
  }
  if (shown.size === 0) return null;
  const texts = [...shown].map((roomId) => {
    const users = JSON.stringify(typing.typingIn(roomId));
    return `${JSON.stringify(roomId)}:{"type":"m.typing","content":{"user_ids":${users}}}`;
  });
  return `{"rooms":{${texts.join(",")}}}`;
}

/** Returns the rooms that an extension is asked for. */
export function choose(
  { lists, rooms }: ExtensionRooms,
  wanted: ReadonlyMap<number, WantedRoom>,
): ReadonlyMap<number, WantedRoom> {
  if (lists === null && rooms === null) return wanted;
  const chosen = new Map<number, WantedRoom>();
  for (const [roomNid, room] of wanted) {
    const byList = lists === null || lists.has("*")
      ? room.lists.length > 0
      : room.lists.some((name) => lists.has(name));
    const byRoom = room.isSubscribed && (rooms === null || rooms.has("*") || rooms.has(room.entry.roomId));
    if (byList || byRoom) chosen.set(roomNid, room);
  }
  return chosen;
}

/** Returns what the client will have of a room, as far as it is known by now. */
export function recordOf(
  { connection }: SlidingView,
  { rooms, room }: { rooms: ShownRooms; room: WantedRoom },
): RoomRecord | undefined {
  return rooms.records.get(room.entry.roomNid) ?? connection.rooms.get(room.entry.roomNid);
}

/** Notes that the client will have more of a room. */
export function change(
  view: SlidingView,
  { rooms, room, to }: { rooms: ShownRooms; room: WantedRoom; to: Partial<RoomRecord> },
): void {
  const record = recordOf(view, { rooms, room });
  if (record !== undefined) rooms.records.set(room.entry.roomNid, { ...record, ...to });
}

function addTo<K, T>(map: Map<K, T[]>, { key, item }: { key: K; item: T }): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}
