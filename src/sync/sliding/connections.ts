/**
 * The connections of sliding sync: what each client was sent, so that it is sent the rest only. Spec: MSC4186,
 * "Connections".
 *
 * A connection has numbered states. A response that changes what is remembered makes a new one; the client tells by its
 * next `pos` which one it has. States are in the database, and the last two of the connections in use in memory. Which
 * member events a client has is in memory only: what is forgotten is sent again.
 */
import type { Clock } from "../../lib/clock.ts";
import { LruCache } from "../../lib/lru.ts";
import { KeyedMutex } from "../../lib/mutex.ts";
import { randomString } from "../../lib/random.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Database, Tx } from "../../storage/database.ts";
import {
  advanceConnection,
  type ConnectionOwner,
  deleteUnusedSelections,
  insertConnection,
  insertSelections,
  insertSlidingRooms,
  selectConnection,
  selectSelections,
  selectSlidingRooms,
  type SlidingRoomRow,
  touchConnection,
} from "../../storage/sliding_sync.ts";
import type { SlidingPos } from "../../streams/tokens.ts";
import { StateSelection } from "./state_selection.ts";

/** Stands for "everything up to the client's position". */
export const LIVE = -1;
/** Stands for "nothing yet". */
export const NEVER = -2;

/** What a client was sent of a room. */
export interface RoomRecord {
  /** Up to which position of the events stream, or `LIVE`. */
  readonly events: number;
  /** Up to which position of the receipts stream, or `LIVE`, or `NEVER`. */
  readonly receipts: number;
  /** `LIVE` or `NEVER`. */
  readonly accountData: number;
  /** As what the room was shown: as a joined one, as one that was left, or from outside. */
  readonly shown: "join" | "leave" | "stripped";
  /** The client has at least that many of the last events, or all there are. */
  readonly timelineLimit: number;
  readonly isDm: boolean;
  /** With which fields the client has the profiles of the room: `ProfileFields.key`, or `NEVER`. */
  readonly profiles: number;
  /** The client has all state that this selects. */
  readonly selection: StateSelection;
}

/** A connection as one request sees it. */
export interface Connection {
  readonly owner: ConnectionOwner;
  /** Null until the first response. */
  readonly key: string | null;
  readonly state: number;
  readonly rooms: ReadonlyMap<number, RoomRecord>;
  /** The numeric ids of the member events that the client has, by room. */
  readonly sentMembers: ReadonlyMap<number, ReadonlySet<number>>;
  readonly sentProfiles: SentProfiles;
}

/** What a response changes. */
export interface ConnectionChanges {
  readonly rooms: ReadonlyMap<number, RoomRecord>;
  /** Member events sent, by room. */
  readonly members: ReadonlyMap<number, readonly number[]>;
  /** Rooms of which the client drops the members it knew. */
  readonly resetMembers: ReadonlySet<number>;
  readonly profiles: ProfilesTold;
}

interface Held {
  readonly owner: ConnectionOwner;
  /** What the client has for certain. */
  acked: number;
  readonly rooms: Map<number, RoomRecord>;
  readonly members: Map<number, Set<number>>;
  profiles: SentProfiles;
  /** The state after `acked` that it may have; null when none was written. */
  next: { readonly state: number; readonly rooms: ReadonlyMap<number, RoomRecord> } | null;
  /** The members of the last response, which the client has if it comes back with that `pos`. */
  last: { readonly pos: string; readonly changes: ConnectionChanges } | null;
  readonly selections: Map<number, StateSelection>;
  lastUsedTs: number;
}

/** The users whose profiles a client has, with these fields. Kept in memory: what is forgotten is sent again. */
export interface SentProfiles {
  readonly fields: number;
  readonly users: ReadonlySet<string>;
}

/** What a response tells of profiles. */
export interface ProfilesTold {
  /** With which fields; another number than before drops what was known. */
  readonly fields: number;
  readonly sent: readonly string[];
  readonly dropped: readonly string[];
}

const NO_PROFILES: SentProfiles = { fields: NEVER, users: new Set() };

/** Connections not used for this long end, in milliseconds. */
export const CONNECTION_LIFETIME_MS = 7 * 86_400_000;
const TOUCH_AFTER_MS = 3_600_000;
const MAX_CONNECTIONS_PER_DEVICE = 20;
const MAX_SELECTIONS = 30;
const MAX_SENT_MEMBERS_PER_ROOM = 1_000;
const MAX_SENT_PROFILES = 1_000;
const KEY_LENGTH = 16;
const CACHE_BYTES = 32 * 1024 * 1024;
const HELD_BYTES = 1_000;
const ROOM_BYTES = 150;

