/**
 * Notes what is to be sent to other servers, in the transaction that writes it: no crash can come between an event and its
 * being sent. Rooms without other servers cost nothing.
 */
import { LruCache } from "../lib/lru.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import type { ServerName, UserId } from "../protocol/ids.ts";
import type { Tx } from "../storage/database.ts";
import {
  insertFederationCursors,
  insertOutbox,
  selectRelayed,
  selectRoomServers,
  updateRoomServers,
} from "../storage/federation_outbox.ts";
import { selectPartialRoom } from "../storage/partial_rooms.ts";
import { membershipIn } from "./member_content.ts";
import type { PersistedBatch, PersistedEvent } from "./pending.ts";
import type { StateDeltas } from "./state_deltas.ts";

/** Something is to be sent to these servers. */
export type OutboxListener = (servers: readonly string[], work: { readonly pdus: number }) => void;

/** Told of a local user who joins a room that other servers are in. */
export type LocalJoinListener = (tx: Tx, userId: UserId) => Promise<void>;

const CACHED_ROOMS = 20_000;

/** Knows the other servers of rooms, and fills the outbox. */
export class Outbox {
  readonly #serverName: ServerName;
  readonly #servers = new LruCache<number, ReadonlySet<string>>({ name: "room_servers", maxEntries: CACHED_ROOMS });
  #listener: OutboxListener = () => {};
  /** Events for other servers, and how many servers they are for in all. */
  readonly counts = { pdus: 0, destinations: 0 };
  #joinListener: LocalJoinListener = () => Promise.resolve();

  constructor({ serverName }: { serverName: ServerName }) {
    this.#serverName = serverName;
  }

  /** Calls `listener` after each commit that leaves something to be sent. */
  onWork(listener: OutboxListener): void {
    this.#listener = listener;
  }

  /** Calls `listener`, within the transaction, for each local user who joins a room that other servers are in. */
  onLocalJoin(listener: LocalJoinListener): void {
    this.#joinListener = listener;
  }

