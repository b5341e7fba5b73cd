/**
 * Sends what is ours to other servers. Spec: server-server API, "Transactions".
 *
 * What is owed is in the database: events in the outbox, messages to devices, changes of device lists; each server has a
 * cursor that moves when a transaction was answered. So nothing is lost by a crash, and what is sent twice because of one
 * is known to the receiver by its ids. One loop for each server that is owed something sends one transaction at a time.
 * A transaction is tried again for some minutes; a server that still fails is left alone by the backoff, without a loop or
 * a timer of its own, until it is due or speaks to us;
 * then it gets the last event of each room and can ask for what lies between.
 */
import type { Backoff } from "../federation/backoff.ts";
import type { FederationClient } from "../federation/client.ts";
import { RemoteError } from "../federation/remote_error.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { randomString } from "../lib/random.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { parseServerName, type ServerName } from "../protocol/ids.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteOutbox,
  type FederationCursor,
  type OutboxEvent,
  selectFederationCursor,
  selectFederationEdus,
  selectLatestOutboxFor,
  selectOutboxFor,
  selectOwedDestinations,
  updateFederationCursor,
} from "../storage/federation_outbox.ts";
import { type Measure, unmeasured } from "../storage/work_meters.ts";
import type { Notifier } from "../streams/notifier.ts";
import { type EphemeralEdu, EphemeralQueue } from "./federation_ephemeral.ts";
import { FederationWakeups } from "./federation_wakeups.ts";

/** What the sender is built from. */
export interface FederationSenderDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly serverName: ServerName;
  readonly client: FederationClient;
  readonly backoff: Backoff;
  readonly events: EventStore;
  readonly isAllowed: (server: ServerName) => boolean;
  /** Returns changes of device lists for a server as EDUs, in the order of the stream. */
  readonly deviceLists: (
    server: ServerName,
    range: { after: number; upTo: number; limit: number },
  ) => Promise<{ edus: readonly string[]; upTo: number }>;
  /** How many servers a second are woken for what can wait. */
  readonly wakeupsPerSecond: number;
  readonly background?: Measure;
  /** Told of each transaction that a server took. */
  readonly onSent?: (sent: ExchangedTransaction) => void;
}

/** What a transaction held, and with which server it was exchanged. */
export interface ExchangedTransaction {
  readonly server: ServerName;
  readonly pdus: number;
  readonly edus: number;
  /** The types of the EDUs, where somebody wants to know. */
  readonly eduTypes?: () => readonly string[];
  /** `origin_server_ts` of the last event; null without one. */
  readonly lastTs: number | null;
}

/** One server's queue. */
interface Destination {
  readonly server: ServerName;
  /** Something may have come since the loop last looked. */
  isDue: boolean;
  isRunning: boolean;
  /** It was unreachable: it gets the last event of each room. */
  isBehind: boolean;
  /** Events that were written since it was last sent all that it is owed. */
  pendingPdus: number;
  readonly ephemeral: EphemeralQueue;
  /** What is being sent; never rejects. */
  work: Promise<void>;
}

interface IdleOptions {
  /** How long to wait at most, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

interface Transaction {
  readonly events: readonly OutboxEvent[];
  readonly pdus: readonly string[];
  readonly lastTs: number | null;
  readonly edus: readonly string[];
  readonly ephemeral: readonly EphemeralEdu[];
  readonly cursor: FederationCursor;
  readonly edusUpTo: number;
}

const MAX_PDUS = 50;
const MAX_EDUS = 100;
/** How many servers' queues are read at once. Requests are not bounded: a slow server must not hold up others. */
const MAX_PARALLEL = 100;
const RETRY_CHECK_MS = 10_000;
const MAX_WAITING = 20_000;
/** A server that is further behind gets the last event of each room only. */
const KEPT_POSITIONS = 10_000;
const PRUNE_AT_ONCE = 1_000;

/** Sends transactions. */
export class FederationSender implements AsyncDisposable {
  readonly #deps: FederationSenderDeps;
  readonly #destinations = new Map<ServerName, Destination>();
  /** Servers that are owed something and left alone, with the time when they are due. */
  readonly #waiting = new Map<ServerName, number>();
  readonly #slots = new Semaphore(MAX_PARALLEL);
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #wakeups: FederationWakeups;

  constructor(deps: FederationSenderDeps) {
    this.#deps = deps;
    this.#wakeups = new FederationWakeups({
      ...{ clock: deps.clock, perSecond: deps.wakeupsPerSecond, signal: this.#stopping.signal },
      wake: (server) => {
        const hasWork = (this.#destinations.get(server)?.ephemeral.size ?? 0) > 0;
        if (hasWork) this.wake([server]);
        return hasWork;
      },
    });
  }

  /** How many servers something is being sent to. */
  get activeServers(): number {
    return this.#destinations.size;
  }

  /** How many servers are owed something and left alone for now. */
  get waitingServers(): number {
    return this.#waiting.size;
  }

