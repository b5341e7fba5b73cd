/**
 * Brings application services what concerns them, in order.
 *
 * A transaction is written down with the positions it reaches before it is sent, and removed once it is acknowledged, so
 * that a service gets the same body under the same id until then, across restarts too. While a service does not answer,
 * nothing more is made for it: what it missed is found by the positions afterwards.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { Tally } from "../lib/tally.ts";
import type { AppserviceClient } from "../services/appservice_client.ts";
import type { Appservice } from "../services/appservices.ts";
import {
  type AppserviceTransaction,
  deleteTransaction,
  insertTransaction,
  selectAppserviceState,
  selectOldestTransaction,
  upsertAppserviceState,
} from "../storage/appservices.ts";
import type { Database, Tx } from "../storage/database.ts";
import { deleteToDeviceMessages } from "../storage/to_device.ts";
import type { Notifier } from "../streams/notifier.ts";
import type { AppserviceBatches, AppservicePositions } from "./appservice_batches.ts";

/** What the worker is built from. */
export interface AppserviceSenderDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly services: readonly Appservice[];
  readonly client: AppserviceClient;
  readonly batches: AppserviceBatches;
  /** Whether somebody wants to know how much services took. */
  readonly isCounted: boolean;
}

/** Counts by service. */
export interface AppserviceCounts {
  readonly transactions: Tally<"service">;
  readonly failures: Tally<"service">;
  readonly events: Tally<"service">;
  readonly ephemeral: Tally<"service">;
  readonly toDevice: Tally<"service">;
}

const GATHER_MS = 20;
const SEND_TIMEOUT_MS = 60_000;
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 512_000;
const ERROR_DELAY_MS = 10_000;
/** What holds nothing for a service is noted now and then only: a restart looks at it again. */
const MAX_UNNOTED = 10_000;
/** What an old service answers to the path it does not know. */
const NOT_KNOWN: ReadonlySet<number> = new Set([404, 405, 501]);

/** Sends to all services, each at its own pace. */
export class AppserviceSender implements AsyncDisposable {
  readonly #deps: AppserviceSenderDeps;
  #lines: readonly Line[];
  #removeListener: (() => void) | null = null;
  /** What services took, and what they did not. */
  readonly counts: AppserviceCounts = {
    transactions: new Tally("service"),
    failures: new Tally("service"),
    events: new Tally("service"),
    ephemeral: new Tally("service"),
    toDevice: new Tally("service"),
  };

  constructor(deps: AppserviceSenderDeps) {
    this.#deps = deps;
    this.#lines = this.#linesOf(deps.services);
  }

  /** Goes on where a former run of the server stopped, and then follows what is written. */
  async start(): Promise<void> {
    await this.#begin(this.#lines);
  }

  /** Serves these services in place of the present ones; each goes on where it stands. */
  async replace(services: readonly Appservice[]): Promise<void> {
    const former = this.#lines;
    this.#lines = [];
    this.#removeListener?.();
    this.#removeListener = null;
    await Promise.all(former.map((line) => line.stop()));
    await this.#begin(this.#linesOf(services));
  }

  async #begin(lines: readonly Line[]): Promise<void> {
    for (const line of lines) await line.load();
    this.#lines = lines;
    if (lines.length === 0) return;
    this.#removeListener = this.#deps.notifier.onPublish(() => {
      for (const line of lines) line.wake();
    });
    for (const line of lines) line.wake();
  }

  #linesOf(services: readonly Appservice[]): readonly Line[] {
    const deps = { ...this.#deps, counts: this.counts };
    return services.filter(({ url }) => url !== null).map((service) => new Line(deps, service));
  }

  /** Tries again at once, as when a service has shown that it is there. */
  retryNow(serviceId: string): void {
    this.#lines.find((line) => line.serviceId === serviceId)?.retryNow();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#removeListener?.();
    await Promise.all(this.#lines.map((line) => line.stop()));
  }
}

/** What goes to one service. */
class Line {
  readonly #deps: AppserviceSenderDeps & { readonly counts: AppserviceCounts };
  readonly #service: Appservice;
  readonly #stopping = new AbortController();
  #hurry = new AbortController();
  #running: Promise<void> | null = null;
  #again = false;
  #hasMore = false;
  #positions: AppservicePositions;
  /** The events position that the database has. */
  #notedEvents = 0;
  #lastTxnId = 0;
  #failures = 0;
  #retryTs: number | null = null;
  #pending: AppserviceTransaction | null = null;

  constructor(deps: AppserviceSenderDeps & { readonly counts: AppserviceCounts }, service: Appservice) {
    this.#deps = deps;
    this.#service = service;
    this.#positions = this.#current();
  }

  get serviceId(): string {
    return this.#service.id;
  }

