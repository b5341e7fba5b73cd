/**
 * Taking in events from other servers with what they need: parents and auth events that are not known here are fetched,
 * and where a gap remains, the state at its edge.
 *
 * One task at a time fetches for a room, so that a gap is fetched once; how much is fetched is bounded. Events that lack
 * nothing do not wait for it: a server that is slow to give what is missing holds up nobody but itself.
 */
import type { RemoteEvents } from "../federation/remote_events.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { Logger } from "../lib/log.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { selectUnknownEvents } from "../storage/event_lookups.ts";
import type { RoomEngine } from "./engine.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import { parentsFirst } from "./outliers.ts";
import type { PduChecks } from "./pdu_checks.ts";
import type { ReceivedEvent, ReceiveOutcome } from "./receive.ts";

/** What receiving takes. */
export interface InboundDeps {
  readonly db: Database;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly remote: RemoteEvents;
  readonly checks: PduChecks;
  readonly log: Logger;
}

type Missing = Extract<ReceiveOutcome, { kind: "missing" }>;

/** How many missing events are asked for at once, as Synapse does. */
const MISSING_LIMIT = 20;
const MAX_EARLIEST = 20;
/** More missing state events than this are fetched in one answer instead of one by one. */
const MAX_SINGLE_FETCHES = 50;
const PARALLEL_FETCHES = 5;

/** Takes in events of others. */
export class Inbound {
  readonly #deps: InboundDeps;
  readonly #rooms = new KeyedMutex<RoomId>();

  constructor(deps: InboundDeps) {
    this.#deps = deps;
  }