  /** Events that were written for servers that are being sent to, and have not been taken. */
  get pendingPdus(): number {
    let count = 0;
    for (const { pendingPdus } of this.#destinations.values()) count += pendingPdus;
    return count;
  }

  /** EDUs that may get lost and have not been sent. */
  get pendingEdus(): number {
    let count = 0;
    for (const { ephemeral } of this.#destinations.values()) count += ephemeral.size;
    return count;
  }

  /** Goes on with what was owed when the server stopped, and follows what comes. */
  async start(): Promise<void> {
    const { backoff, db } = this.#deps;
    backoff.onAlive((server) => {
      if (this.#waiting.delete(server)) this.wake([server], { isBehind: true });
    });
    this.wake(await selectOwedDestinations(db), { isBehind: true });
    this.#track(this.#retryLoop());
  }

  /** Looks at what these servers are owed. */
  wake(
    servers: Iterable<string>,
    { isBehind = false, pdus = 0 }: { isBehind?: boolean; pdus?: number } = {},
  ): void {
    if (this.#stopping.signal.aborted) return;
    for (const name of servers) {
      const server = parseServerName(name);
      if (server === null || !this.#maySendTo(server)) continue;
      const destination = this.#destinationOf(server);
      destination.isDue = true;
      destination.pendingPdus += pdus;
      destination.isBehind ||= isBehind;
      this.#run(destination);
    }
  }

  /**
   * Sends an EDU that may get lost; a later one with the same key takes the place of one that waits. What can wait goes
   * along with what is sent next, or when it is the server's turn.
   */
  sendEphemeral(servers: Iterable<string>, edu: EphemeralEdu, { canWait = false }: { canWait?: boolean } = {}): void {
    const wanted = [...servers].flatMap((name) => {
      const server = parseServerName(name);
      return server !== null && this.#maySendTo(server) ? [server] : [];
    });
    for (const server of wanted) this.#destinationOf(server).ephemeral.put(edu);
    if (!canWait) return this.wake(wanted);
    const work = this.#wakeups.add(wanted);
    if (work !== null) this.#track(work);
  }

  /** Resolves once nothing is being sent to these servers: they have all that they are owed, or fail, or time is up. */
  async whenIdle(servers: readonly ServerName[], { timeoutMs, signal }: IdleOptions): Promise<void> {
    const done = new AbortController();
    const over = AbortSignal.any([signal, this.#stopping.signal, done.signal]);
    const ended = this.#deps.clock.sleep(timeoutMs, over).then(() => "over" as const);
    try {
      while (!over.aborted) {
        const busy = servers.map((server) => this.#destinations.get(server)).filter((found) =>
          found?.isRunning === true
        );
        if (busy.length === 0) return;
        if (await Promise.race([Promise.all(busy.map((found) => found?.work)), ended]) === "over") return;
      }
    } finally {
      done.abort();
    }
  }

  /** Forgets what is long past, but for the last event of each room. */
  async prune(): Promise<void> {
    const { db, notifier } = this.#deps;
    const before = notifier.position("events") - KEPT_POSITIONS;
    while (!this.#stopping.signal.aborted) {
      if (await db.transaction((tx) => deleteOutbox(tx, { before, limit: PRUNE_AT_ONCE })) < PRUNE_AT_ONCE) return;
    }
  }

  /** Ends after the transactions under way, or without their answers. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running);
  }

  #maySendTo(server: ServerName): boolean {
    const { serverName, isAllowed } = this.#deps;
    return server !== serverName && isAllowed(server) && !this.#waiting.has(server);
  }

  #destinationOf(server: ServerName): Destination {
    let destination = this.#destinations.get(server);
    if (destination === undefined) {
      const state = { isDue: false, isRunning: false, isBehind: false, pendingPdus: 0, work: Promise.resolve() };
      destination = { server, ...state, ephemeral: new EphemeralQueue() };
      this.#destinations.set(server, destination);
    }
    return destination;
  }

  #run(destination: Destination): void {
    if (destination.isRunning) return;
    destination.isRunning = true;
    const { background = unmeasured } = this.#deps;
    destination.work = background("federation_transmission", () => this.#drain(destination));
    this.#track(destination.work);
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  /** Never rejects. */
  async #drain(destination: Destination): Promise<void> {
    const { server } = destination;
    const { log } = this.#deps;
    try {
      while (!this.#stopping.signal.aborted && destination.isDue) {
        destination.isDue = false;
        const hasMore = await this.#sendOne(destination);
        if (hasMore) destination.isDue = true;
      }
    } catch (error) {
      if (error instanceof RemoteError) await this.#leaveAlone(destination, error);
      else if (!this.#stopping.signal.aborted) {
        log.error("Sending failed and will be tried again", { server, error });
        this.#wait(server, this.#deps.clock.now() + RETRY_CHECK_MS);
      }
    } finally {
      destination.isRunning = false;
      // What can wait is left until it is the server's turn.
      if (!destination.isDue && destination.ephemeral.size === 0) this.#destinations.delete(server);
      else if (destination.isDue && !this.#stopping.signal.aborted) this.#run(destination);
    }
  }

  /** Sends one transaction, if anything is owed; tells whether there may be more. */
  async #sendOne(destination: Destination): Promise<boolean> {
    const transaction = await this.#slots.run(() => this.#gather(destination));
    if (transaction === null) {
      destination.isBehind = false;
      destination.pendingPdus = 0;
      return false;
    }
    const { pdus, edus, ephemeral, cursor, edusUpTo } = transaction;
    const all = [...edus, ...ephemeral.map(({ json }) => json)];
    if (pdus.length > 0 || all.length > 0) {
      try {
        await this.#send(destination.server, { pdus, edus: all });
        const { server } = destination;
        this.#deps.onSent?.({
          ...{ server, pdus: pdus.length, edus: all.length, lastTs: transaction.lastTs },
          eduTypes: () => all.map((json) => /"edu_type":"([^"\\]{1,64})"/.exec(json)?.[1] ?? "other"),
        });
      } catch (error) {
        destination.ephemeral.putBack(ephemeral);
        throw error;
      }
    }
    destination.pendingPdus = Math.max(0, destination.pendingPdus - pdus.length);
    const update = { destination: destination.server, cursor, edusUpTo };
    await this.#deps.db.transaction((tx) => updateFederationCursor(tx, update));
    return true;
  }

  async #gather({ server, isBehind, ephemeral }: Destination): Promise<Transaction | null> {
    const { db, notifier } = this.#deps;
    const listsUpTo = notifier.position("device_lists");
    const known = await selectFederationCursor(db, server);
    const cursor = known ?? { events: Number.MAX_SAFE_INTEGER, deviceLists: listsUpTo };
    const query = { destination: server, after: cursor.events, limit: MAX_PDUS };
    const events = isBehind ? await selectLatestOutboxFor(db, query) : await selectOutboxFor(db, query);
    const queued = await selectFederationEdus(db, { destination: server, limit: MAX_EDUS });
    const room = MAX_EDUS - queued.length;
    const range = { after: cursor.deviceLists, upTo: listsUpTo, limit: room };
    const lists = room > 0 && listsUpTo > cursor.deviceLists
      ? await this.#deps.deviceLists(server, range)
      : { edus: [], upTo: cursor.deviceLists };
    const passing = ephemeral.take(room - lists.edus.length);
    const isNothing = events.length + queued.length + lists.edus.length + passing.length === 0 &&
      lists.upTo === cursor.deviceLists;
    if (isNothing) return null;
    const found = await this.#deps.events.byNid(events.map(({ eventNid }) => eventNid));
    const stored = events.flatMap(({ eventNid }) => found.get(eventNid) ?? []);
    return {
      events,
      pdus: stored.map(({ json }) => json),
      lastTs: stored.at(-1)?.event.originServerTs ?? null,
      edus: [...queued.map(({ json }) => json), ...lists.edus],
      ephemeral: passing,
      cursor: { events: events.at(-1)?.position ?? cursor.events, deviceLists: lists.upTo },
      edusUpTo: queued.at(-1)?.position ?? 0,
    };
  }

  async #send(
    server: ServerName,
    { pdus, edus }: { pdus: readonly string[]; edus: readonly string[] },
  ): Promise<void> {
    const { client, clock, serverName } = this.#deps;
    const bodyText = `{"edus":[${edus.join(",")}],"origin":${JSON.stringify(serverName)},` +
      `"origin_server_ts":${clock.now()},"pdus":[${pdus.join(",")}]}`;
    const path = `/_matrix/federation/v1/send/${clock.now()}${randomString(8)}`;
    await client.request({ server, method: "PUT", path, bodyText, retries: "long", signal: this.#stopping.signal });
  }

  async #leaveAlone({ server }: Destination, error: RemoteError): Promise<void> {
    const { backoff, clock, log } = this.#deps;
    log.info("A server does not take what is sent to it", { server, reason: error.message });
    const waitMs = Math.max(
      await backoff.waitMs(server),
      error.retryAfterMs ?? 0,
      error.reachable ? RETRY_CHECK_MS : 0,
    );
    this.#wait(server, clock.now() + Math.max(waitMs, 1));
  }

  #wait(server: ServerName, dueAt: number): void {
    const destination = this.#destinations.get(server);
    if (destination !== undefined) {
      destination.isDue = false;
      destination.ephemeral.clear();
    }
    if (this.#waiting.size < MAX_WAITING) this.#waiting.set(server, dueAt);
  }

  async #retryLoop(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.sleep(RETRY_CHECK_MS, signal);
      const now = clock.now();
      for (const [server, dueAt] of this.#waiting) {
        if (dueAt > now || signal.aborted) continue;
        this.#waiting.delete(server);
        this.wake([server], { isBehind: true });
      }
    }
  }
}
