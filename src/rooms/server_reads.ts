/**
 * What other servers in a room may read of it. Spec: server-server API, "Retrieving events", "Backfilling and retrieving
 * missing events" and "Room State Resolution".
 */
import { nextTurn } from "../lib/turn.ts";
import { forbidden, notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import { selectAuthChain } from "../storage/auth_chains.ts";
import type { Db } from "../storage/database.ts";
import { selectEventIds } from "../storage/federation_rooms.ts";
import { MAX_POSITION, selectEventsByTime } from "../storage/timeline.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { PartialRooms } from "./partial_rooms.ts";
import type { RoomHosts } from "./room_hosts.ts";
import type { ServerAcls } from "./server_acls.ts";
import type { ServerVisibility } from "./server_visibility.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";

/** What is read from. */
export interface ServerReadsDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly hosts: RoomHosts;
  readonly acls: ServerAcls;
  readonly visibility: ServerVisibility;
  /** Lets wait for rooms whose members are not all here. */
  readonly whole: { readonly current: Pick<PartialRooms, "whenWhole"> | null };
}

/** A state and what it rests on, as federation JSON. */
export interface StateTexts {
  readonly pdus: readonly string[];
  readonly authChain: readonly string[];
}

/** The same by ids. */
export interface StateIds {
  readonly pduIds: readonly EventId[];
  readonly authChainIds: readonly EventId[];
}

/** A gap between events that a server has. */
export interface Gap {
  readonly roomId: RoomId;
  /** Events it has: the walk stops there. */
  readonly earliest: readonly EventId[];
  /** Events it has without their parents: the walk starts there. */
  readonly latest: readonly EventId[];
  readonly limit: number;
  readonly minDepth: number;
}

/** The most events that backfill gives at once. */
export const MAX_BACKFILL = 100;
/** The most events that fill a gap at once. */
export const MAX_MISSING = 20;
const MAX_TIME_CANDIDATES = 100;
const RENDERED_AT_ONCE = 500;

/** Answers servers. All methods throw `M_FORBIDDEN` for servers that are not in the room, `M_NOT_FOUND` for what is unknown. */
export class ServerReads {
  readonly #deps: ServerReadsDeps;

  constructor(deps: ServerReadsDeps) {
    this.#deps = deps;
  }

  /** Returns a room that the server is in and not shut out of. */
  async requireRoom(origin: ServerName, roomId: RoomId): Promise<RoomIdentity> {
    const { events, hosts, acls } = this.#deps;
    const room = await events.roomById(roomId);
    if (room === null) throw notFound("Unknown room");
    if (!await acls.isAllowed(roomId, origin)) throw forbidden("Server is banned from room");
    if (!await hosts.isInRoom(roomId, origin)) throw forbidden("Server is not in the room");
    return room;
  }

  /** Returns one event. */
  async event(origin: ServerName, eventId: EventId): Promise<string> {
    const stored = await this.#deps.events.getById(eventId);
    const room = stored === null ? null : await this.#deps.events.room(stored.roomNid);
    if (stored === null || room === null || stored.isRejected) throw notFound(`Unknown event "${eventId}"`);
    await this.requireRoom(origin, room.roomId);
    const [text = ""] = await this.#deps.visibility.render([stored], origin);
    return text;
  }

  /** Returns the state before an event. */
  async state(origin: ServerName, at: { roomId: RoomId; eventId: EventId }): Promise<StateTexts> {
    const { state, chain } = await this.#stateAt(origin, at);
    return { pdus: await this.renderAll(state, origin), authChain: await this.renderAll(chain, origin) };
  }

  /** Returns the ids of the state before an event. */
  async stateIds(origin: ServerName, at: { roomId: RoomId; eventId: EventId }): Promise<StateIds> {
    const { state, chain } = await this.#stateAt(origin, at);
    const { db } = this.#deps;
    return { pduIds: await selectEventIds(db, state), authChainIds: await selectEventIds(db, chain) };
  }

  /** Returns the texts of many events, by their numeric ids. Other work gets its turn in between. */
  async renderAll(nids: readonly number[], origin: ServerName): Promise<string[]> {
    const { events, visibility } = this.#deps;
    const texts: string[] = [];
    for (let start = 0; start < nids.length; start += RENDERED_AT_ONCE) {
      const batch = nids.slice(start, start + RENDERED_AT_ONCE);
      const found = await events.byNid(batch);
      const ordered = batch.map((nid) => found.get(nid)).filter((stored) => stored !== undefined);
      texts.push(...await visibility.render(ordered, origin));
      await nextTurn();
    }
    return texts;
  }

  /** Returns what an event rests on. */
  async eventAuth(origin: ServerName, { roomId, eventId }: { roomId: RoomId; eventId: EventId }): Promise<string[]> {
    const room = await this.requireRoom(origin, roomId);
    const stored = await this.#eventOf(room, eventId);
    return await this.renderAll(await this.authChain(room, [stored.nid]), origin);
  }

