/**
 * Fetching history from before this server was in a room. Spec: server-server API, "Backfilling and retrieving missing
 * events". What is fetched is checked like any event, with the state that the other server gives before the oldest.
 */
import type { RemoteEvents } from "../federation/remote_events.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { Logger } from "../lib/log.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { selectBackwardExtremities } from "../storage/event_lookups.ts";
import type { RoomEngine } from "./engine.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { Inbound } from "./inbound.ts";
import { parentsFirst } from "./outliers.ts";
import type { PduChecks } from "./pdu_checks.ts";
import type { ReceivedEvent } from "./receive.ts";
import type { RoomHosts } from "./room_hosts.ts";

/** What history is fetched with. */
export interface BackfillDeps {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly remote: RemoteEvents;
  readonly checks: PduChecks;
  readonly inbound: Inbound;
  readonly hosts: RoomHosts;
  readonly log: Logger;
}

const MAX_EXTREMITIES = 5;
const MAX_SERVERS = 5;
const MIN_EVENTS = 50;
const MAX_EVENTS = 100;

/** Fetches history. */
export class Backfill {
  readonly #deps: BackfillDeps;
  readonly #rooms = new KeyedMutex<RoomId>();

  constructor(deps: BackfillDeps) {
    this.#deps = deps;
  }

  /** Fetches some of what came before the oldest events that are known; tells whether anything was new. */
  readonly fetchOlder = async (room: RoomIdentity, limit: number): Promise<boolean> => {
    const { db, hosts, serverName } = this.#deps;
    const query = { roomNid: room.roomNid, limit: MAX_EXTREMITIES };
    if ((await selectBackwardExtremities(db, query)).length === 0) return false;
    return await this.#rooms.run(room.roomId, async () => {
      const from = await selectBackwardExtremities(db, query);
      if (from.length === 0) return true;
      // The largest servers are the likeliest to have it all.
      const members = [...await hosts.inRoom(room.roomId)].filter(([server]) => server !== serverName);
      const servers = members.sort(([, a], [, b]) => b - a).slice(0, MAX_SERVERS).map(([server]) => server);
      const wanted = Math.min(MAX_EVENTS, Math.max(MIN_EVENTS, limit));
      for (const server of servers) {
        if (await this.#fetchFrom(server, { room, from, limit: wanted })) return true;
      }
      return false;
    });
  };

  async #fetchFrom(
    server: ServerName,
    { room, from, limit }: { room: RoomIdentity; from: readonly EventId[]; limit: number },
  ): Promise<boolean> {
    const { remote, checks, log } = this.#deps;
    try {
      const answer = await remote.backfill(server, { roomId: room.roomId, from, limit });
      const found = await checks.passing(answer.slice(0, MAX_EVENTS + from.length), room);
      let fresh = 0;
      for (const received of parentsFirst(found)) {
        if (await this.#take(server, { room, received })) fresh++;
      }
      return fresh > 0;
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      log.info("History could not be fetched", { server, roomId: room.roomId, reason: error.message });
      return false;
    }
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