  /**
   * Counts servers as in a room although no member of theirs is known (`by` 1), or no longer (`by` -1), within the
   * transaction. They are owed what is sent after `position`.
   */
  async countServers(
    tx: Tx,
    { roomNid, servers, by, position }: { roomNid: number; servers: readonly string[]; by: 1 | -1; position: number },
  ): Promise<void> {
    this.#servers.delete(roomNid);
    const others = servers.filter((server) => server !== this.#serverName);
    await updateRoomServers(tx, { roomNid, changes: new Map(others.map((server) => [server, by])) });
    if (by > 0) await insertFederationCursors(tx, { destinations: others, events: position });
    tx.afterCommit(() => this.#servers.delete(roomNid));
  }

  /**
   * Takes over, within the transaction, who is in a room now that all of it is known. What was told of devices meanwhile
   * has not reached the servers that are found only now: they are told anew.
   */
  async replaceState(
    tx: Tx,
    { roomNid, deltas, position, present, localJoined }: {
      roomNid: number;
      deltas: StateDeltas;
      position: number;
      /** The servers that were in the room at the join or after it. */
      present: ReadonlySet<string>;
      localJoined: ReadonlySet<UserId>;
    },
  ): Promise<void> {
    const before = new Set<string>(await selectRoomServers(tx, roomNid));
    const changes = memberChanges([deltas], this.#serverName);
    await updateRoomServers(tx, { roomNid, changes });
    await insertFederationCursors(tx, { destinations: [...changes.keys()], events: position });
    tx.afterCommit(() => this.#servers.delete(roomNid));
    const missed = [...present].some((server) => server !== this.#serverName && !before.has(server));
    if (!missed) return;
    for (const userId of localJoined) await this.#joinListener(tx, userId);
  }

  /** The engine's handler. */
  readonly onPersist = async (tx: Tx, batch: PersistedBatch): Promise<void> => {
    const { room: { roomNid }, events } = batch;
    const changes = memberChanges(events.map(({ deltas }) => deltas), this.#serverName);
    const before = this.#servers.get(roomNid) ?? new Set(await selectRoomServers(tx, roomNid));
    if (changes.size > 0) await updateRoomServers(tx, { roomNid, changes });
    const after = changes.size > 0 ? new Set(await selectRoomServers(tx, roomNid)) : before;
    tx.afterCommit(() => this.#servers.set(roomNid, after));
    const fresh = [...after].filter((server) => !before.has(server));
    const first = events.find(({ stored }) => stored.position !== null)?.stored.position ?? batch.position;
    if (fresh.length > 0) await insertFederationCursors(tx, { destinations: fresh, events: first - 1 });
    const extra = this.#extraRecipients(events, after);
    if (after.size === 0 && extra.length === 0) return;
    await this.#fill(tx, { batch, after, extra, first });
    // Servers that hear of us by a join without members ask for devices by themselves, as they do of Synapse.
    const joins = after.size > 0 ? localJoins(events) : new Set<UserId>();
    if (joins.size === 0) return;
    if (await selectPartialRoom(tx, roomNid) !== null) return;
    for (const userId of joins) await this.#joinListener(tx, userId);
  };

  async #fill(
    tx: Tx,
    { batch: { room: { roomNid }, events }, after, extra, first }: {
      batch: PersistedBatch;
      after: ReadonlySet<string>;
      extra: readonly { destination: string; position: number }[];
      first: number;
    },
  ): Promise<void> {
    const own = await this.#ownEvents(tx, events);
    if (own.length === 0) return;
    const destinations = [...new Set(extra.map(({ destination }) => destination))];
    await insertFederationCursors(tx, { destinations, events: first - 1 });
    await insertOutbox(tx, { roomNid, events: own, extra });
    tx.afterCommit(() => {
      this.counts.pdus += own.length;
      this.counts.destinations += own.length * after.size + extra.length;
      this.#listener([...after, ...destinations], { pdus: own.length });
    });
  }

  /** Our own events, and those that we pass on. */
  async #ownEvents(
    tx: Tx,
    events: readonly PersistedEvent[],
  ): Promise<{ position: number; eventNid: number; origin: string | null }[]> {
    const sendable = events.filter(({ stored: { position, isRejected, isSoftFailed } }) =>
      position !== null && position > 0 && !isRejected && !isSoftFailed
    );
    const foreign = sendable.filter(({ stored }) => !this.#isOwn(stored.event.sender));
    const relayed = await selectRelayed(tx, foreign.map(({ stored }) => stored.event.eventId));
    return sendable.flatMap(({ stored: { position, nid, event }, isSent }) => {
      const isOwn = this.#isOwn(event.sender) && !isSent;
      if (position === null || (!isOwn && !relayed.has(event.eventId))) return [];
      return [{ position, eventNid: nid, origin: isOwn ? null : domainOf(event.sender) }];
    });
  }

  /** Who is put out, or no longer invited, hears of it although their server is not in the room any more. */
  #extraRecipients(
    events: readonly PersistedEvent[],
    after: ReadonlySet<string>,
  ): { destination: string; position: number }[] {
    return events.flatMap(({ stored: { event, position } }) => {
      if (event.type !== "m.room.member" || position === null || position < 0 || !this.#isOwn(event.sender)) return [];
      const membership = event.content["membership"];
      const domain = event.stateKey === null ? null : domainOf(event.stateKey);
      if (membership !== "leave" && membership !== "ban") return [];
      if (domain === null || domain === this.#serverName || after.has(domain)) return [];
      return [{ destination: domain, position }];
    });
  }

  #isOwn(userId: string): boolean {
    return domainOf(userId) === this.#serverName;
  }
}

/** The local users who were not in the room before. */
function localJoins(events: readonly PersistedEvent[]): Set<UserId> {
  const joined = new Set<UserId>();
  for (const { deltas } of events) {
    for (const { stateKey, before, after } of deltas.localMembers) {
      if (membershipIn(after) === "join" && membershipIn(before) !== "join") joined.add(stateKey as UserId);
    }
  }
  return joined;
}

/** How the numbers of joined members of other servers change. */
function memberChanges(all: readonly StateDeltas[], serverName: ServerName): Map<string, number> {
  const changes = new Map<string, number>();
  for (const { joins } of all) {
    for (const [server, by] of joins) if (server !== serverName) changes.set(server, (changes.get(server) ?? 0) + by);
  }
  for (const [server, by] of changes) if (by === 0) changes.delete(server);
  return changes;
}