  /** Returns events and what came before them, the latest first. Unknown events are passed over. */
  async backfill(
    origin: ServerName,
    { roomId, from, limit }: { roomId: RoomId; from: readonly EventId[]; limit: number },
  ): Promise<string[]> {
    const room = await this.requireRoom(origin, roomId);
    const found = await this.#walk(room, {
      ...{ start: from, stop: new Set<EventId>(), minDepth: 0 },
      limit: Math.min(limit, MAX_BACKFILL),
    });
    return await this.#deps.visibility.render(found, origin);
  }

  /** Returns the events in a gap, the earliest first. */
  async missingEvents(origin: ServerName, { roomId, earliest, latest, limit, minDepth }: Gap): Promise<string[]> {
    const room = await this.requireRoom(origin, roomId);
    const ends = await this.#placed(room, latest);
    const start = ends.flatMap(({ event }) => event.prevEvents);
    const stop = new Set([...earliest, ...latest]);
    const found = await this.#walk(room, { start, stop, minDepth, limit: Math.min(limit, MAX_MISSING) });
    return await this.#deps.visibility.render(found.reverse(), origin);
  }

  /** Returns the event nearest to a time in a direction that the server may see. */
  async nearest(
    origin: ServerName,
    { roomId, ts, backwards }: { roomId: RoomId; ts: number; backwards: boolean },
  ): Promise<{ eventId: EventId; originServerTs: number }> {
    const { db, events, visibility } = this.#deps;
    const { roomNid } = await this.requireRoom(origin, roomId);
    const range = { roomNid, ts, backwards, upTo: MAX_POSITION, limit: MAX_TIME_CANDIDATES };
    const rows = await selectEventsByTime(db, range);
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    for (const { nid } of rows) {
      const candidate = stored.get(nid);
      if (candidate === undefined || !await visibility.isVisible(candidate, origin)) continue;
      return { eventId: candidate.event.eventId, originServerTs: candidate.event.originServerTs };
    }
    throw notFound(`Unable to find event from ${ts} in direction ${backwards ? "b" : "f"}`);
  }

  /** Returns all that some events rest on. In room version 12 that includes the create event, which nothing lists. */
  async authChain(room: RoomIdentity, nids: readonly number[]): Promise<number[]> {
    const chain = new Set(await selectAuthChain(this.#deps.db, nids));
    if (room.rules.roomIdIsCreateHash) {
      const create = await this.#deps.events.getById(`$${room.roomId.slice(1)}` as EventId);
      if (create !== null && nids.some((nid) => nid !== create.nid)) chain.add(create.nid);
    }
    return [...chain];
  }

  async #stateAt(
    origin: ServerName,
    { roomId, eventId }: { roomId: RoomId; eventId: EventId },
  ): Promise<{ state: number[]; chain: number[] }> {
    const room = await this.requireRoom(origin, roomId);
    await this.#deps.whole.current?.whenWhole(room.roomNid);
    const stored = await this.#eventOf(room, eventId);
    if (stored.stateBefore === null) throw notFound("The state at the event is not known");
    const state = await this.#deps.state.entryNids(stored.stateBefore);
    return { state, chain: await this.authChain(room, state) };
  }

  async #eventOf(room: RoomIdentity, eventId: EventId): Promise<StoredEvent> {
    const stored = await this.#deps.events.getById(eventId);
    if (stored === null || stored.roomNid !== room.roomNid) throw notFound(`Unknown event "${eventId}"`);
    return stored;
  }

  /** Returns the events of a room, among those with the ids, whose place in the graph is known and that are not rejected. */
  async #placed({ roomNid }: RoomIdentity, ids: readonly EventId[]): Promise<StoredEvent[]> {
    const found = await this.#deps.events.byId([...new Set(ids)]);
    return [...found.values()].filter((stored) => stored.roomNid === roomNid && !stored.isOutlier);
  }

  /** Goes back along parents, the deepest event first; rejected events are passed through and left out. */
  async #walk(
    room: RoomIdentity,
    { start, stop, minDepth, limit }: {
      start: readonly EventId[];
      stop: ReadonlySet<EventId>;
      minDepth: number;
      limit: number;
    },
  ): Promise<StoredEvent[]> {
    const seen = new Set<EventId>(stop);
    const open: StoredEvent[] = [];
    const add = async (ids: readonly EventId[]) => {
      const fresh = ids.filter((id) => !seen.has(id));
      for (const id of fresh) seen.add(id);
      open.push(...(await this.#placed(room, fresh)).filter(({ event }) => event.depth >= minDepth));
      open.sort((a, b) => a.event.depth - b.event.depth || (a.position ?? 0) - (b.position ?? 0));
    };
    const found: StoredEvent[] = [];
    await add(start);
    while (found.length < limit) {
      const next = open.pop();
      if (next === undefined) break;
      if (!next.isRejected) found.push(next);
      await add(next.event.prevEvents);
    }
    return found;
  }
}