  /** Reads how far the service was told; one that is new begins with what happens from now on. */
  async load(): Promise<void> {
    const { db } = this.#deps;
    const state = await selectAppserviceState(db, this.serviceId);
    if (state === null) {
      await this.#note(null);
      return;
    }
    const stored: Partial<Record<string, number>> = JSON.parse(state.positions);
    const { events, receipts, toDevice, deviceLists } = stored;
    this.#positions = {
      ...this.#positions,
      ...(events === undefined ? {} : { events }),
      ...(receipts === undefined ? {} : { receipts }),
      ...(toDevice === undefined ? {} : { toDevice }),
      ...(deviceLists === undefined ? {} : { deviceLists }),
    };
    this.#notedEvents = this.#positions.events;
    this.#lastTxnId = state.lastTxnId;
    this.#failures = state.failures;
    this.#retryTs = state.retryTs;
    this.#pending = await selectOldestTransaction(db, this.serviceId);
  }

  wake(): void {
    this.#again = true;
    if (this.#running !== null || this.#stopping.signal.aborted) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#again) this.wake();
    });
  }

  retryNow(): void {
    this.#retryTs = null;
    this.#hurry.abort();
    this.wake();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#hurry.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        if (this.#pending !== null) {
          await this.#deliver(this.#pending);
          continue;
        }
        // What comes in quick succession goes together.
        if (!this.#hasMore) await clock.sleep(GATHER_MS, signal);
        if (signal.aborted || !await this.#prepare()) return;
      } catch (error) {
        if (signal.aborted) return;
        log.error("What an application service is told could not be made", { appservice: this.serviceId, error });
        await clock.sleep(ERROR_DELAY_MS, signal);
      }
    }
  }

  /** Makes the next transaction; returns whether there is one, or may be one. */
  async #prepare(): Promise<boolean> {
    const upTo = this.#current();
    this.#again = false;
    const { body, positions, messages } = await this.#deps.batches.next(this.#service, {
      after: this.#positions,
      upTo,
    });
    this.#hasMore = (Object.keys(upTo) as (keyof AppservicePositions)[]).some((key) => positions[key] < upTo[key]);
    if (body === null) {
      this.#positions = positions;
      if (positions.events - this.#notedEvents > MAX_UNNOTED) await this.#note(null);
      return this.#hasMore;
    }
    const transaction = { txnId: this.#lastTxnId + 1, body };
    const write = async (tx: Tx) => {
      await insertTransaction(tx, { ...transaction, serviceId: this.serviceId });
      for (const { userId, deviceId, position } of messages) {
        await deleteToDeviceMessages(tx, { userId, deviceId, upTo: position });
      }
    };
    await this.#note(write, { positions, lastTxnId: transaction.txnId });
    this.#positions = positions;
    this.#lastTxnId = transaction.txnId;
    this.#pending = transaction;
    return true;
  }

  async #deliver(transaction: AppserviceTransaction): Promise<void> {
    const { clock, log } = this.#deps;
    await this.#waitForRetry();
    if (this.#stopping.signal.aborted) return;
    const failure = await this.#send(transaction);
    if (this.#stopping.signal.aborted && failure !== null) return;
    if (failure === null) {
      if (this.#deps.isCounted) this.#countSent(transaction);
      this.#failures = 0;
      this.#retryTs = null;
      await this.#note((tx) => deleteTransaction(tx, { serviceId: this.serviceId, txnId: transaction.txnId }));
      this.#pending = null;
      return;
    }
    this.#retryTs = clock.now() + Math.min(FIRST_DELAY_MS * 2 ** Math.min(this.#failures, 30), MAX_DELAY_MS);
    this.#failures++;
    this.#deps.counts.failures.add([this.serviceId]);
    log.warn("An application service did not take a transaction", {
      appservice: this.serviceId,
      transaction: transaction.txnId,
      error: failure,
    });
    await this.#note(null);
  }

  #countSent({ body }: AppserviceTransaction): void {
    const { counts } = this.#deps;
    const lists: Readonly<Record<string, unknown>> = JSON.parse(body);
    const sizeOf = (name: string) => {
      const list = lists[name];
      return Array.isArray(list) ? list.length : 0;
    };
    counts.transactions.add([this.serviceId]);
    counts.events.add([this.serviceId], sizeOf("events"));
    counts.ephemeral.add([this.serviceId], sizeOf("ephemeral"));
    counts.toDevice.add([this.serviceId], sizeOf("to_device"));
  }

  /** Returns why the service did not take it, or null. */
  async #send({ txnId, body }: AppserviceTransaction): Promise<string | null> {
    const { client } = this.#deps;
    const request = { method: "PUT", body, timeoutMs: SEND_TIMEOUT_MS, signal: this.#stopping.signal } as const;
    try {
      let { status } = await client.request(this.#service, {
        ...request,
        path: `/_matrix/app/v1/transactions/${txnId}`,
      });
      if (NOT_KNOWN.has(status)) {
        ({ status } = await client.request(this.#service, { ...request, path: `/transactions/${txnId}` }));
      }
      return status >= 200 && status < 300 ? null : `Status ${status}`;
    } catch (error) {
      return String(error);
    }
  }

  async #waitForRetry(): Promise<void> {
    const wait = (this.#retryTs ?? 0) - this.#deps.clock.now();
    if (wait <= 0) return;
    this.#hurry = new AbortController();
    await this.#deps.clock.sleep(wait, AbortSignal.any([this.#hurry.signal, this.#stopping.signal]));
  }

  async #note(
    work: ((tx: Tx) => Promise<void>) | null,
    { positions = this.#positions, lastTxnId = this.#lastTxnId }: {
      positions?: AppservicePositions;
      lastTxnId?: number;
    } = {},
  ): Promise<void> {
    const { typing: _, presence: __, ...durable } = positions;
    const state = { failures: this.#failures, retryTs: this.#retryTs, lastTxnId, positions: JSON.stringify(durable) };
    await this.#deps.db.transaction(async (tx) => {
      await work?.(tx);
      await upsertAppserviceState(tx, { ...state, serviceId: this.serviceId });
    });
    this.#notedEvents = durable.events;
  }

  #current(): AppservicePositions {
    const { events, receipts, to_device: toDevice, device_lists: deviceLists, typing, presence } = this.#deps.notifier
      .currentPositions();
    return { events, receipts, toDevice, deviceLists, typing, presence };
  }
}