/** Finds connections and saves what responses change. */
export class SlidingConnections {
  readonly #db: Database;
  readonly #clock: Clock;
  /**
   * What a device's transactions did to its connections is noted in memory in the order in which they committed: else a
   * connection that another one replaced could come back.
   */
  readonly #devices = new KeyedMutex<string>();
  readonly #held = new LruCache<string, Held>({
    name: "sliding_connections",
    maxBytes: CACHE_BYTES,
    sizeOf: ({ rooms, next }) => HELD_BYTES + ROOM_BYTES * (rooms.size + (next?.rooms.size ?? 0)),
  });

  constructor({ db, clock }: { db: Database; clock: Clock }) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Returns a connection that has nothing yet. */
  begin(owner: ConnectionOwner): Connection {
    return { owner, key: null, state: 0, rooms: new Map(), sentMembers: new Map(), sentProfiles: NO_PROFILES };
  }

  /** Returns the connection that a `pos` belongs to. Throws 400 `M_UNKNOWN_POS` when it is none of the owner's. */
  async resume(owner: ConnectionOwner, { pos, text }: { pos: SlidingPos; text: string }): Promise<Connection> {
    const known = this.#held.get(pos.connection);
    // Another process may have served the connection since.
    const isCurrent = known !== undefined && (known.acked === pos.state || known.next?.state === pos.state);
    const held = isCurrent ? known : await this.#devices.run(deviceOf(owner), () => this.#load(pos));
    if (held === null || !isSame(held.owner, owner)) throw unknownPos();
    const now = this.#clock.now();
    if (held.lastUsedTs < now - CONNECTION_LIFETIME_MS) throw unknownPos();
    if (held.next?.state === pos.state) acknowledge(held);
    noteReceived(held, text);
    if (held.lastUsedTs < now - TOUCH_AFTER_MS) {
      held.lastUsedTs = now;
      await this.#db.transaction((tx) => touchConnection(tx, { connKey: pos.connection, now }));
    }
    const { rooms, members: sentMembers, profiles: sentProfiles } = held;
    return { owner, key: pos.connection, state: pos.state, rooms, sentMembers, sentProfiles };
  }

  /**
   * Saves what a response changes and returns the key and state that its `pos` must name. Throws 400 `M_UNKNOWN_POS` when
   * the client went on with another response meanwhile.
   */
  async save(connection: Connection, changes: ConnectionChanges): Promise<{ key: string; state: number }> {
    const { key, owner } = connection;
    if (key === null) return await this.#devices.run(deviceOf(owner), () => this.#start(owner, changes));
    if (changes.rooms.size > 0) {
      return await this.#devices.run(deviceOf(owner), () => this.#advance({ ...connection, key }, changes));
    }
    this.#requireCurrent(key, connection);
    return { key, state: connection.state };
  }

  /** Notes the `pos` under which changes were sent, so that they count once the client comes back with it. */
  noteSent(key: string, { pos, changes }: { pos: string; changes: ConnectionChanges }): void {
    const held = this.#held.peek(key);
    if (held !== undefined) held.last = { pos, changes };
  }

  async #advance(
    connection: Connection & { readonly key: string },
    changes: ConnectionChanges,
  ): Promise<{ key: string; state: number }> {
    const { key } = connection;
    const held = this.#requireCurrent(key, connection);
    const now = this.#clock.now();
    const prunes = (held?.selections.size ?? 0) > MAX_SELECTIONS;
    const state = await this.#db.transaction(async (tx) => {
      const next = await advanceConnection(tx, { connKey: key, state: connection.state, now });
      if (next !== null) await write(tx, { connKey: key, state: next, changes });
      if (prunes) await deleteUnusedSelections(tx, key);
      return next;
    });
    if (state === null) {
      this.#held.delete(key);
      throw unknownPos();
    }
    if (held !== undefined) {
      held.next = { state, rooms: changes.rooms };
      held.lastUsedTs = now;
      if (prunes) held.selections.clear();
      for (const { selection } of changes.rooms.values()) held.selections.set(selection.nid, selection);
      this.#held.set(key, held);
    }
    return { key, state };
  }

  #requireCurrent(key: string, { state }: Connection): Held | undefined {
    const held = this.#held.peek(key);
    if (held !== undefined && held.acked !== state) throw unknownPos();
    return held;
  }

  async #start(owner: ConnectionOwner, changes: ConnectionChanges): Promise<{ key: string; state: number }> {
    const key = randomString(KEY_LENGTH);
    const now = this.#clock.now();
    const ended = await this.#db.transaction(async (tx) => {
      const keys = await insertConnection(tx, {
        ...owner,
        ...{ connKey: key, now, maxPerDevice: MAX_CONNECTIONS_PER_DEVICE },
      });
      await write(tx, { connKey: key, state: 1, changes });
      return keys;
    });
    for (const old of ended) this.#held.delete(old);
    this.#held.set(key, {
      owner,
      acked: 0,
      rooms: new Map(),
      members: new Map(),
      profiles: NO_PROFILES,
      next: { state: 1, rooms: changes.rooms },
      last: null,
      selections: new Map([...changes.rooms.values()].map(({ selection }) => [selection.nid, selection])),
      lastUsedTs: now,
    });
    return { key, state: 1 };
  }

  async #load({ connection: connKey, state }: SlidingPos): Promise<Held | null> {
    const row = await selectConnection(this.#db, connKey);
    if (row === null || state !== row.ackedState && state !== row.lastState) return null;
    const texts = await selectSelections(this.#db, connKey);
    const selections = new Map([...texts].map(([nid, text]) => [nid, StateSelection.parse(text)]));
    const rooms = new Map<number, RoomRecord>();
    for (const room of await selectSlidingRooms(this.#db, { connKey, state })) {
      const selection = selections.get(room.selectionNid);
      if (selection !== undefined) rooms.set(room.roomNid, recordOf(room, selection));
    }
    const { userId, deviceId, connId, lastUsedTs } = row;
    const owner = { userId, deviceId, connId };
    const held: Held = {
      ...{ owner, rooms, selections, lastUsedTs },
      acked: state,
      members: new Map(),
      profiles: NO_PROFILES,
      next: null,
      last: null,
    };
    this.#held.set(connKey, held);
    return held;
  }
}

/** 400 `M_UNKNOWN_POS`: the client must start over. */
export function unknownPos(): MatrixError {
  return new MatrixError(400, "M_UNKNOWN_POS", "Unknown position");
}

function deviceOf({ userId, deviceId }: ConnectionOwner): string {
  return `${userId} ${deviceId}`;
}

function isSame(left: ConnectionOwner, right: ConnectionOwner): boolean {
  return left.userId === right.userId && left.deviceId === right.deviceId && left.connId === right.connId;
}

/** Notes what the client has by coming back with the `pos` of the last response. */
function noteReceived(held: Held, pos: string): void {
  if (held.last?.pos === pos) {
    const { members, resetMembers, profiles } = held.last.changes;
    for (const roomNid of resetMembers) held.members.delete(roomNid);
    for (const [roomNid, nids] of members) {
      const sent = held.members.get(roomNid) ?? new Set();
      held.members.set(roomNid, sent);
      for (const nid of nids) sent.add(nid);
      trim(sent, MAX_SENT_MEMBERS_PER_ROOM);
    }
    held.profiles = withTold(held.profiles, profiles);
  }
  held.last = null;
}

function withTold(before: SentProfiles, { fields, sent, dropped }: ProfilesTold): SentProfiles {
  if (fields === before.fields && sent.length === 0 && dropped.length === 0) return before;
  const users = new Set(fields === before.fields ? before.users : []);
  for (const user of dropped) users.delete(user);
  for (const user of sent) users.add(user);
  trim(users, MAX_SENT_PROFILES);
  return { fields, users };
}

/** Drops the oldest entries beyond a number. */
function trim<T>(set: Set<T>, max: number): void {
  for (const entry of set) {
    if (set.size <= max) break;
    set.delete(entry);
  }
}

function acknowledge(held: Held): void {
  if (held.next === null) return;
  held.acked = held.next.state;
  for (const [roomNid, record] of held.next.rooms) held.rooms.set(roomNid, record);
  held.next = null;
}

async function write(
  tx: Tx,
  { connKey, state, changes }: { connKey: string; state: number; changes: ConnectionChanges },
): Promise<void> {
  const selections = new Map<number, string>();
  const rooms: SlidingRoomRow[] = [];
  for (const [roomNid, { selection, ...record }] of changes.rooms) {
    selections.set(selection.nid, selection.text);
    rooms.push({ roomNid, ...record, selectionNid: selection.nid });
  }
  await insertSelections(tx, { connKey, selections });
  await insertSlidingRooms(tx, { connKey, state, rooms });
}

function recordOf(
  { roomNid: _, selectionNid: __, shown, ...row }: SlidingRoomRow,
  selection: StateSelection,
): RoomRecord {
  return { ...row, shown: shown === "join" || shown === "leave" ? shown : "stripped", selection };
}
