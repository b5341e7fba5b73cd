/**
 * Rooms that were joined without their members (faster joins, MSC3706 and MSC3902): fetches the rest of their state in
 * the background, from one server of the room after another, and lets those wait who need all of it.
 *
 * What is to be done is in the database, so a restart goes on with it. With several processes each tries; the first to
 * commit has done it.
 */
import { RemoteError } from "../federation/remote_error.ts";
import type { Clock } from "../lib/clock.ts";
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { type PartialRoom, selectPartialRoom, selectPartialRoomIds } from "../storage/partial_rooms.ts";
import type { Notifier } from "../streams/notifier.ts";
import { completePartial, type ReplacedHandler } from "./complete_partial.ts";
import type { EngineDeps } from "./engine_deps.ts";
import type { RoomIdentity } from "./event_store.ts";
import type { Inbound } from "./inbound.ts";

/** What partial rooms are completed with. */
export interface PartialRoomsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly engine: EngineDeps;
  readonly inbound: Inbound;
  readonly onReplaced: ReplacedHandler;
}

const FIRST_RETRY_MS = 2_000;
const MAX_RETRY_MS = 10 * 60_000;
/** Events that come meanwhile may have parents of which nothing is known yet. */
const MAX_ROUNDS = 20;

/** Completes the state of rooms. */
export class PartialRooms implements AsyncDisposable {
  readonly #deps: PartialRoomsDeps;
  readonly #stopping = new AbortController();
  readonly #running = new Map<RoomId, Promise<void>>();
  /** Rooms that were entered anew while work for them was under way, which may have been about to end. */
  readonly #again = new Set<RoomId>();

  constructor(deps: PartialRoomsDeps) {
    this.#deps = deps;
  }

  /** Goes on with what a former run of the server has begun. */
  async resume(): Promise<void> {
    for (const roomId of await selectPartialRoomIds(this.#deps.db)) this.start(roomId);
  }

  /** Starts to fetch the rest of a room's state, unless that is under way. */
  start(roomId: RoomId): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#running.has(roomId)) return void this.#again.add(roomId);
    const work = this.#run(roomId).catch((error) => {
      this.#deps.log.error("The rest of a room's state could not be taken in", { roomId, error });
    }).finally(() => {
      this.#running.delete(roomId);
      if (this.#again.delete(roomId)) this.start(roomId);
    });
    this.#running.set(roomId, work);
  }

  /** Tells whether a room's state lacks members. */
  async isPartial(roomNid: number): Promise<boolean> {
    return await selectPartialRoom(this.#deps.db, roomNid) !== null;
  }

  /**
   * Resolves once a room's state is whole, or when that will not come because all our users have left; throws when the
   * server stops or `signal` aborts before.
   */
  async whenWhole(roomNid: number, signal?: AbortSignal): Promise<void> {
    const { notifier } = this.#deps;
    const ends = AbortSignal.any([this.#stopping.signal, ...(signal === undefined ? [] : [signal])]);
    while (true) {
      const news = Promise.withResolvers<void>();
      const remove = notifier.onPublish((stream) => {
        if (stream === "events") news.resolve();
      });
      const wake = () => news.resolve();
      ends.addEventListener("abort", wake);
      try {
        if (!await this.isPartial(roomNid) || !await this.#isWanted(roomNid)) return;
        if (ends.aborted) throw new MatrixError(503, "M_UNKNOWN", "The room's state is not complete yet");
        await news.promise;
      } finally {
        remove();
        // With a listener, the signal would live for as long as the one of stopping.
        ends.removeEventListener("abort", wake);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#running.values());
  }

  async #run(roomId: RoomId): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stopping;
    let pause = FIRST_RETRY_MS;
    while (!signal.aborted) {
      if (await this.#tryServers(roomId)) return;
      await clock.sleep(pause, signal);
      pause = Math.min(pause * 2, MAX_RETRY_MS);
    }
  }

  /** Returns whether there is nothing more to do. */
  async #tryServers(roomId: RoomId): Promise<boolean> {
    const { db, engine, log } = this.#deps;
    const copy = await engine.heads.load(roomId);
    const partial = copy === null ? null : await selectPartialRoom(db, copy.identity.roomNid);
    if (copy === null || partial === null) return true;
    for (const server of partial.servers) {
      if (this.#stopping.signal.aborted) return false;
      // Whoever comes back enters the room anew.
      if (!await this.#isWanted(copy.identity.roomNid)) return true;
      try {
        if (await this.#complete(server, { room: copy.identity, partial })) return true;
      } catch (error) {
        if (this.#stopping.signal.aborted) return false;
        const reason = error instanceof RemoteError ? error.message : describeError(error);
        log.info("A server did not give the rest of a room's state", { roomId, server, reason });
      }
    }
    return false;
  }

  /** Tells whether any of our users is in a room. */
  async #isWanted(roomNid: number): Promise<boolean> {
    const { events, heads } = this.#deps.engine;
    const room = await events.room(roomNid);
    const copy = room === null ? null : await heads.load(room.roomId);
    return copy !== null && copy.localJoined.size > 0;
  }

  async #complete(
    server: ServerName,
    { room, partial }: { room: RoomIdentity; partial: PartialRoom },
  ): Promise<boolean> {
    const { engine, inbound, onReplaced, log } = this.#deps;
    const { roomId } = room;
    const parentStates = new Map<EventId, readonly EventId[]>();
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const wanted = await completePartial(engine, { roomId, partial, parentStates, onReplaced });
      if (wanted.length === 0) {
        log.info("The state of a room is whole", { roomId });
        return true;
      }
      for (const eventId of wanted) parentStates.set(eventId, await inbound.stateAfter(server, { room, eventId }));
    }
    return false;
  }
}
