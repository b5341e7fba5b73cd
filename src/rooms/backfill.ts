/**
 * Fetching history: what came before this server was in a room, what it missed, and single events that somebody asks for.
 * Spec: server-server API, "Backfilling and retrieving missing events". What is fetched is checked like any event, with
 * the state that the other server gives before the oldest.
 *
 * A hole that nobody could fill, and an event that nobody has, is left alone for longer each time: readers come by often.
 */
import type { RemoteEvents } from "../federation/remote_events.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { LruCache } from "../lib/lru.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { selectBackwardExtremities } from "../storage/event_lookups.ts";
import type { RoomEngine } from "./engine.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { Inbound } from "./inbound.ts";
import { parentsFirst } from "./outliers.ts";
import type { RelatedEvent, RelatedQuery, RemoteHistory, WantedTime } from "./pagination.ts";
import type { PduChecks } from "./pdu_checks.ts";
import type { ReceivedEvent } from "./receive.ts";
import type { RoomHosts } from "./room_hosts.ts";

/** What history is fetched with. */
export interface BackfillDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly remote: RemoteEvents;
  readonly checks: PduChecks;
  readonly inbound: Inbound;
  readonly hosts: RoomHosts;
  readonly log: Logger;
}

interface Failure {
  readonly attempts: number;
  readonly until: number;
}

const MAX_EXTREMITIES = 5;
/** Among these the ones are looked for that are worth asking for. */
const MAX_CANDIDATES = 100;
const MAX_SERVERS = 5;
const MIN_EVENTS = 50;
const MAX_EVENTS = 100;
const MAX_AUTH_EVENTS = 2_000;
/** After this no further server is asked: somebody waits for the page. */
const MAX_TIME_MS = 30_000;
const FIRST_PAUSE_MS = 60_000;
const MAX_PAUSE_MS = 86_400_000;
const MAX_FAILURES = 20_000;
/** How many unknown events of one room are looked for at once. */
const MAX_LOOK_UPS = 5;

/** Fetches history. */
export class Backfill implements RemoteHistory {
  readonly #deps: BackfillDeps;
  readonly #rooms = new KeyedMutex<RoomId>();
  readonly #failures = new LruCache<EventId, Failure>({ maxEntries: MAX_FAILURES });
  readonly #lookUps = new Map<RoomId, number>();

  constructor(deps: BackfillDeps) {
    this.#deps = deps;
  }

  /** Fetches what came before events of such depths whose parents are not known; tells whether there is more now. */
  async fill(room: RoomIdentity, { low, high, limit }: { low: number; high: number; limit: number }): Promise<boolean> {
    if ((await this.#holes(room, { low, high })).length === 0) return false;
    return await this.#rooms.run(room.roomId, async () => {
      const from = await this.#holes(room, { low, high });
      // Another reader has filled them meanwhile.
      if (from.length === 0) return true;
      const wanted = Math.min(MAX_EVENTS, Math.max(MIN_EVENTS, limit));
      if (await this.#tryEach(room, (server) => this.#fetchFrom(server, { room, from, limit: wanted }))) return true;
      for (const eventId of from) this.#noteFailure(eventId);
      return false;
    });
  }

  /** Fetches one event and gives it its place; tells whether it is here now. */
  async event(room: RoomIdentity, eventId: EventId): Promise<boolean> {
    const { roomId } = room;
    const running = this.#lookUps.get(roomId) ?? 0;
    if (this.#isLeftAlone(eventId) || running >= MAX_LOOK_UPS) return false;
    this.#lookUps.set(roomId, running + 1);
    try {
      const found = await this.#rooms.run(
        roomId,
        () => this.#tryEach(room, (server) => this.#fetchOne(server, { room, eventId })),
      );
      if (!found) this.#noteFailure(eventId);
      return found;
    } finally {
      const left = (this.#lookUps.get(roomId) ?? 1) - 1;
      if (left > 0) this.#lookUps.set(roomId, left);
      else this.#lookUps.delete(roomId);
    }
  }

  /** Where this server lacks history, others are asked for an event nearer to a time; tells whether one is here now. */
  async nearer(room: RoomIdentity, wanted: WantedTime): Promise<boolean> {
    const { db, remote } = this.#deps;
    if ((await selectBackwardExtremities(db, { roomNid: room.roomNid, limit: 1 })).length === 0) return false;
    const { ts, backwards } = wanted;
    return await this.#tryEach(room, async (server) => {
      const found = await remote.nearest(server, { roomId: room.roomId, ts, backwards });
      if (!isNearer(found.originServerTs, wanted)) return false;
      const { eventId } = found;
      return await this.#rooms.run(room.roomId, () => this.#fetchOne(server, { room, eventId }));
    });
  }