  /** Takes in checked events of one room, in this order; each has its own outcome. The room must be known. */
  async receive(
    origin: ServerName,
    { room, events }: { room: RoomIdentity; events: readonly ReceivedEvent[] },
  ): Promise<ReceiveOutcome[]> {
    const outcomes = await this.#deps.engine.receiveEvents(room.roomId, events);
    if (outcomes.every(({ kind }) => kind !== "missing")) return outcomes;
    return await this.#rooms.run(room.roomId, async () => {
      for (const [index, outcome] of outcomes.entries()) {
        const received = events[index];
        if (outcome.kind !== "missing" || received === undefined) continue;
        outcomes[index] = await this.#complete(origin, { room, received });
      }
      return outcomes;
    });
  }

  /** Fetches what an event needs, step by step, and takes it in. */
  async #complete(
    origin: ServerName,
    { room, received }: { room: RoomIdentity; received: ReceivedEvent },
  ): Promise<ReceiveOutcome> {
    let outcome = await this.#retry(room, received);
    if (outcome.kind === "missing" && outcome.parents.length > 0) {
      await this.#fetchMissing(origin, { room, received });
      outcome = await this.#retry(room, received);
    }
    if (outcome.kind !== "missing") return outcome;
    // Whoever sends an event has its parents. Without them it might become the only end of the graph, with a state that
    // nobody but its sender vouches for.
    if (outcome.parents.length > 0) return outcome;
    return await this.#placeBehindGap(origin, { room, received, missing: outcome });
  }

  async #retry({ roomId }: RoomIdentity, received: ReceivedEvent): Promise<ReceiveOutcome> {
    const [outcome] = await this.#deps.engine.receiveEvents(roomId, [received]);
    if (outcome === undefined) throw new Error("An event without outcome");
    return outcome;
  }

  /** Asks for the events between what is known and the event, and takes them in as far as they connect. */
  async #fetchMissing(
    origin: ServerName,
    { room, received: { event } }: { room: RoomIdentity; received: ReceivedEvent },
  ): Promise<void> {
    const { engine, remote, checks, log } = this.#deps;
    const head = await engine.head(room.roomId);
    const earliest = (head?.extremities ?? []).slice(0, MAX_EARLIEST).map(({ eventId }) => eventId);
    try {
      const query = { roomId: room.roomId, earliest, latest: [event.eventId], limit: MISSING_LIMIT };
      const answer = (await remote.missing(origin, query)).slice(0, MISSING_LIMIT);
      const found = (await checks.passing(answer, room)).filter((other) => other.event.eventId !== event.eventId);
      for (const other of parentsFirst(found)) {
        const outcome = await this.#retry(room, other);
        if (outcome.kind === "missing") {
          await this.#placeBehindGap(origin, { room, received: other, missing: outcome });
        }
      }
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      log.info("Missing events could not be fetched", { server: origin, roomId: room.roomId, reason: error.message });
    }
  }

  /** Fetches missing auth events and the states after missing parents, and takes the event in. */
  async #placeBehindGap(
    origin: ServerName,
    { room, received, missing }: { room: RoomIdentity; received: ReceivedEvent; missing: Missing },
  ): Promise<ReceiveOutcome> {
    const { eventId } = received.event;
    try {
      const parentStates = new Map<EventId, readonly EventId[]>();
      for (const parent of missing.parents) {
        parentStates.set(parent, await this.stateAfter(origin, { room, eventId: parent }));
      }
      const placed = { ...received, parentStates };
      // The states mostly bring what authorizes the event.
      const outcome = await this.#retry(room, placed);
      if (outcome.kind !== "missing" || outcome.authEvents.length === 0) return outcome;
      await this.#fetchAuthEvents(origin, { room, eventId, ids: outcome.authEvents });
      return await this.#retry(room, placed);
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      const { log } = this.#deps;
      log.info("What an event builds on could not be fetched", { server: origin, eventId, reason: error.message });
      return missing;
    }
  }

  /** As `fetchAuthChain`, but one by one from a server that does not give the chain. */
  async #fetchAuthEvents(
    origin: ServerName,
    { room, eventId, ids }: { room: RoomIdentity; eventId: EventId; ids: readonly EventId[] },
  ): Promise<void> {
    try {
      await this.fetchAuthChain(origin, { room, eventId });
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      await this.#deps.engine.storeOutliers(room.roomId, await this.#fetchEach(origin, { room, ids }));
    }
  }

  /** Fetches what authorizes an event, and keeps it. Throws `RemoteError`. */
  async fetchAuthChain(
    origin: ServerName,
    { room, eventId }: { room: RoomIdentity; eventId: EventId },
  ): Promise<void> {
    const { remote, checks, engine } = this.#deps;
    const chain = await remote.eventAuth(origin, { roomId: room.roomId, eventId });
    await engine.storeOutliers(room.roomId, await checks.passing(chain, room));
  }

  /** Returns the state after an event as a server tells it, with all its events stored. Throws `RemoteError`. */
  async stateAfter(
    origin: ServerName,
    { room, eventId }: { room: RoomIdentity; eventId: EventId },
  ): Promise<EventId[]> {
    const stateIds = await this.stateBefore(origin, { room, eventId, andItself: true });
    const own = await this.#deps.events.getById(eventId);
    if (own === null || own.isRejected || own.event.stateKey === null) return stateIds;
    return await this.#replace(stateIds, own.event);
  }

  /** Returns the state before an event as a server tells it, with all its events stored. Throws `RemoteError`. */
  async stateBefore(
    origin: ServerName,
    { room, eventId, andItself = false }: { room: RoomIdentity; eventId: EventId; andItself?: boolean },
  ): Promise<EventId[]> {
    const { remote, db, engine } = this.#deps;
    const { stateIds, authIds } = await remote.stateIds(origin, { roomId: room.roomId, eventId });
    const unknown = await selectUnknownEvents(db, [...new Set([...stateIds, ...authIds, eventId])]);
    const unknownState = unknown.filter((id) => id !== eventId);
    const fetched = unknownState.length > MAX_SINGLE_FETCHES
      ? await this.#fetchState(origin, { room, eventId })
      : await this.#fetchEach(origin, { room, ids: unknownState });
    if (andItself && unknown.includes(eventId)) {
      fetched.push(...await this.#fetchEach(origin, { room, ids: [eventId] }));
    }
    await engine.storeOutliers(room.roomId, fetched);
    return [...stateIds];
  }

  /** Returns the state with one event put in place of the one at its key. */
  async #replace(stateIds: readonly EventId[], own: ReceivedEvent["event"]): Promise<EventId[]> {
    const state = await this.#deps.events.byId(stateIds);
    const kept = stateIds.filter((id) => {
      const other = state.get(id)?.event;
      return other === undefined || other.type !== own.type || other.stateKey !== own.stateKey;
    });
    return [...kept, own.eventId];
  }

  async #fetchState(
    origin: ServerName,
    { room, eventId }: { room: RoomIdentity; eventId: EventId },
  ): Promise<ReceivedEvent[]> {
    const { remote, checks } = this.#deps;
    const { state, authChain } = await remote.state(origin, { roomId: room.roomId, eventId });
    return await checks.passing([...authChain, ...state], room);
  }

  async #fetchEach(
    origin: ServerName,
    { room, ids }: { room: RoomIdentity; ids: readonly EventId[] },
  ): Promise<ReceivedEvent[]> {
    const { remote, checks } = this.#deps;
    const found: ReceivedEvent[] = [];
    for (let start = 0; start < ids.length; start += PARALLEL_FETCHES) {
      const part = ids.slice(start, start + PARALLEL_FETCHES);
      const answers = await Promise.allSettled(part.map((id) => remote.event(origin, id)));
      const pdus = answers.flatMap((answer) => answer.status === "fulfilled" ? [answer.value] : []);
      const wanted = new Set(part);
      found.push(...(await checks.passing(pdus, room)).filter(({ event }) => wanted.has(event.eventId)));
    }
    return found;
  }
}