  /** Fetches an event with what is related to it, without places in the graph; null when nobody has it. */
  async related(room: RoomIdentity, query: RelatedQuery): Promise<RelatedEvent[] | null> {
    const eventId = query.event_id;
    if (this.#isLeftAlone(eventId)) return null;
    let found: RelatedEvent[] = [];
    const isFound = await this.#tryEach(room, async (server) => {
      found = await this.#fetchRelated(server, { room, query });
      return found.some((related) => related.eventId === eventId);
    });
    if (!isFound) this.#noteFailure(eventId);
    return isFound ? found : null;
  }

  async #fetchRelated(
    server: ServerName,
    { room, query }: { room: RoomIdentity; query: RelatedQuery },
  ): Promise<RelatedEvent[]> {
    const { remote, checks, engine } = this.#deps;
    const answer = await remote.related(server, query);
    const received = await checks.passing(answer.authChain.slice(0, MAX_AUTH_EVENTS), room);
    const related: RelatedEvent[] = [];
    for (const pdu of answer.events.slice(0, MAX_EVENTS)) {
      const checked = await checks.check(pdu, room);
      if (!checked.ok) continue;
      received.push(checked.received);
      const unsigned = isJsonObject(pdu) ? pdu["unsigned"] : undefined;
      related.push({ eventId: checked.received.event.eventId, unsigned: isJsonObject(unsigned) ? unsigned : {} });
    }
    await engine.storeOutliers(room.roomId, received);
    return related;
  }

  async #holes({ roomNid }: RoomIdentity, depths: { low: number; high: number }): Promise<EventId[]> {
    const query = { roomNid, depths, limit: MAX_CANDIDATES };
    const candidates = await selectBackwardExtremities(this.#deps.db, query);
    return candidates.filter((eventId) => !this.#isLeftAlone(eventId)).slice(0, MAX_EXTREMITIES);
  }

  #isLeftAlone(eventId: EventId): boolean {
    return (this.#failures.get(eventId)?.until ?? 0) > this.#deps.clock.now();
  }

  #noteFailure(eventId: EventId): void {
    const attempts = (this.#failures.get(eventId)?.attempts ?? 0) + 1;
    const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempts - 1));
    this.#failures.set(eventId, { attempts, until: this.#deps.clock.now() + pauseMs });
  }

  /** Asks servers in the room one after another until one helps. */
  async #tryEach({ roomId }: RoomIdentity, ask: (server: ServerName) => Promise<boolean>): Promise<boolean> {
    const { clock, hosts, serverName, log } = this.#deps;
    const startedAt = clock.monotonic();
    // The largest servers are the likeliest to have it all.
    const members = [...await hosts.inRoom(roomId)].filter(([server]) => server !== serverName);
    for (const [server] of members.sort(([, a], [, b]) => b - a).slice(0, MAX_SERVERS)) {
      if (clock.monotonic() - startedAt > MAX_TIME_MS) return false;
      try {
        if (await ask(server)) return true;
      } catch (error) {
        if (!(error instanceof RemoteError)) throw error;
        log.info("History could not be fetched", { server, roomId, reason: error.message });
      }
    }
    return false;
  }

  async #fetchFrom(
    server: ServerName,
    { room, from, limit }: { room: RoomIdentity; from: readonly EventId[]; limit: number },
  ): Promise<boolean> {
    const { remote, checks } = this.#deps;
    const answer = await remote.backfill(server, { roomId: room.roomId, from, limit });
    const found = await checks.passing(answer.slice(0, MAX_EVENTS + from.length), room);
    let fresh = 0;
    for (const received of parentsFirst(found)) {
      if (await this.#take(server, { room, received })) fresh++;
    }
    return fresh > 0;
  }

  async #fetchOne(
    server: ServerName,
    { room, eventId }: { room: RoomIdentity; eventId: EventId },
  ): Promise<boolean> {
    const { remote, checks } = this.#deps;
    const found = await checks.passing([await remote.event(server, eventId)], room);
    const received = found.find(({ event }) => event.eventId === eventId);
    return received !== undefined && await this.#take(server, { room, received });
  }

  /** Takes one event into the history; true when it was not there before. */
  async #take(
    server: ServerName,
    { room, received }: { room: RoomIdentity; received: ReceivedEvent },
  ): Promise<boolean> {
    const { engine, inbound } = this.#deps;
    const past = { ...received, isBackfill: true };
    let [outcome] = await engine.receiveEvents(room.roomId, [past]);
    if (outcome?.kind === "missing") {
      if (outcome.authEvents.length > 0) {
        await inbound.fetchAuthChain(server, { room, eventId: received.event.eventId });
      }
      // One state stands for all parents that are missing: it is what they resolve to.
      const before = outcome.parents.length === 0
        ? []
        : await inbound.stateBefore(server, { room, eventId: received.event.eventId });
      const parentStates = new Map(outcome.parents.map((parent) => [parent, before]));
      [outcome] = await engine.receiveEvents(room.roomId, [{ ...past, parentStates }]);
    }
    return outcome?.kind === "accepted" || outcome?.kind === "rejected";
  }
}

function isNearer(found: number, { ts, backwards, knownTs }: WantedTime): boolean {
  if (backwards ? found > ts : found < ts) return false;
  return knownTs === null || Math.abs(found - ts) < Math.abs(knownTs - ts);
}
