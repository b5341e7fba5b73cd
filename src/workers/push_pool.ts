/**
 * Runs all pushers: follows the events and receipts streams, finds out whose pushers have something to do, and lets
 * `push_delivery.ts` do it, many pushers at a time and each one in order. Nothing of it is in the way of who sends.
 *
 * How far everything is done is noted now and then: pushers whose gateway answers are done up to there, the others have
 * their own cursors. A pusher that waits for its gateway is left alone until its next attempt is due.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { Semaphore } from "../lib/semaphore.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Badges } from "../services/badges.ts";
import { selectCursor, upsertCursor } from "../storage/consumers.ts";
import type { Database } from "../storage/database.ts";
import { selectNotifiedUsers, selectNotifyingRooms } from "../storage/notifications.ts";
import { selectAllPushers, selectPushers } from "../storage/pushers.ts";
import { selectReceiptsBetween } from "../storage/receipts.ts";
import type { Notifier } from "../streams/notifier.ts";
import type { MailDelivery } from "./mail_delivery.ts";
import type { PushDelivery, PusherState } from "./push_delivery.ts";

/** What the pool is built from. */
export interface PushPoolDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly badges: Pick<Badges, "noteRead">;
  readonly delivery: Pick<PushDelivery, "run">;
  /** For pushers of kind `email`, which wait on purpose and so have cursors of their own. */
  readonly mail: Pick<MailDelivery, "run">;
  /** Closed with the pool, once requests under way have had their time. */
  readonly gateways: AsyncDisposable;
  /** Returns the local members of a room. */
  localJoined(roomNid: number): Promise<ReadonlySet<UserId>>;
}

const CONSUMER = "pushers";
const MAIL = "email";
/** Positions looked at in one go. */
const STEP = 1_000;
/** Requests to gateways under way at once. */
const AT_ONCE = 100;
const NOTE_EVERY_MS = 10_000;
const RETRY_DELAY_MS = 10_000;
/** The clock may have been set back since the attempt was put off. */
const MAX_WAIT_MS = 2 * 3_600_000;
const STOP_GRACE_MS = 3_000;
const MAX_RECEIPTS = 1_000;

/** Runs the pushers. */
export class PushPool implements AsyncDisposable {
  readonly #deps: PushPoolDeps;
  readonly #stopping = new AbortController();
  readonly #users = new Map<UserId, Map<string, PusherState>>();
  readonly #running = new Set<Promise<void>>();
  readonly #slots = new Semaphore(AT_ONCE);
  /** Events and receipts up to here were looked at. */
  #events = 0;
  #receipts = 0;
  /** The position in the database. */
  #noted = 0;
  readonly #reloads = new KeyedMutex<UserId>();
  #scanning: Promise<void> | null = null;
  #removeListener: (() => void) | null = null;

  constructor(deps: PushPoolDeps) {
    this.#deps = deps;
  }

  /** Goes on where a former run of the server stopped. */
  async start(): Promise<void> {
    const { db, notifier } = this.#deps;
    this.#receipts = notifier.position("receipts");
    this.#events = await selectCursor(db, CONSUMER) ?? notifier.position("events");
    this.#noted = this.#events;
    await this.#loadAll();
    this.#removeListener = notifier.onPublish((stream) => {
      if (stream === "events" || stream === "receipts") this.#scan();
    });
    for (const states of this.#users.values()) {
      for (const state of states.values()) if (hasOwnCursor(state)) this.#resume(state);
    }
    this.#scan();
    this.#own(this.#noteFromTimeToTime());
  }

  /** Takes over how a user's pushers are in the database. Call it after they changed. */
  reload(userId: UserId): void {
    // One after another: an older answer of the database must not undo what a newer one told.
    this.#own(this.#reloads.run(userId, () =>
      this.#retrying(async () => {
        const enabled = (await selectPushers(this.#deps.db, userId)).filter(({ isEnabled }) => isEnabled);
        const rows = new Map(enabled.map((row) => [keyOf(row), row]));
        const states = this.#users.get(userId) ?? new Map<string, PusherState>();
        for (const [key, state] of states) if (!rows.has(key)) this.#drop(state);
        for (const [key, row] of rows) {
          const known = states.get(key);
          const state = known ?? stateOf(row, null);
          if (known !== undefined) renew(known, row);
          states.set(key, state);
          this.#users.set(userId, states);
          this.#resume(state);
        }
      })));
  }

  /** Events up to here were looked at. */
  get position(): number {
    return this.#events;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#removeListener?.();
    await this.#scanning;
    // Of a request cut short nobody knows whether it was heard, and it would be made again.
    const grace = new AbortController();
    await Promise.race([Promise.all(this.#running), this.#deps.clock.sleep(STOP_GRACE_MS, grace.signal)]);
    grace.abort();
    await this.#deps.gateways[Symbol.asyncDispose]();
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#note();
  }

  async #loadAll(): Promise<void> {
    let after: Parameters<typeof selectAllPushers>[1] = null;
    while (true) {
      const rows = await selectAllPushers(this.#deps.db, after);
      for (const row of rows) {
        if (!row.isEnabled) continue;
        const states = this.#users.get(row.userId) ?? new Map<string, PusherState>();
        this.#users.set(row.userId, states);
        const isBehind = row.failingSince !== null || row.kind === MAIL;
        const cursor = isBehind ? row.cursor : Math.max(row.cursor, this.#events);
        states.set(keyOf(row), stateOf({ ...row, cursor }, isBehind ? null : new Set()));
      }
      const last = rows.at(-1);
      if (last === undefined) return;
      after = last;
    }
  }

  #scan(): void {
    if (this.#scanning !== null || this.#stopping.signal.aborted || !this.#hasNews()) return;
    this.#scanning = this.#retrying(async () => {
      while (this.#hasNews() && !this.#stopping.signal.aborted) {
        await this.#scanEvents();
        await this.#scanReceipts();
      }
    }).finally(() => {
      this.#scanning = null;
      this.#scan();
    });
  }

  #hasNews(): boolean {
    const { notifier } = this.#deps;
    return this.#events < notifier.position("events") || this.#receipts < notifier.position("receipts");
  }

  async #scanEvents(): Promise<void> {
    const { db, notifier } = this.#deps;
    const current = notifier.position("events");
    if (current <= this.#events) return;
    if (this.#users.size === 0) {
      this.#events = current;
      return;
    }
    const range = { after: this.#events, upTo: Math.min(current, this.#events + STEP) };
    const rooms: { roomNid: number; onlySender: UserId | null; joined: ReadonlySet<UserId> }[] = [];
    for (const room of await selectNotifyingRooms(db, range)) {
      rooms.push({ ...room, joined: await this.#deps.localJoined(room.roomNid) });
    }
    const notified = await selectNotifiedUsers(db, range);
    // From here on at once: a delivery that began in between would take the rooms, but not look as far as the news.
    const due = new Set<PusherState>();
    const mark = (userId: UserId, roomNid: number) => {
      for (const state of this.#users.get(userId)?.values() ?? []) {
        state.rooms?.add(roomNid);
        due.add(state);
      }
    };
    for (const { roomNid, onlySender, joined } of rooms) {
      for (const userId of this.#usersAmong(joined)) if (userId !== onlySender) mark(userId, roomNid);
    }
    for (const { roomNid, userId } of notified) mark(userId, roomNid);
    this.#events = range.upTo;
    for (const state of due) this.#run(state);
  }

  #usersAmong(joined: ReadonlySet<UserId>): UserId[] {
    const [fewer, more] = joined.size < this.#users.size ? [joined, this.#users] : [this.#users, joined];
    return [...fewer.keys()].filter((userId) => more.has(userId));
  }

  /** A receipt changes the number on the app's icon. */
  async #scanReceipts(): Promise<void> {
    const { db, notifier, badges } = this.#deps;
    const upTo = notifier.position("receipts");
    if (upTo <= this.#receipts) return;
    if (this.#users.size === 0) {
      this.#receipts = upTo;
      return;
    }
    const rows = await selectReceiptsBetween(db, { after: this.#receipts, upTo, limit: MAX_RECEIPTS });
    for (const { userId, roomNid } of rows) {
      badges.noteRead(userId, roomNid);
      for (const state of this.#users.get(userId)?.values() ?? []) {
        state.badgeDue = true;
        this.#run(state);
      }
    }
    // Receipts have a position each.
    this.#receipts = rows.length < MAX_RECEIPTS ? upTo : this.#receipts + rows.length;
  }

  #run(state: PusherState): void {
    if (state.isRunning || state.isGone || this.#stopping.signal.aborted || state.progress.retryTs !== null) return;
    state.isRunning = true;
    this.#own(
      this.#slots.run(() => this.#retrying(() => this.#deliver(state))).finally(() => {
        state.isRunning = false;
        if (state.isGone) this.#drop(state);
        else if (state.progress.retryTs !== null) this.#resume(state);
        else if (state.badgeDue || state.rooms === null || state.rooms.size > 0) this.#run(state);
      }),
    );
  }

  async #deliver(state: PusherState): Promise<void> {
    // Rooms with news up to here are among the state's.
    const upTo = this.#events;
    const delivery = state.pusher.kind === MAIL ? this.#deps.mail : this.#deps.delivery;
    await delivery.run(state, { upTo, signal: this.#stopping.signal });
  }

  /** Tries again when it is due. */
  #resume(state: PusherState): void {
    const { clock } = this.#deps;
    const { retryTs } = state.progress;
    if (retryTs === null) return this.#run(state);
    this.#own(
      clock.sleep(Math.min(Math.max(retryTs - clock.now(), 0), MAX_WAIT_MS), this.#stopping.signal).then(() => {
        if (state.progress.retryTs !== retryTs) return;
        state.progress = { ...state.progress, retryTs: null };
        this.#run(state);
      }),
    );
  }

  #drop(state: PusherState): void {
    state.isGone = true;
    const states = this.#users.get(state.pusher.userId);
    const key = keyOf(state.pusher);
    if (states?.get(key) === state) states.delete(key);
    if (states?.size === 0) this.#users.delete(state.pusher.userId);
  }

  async #noteFromTimeToTime(): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      await clock.sleep(NOTE_EVERY_MS, this.#stopping.signal);
      if (!this.#stopping.signal.aborted) await this.#retrying(() => this.#note());
    }
  }

  /** Notes up to where the pushers are done whose gateways answer. */
  async #note(): Promise<void> {
    let position = this.#events;
    for (const states of this.#users.values()) {
      for (const state of states.values()) {
        const { progress, rooms, isRunning } = state;
        const isBusy = isRunning || rooms === null || rooms.size > 0;
        if (isBusy && !hasOwnCursor(state)) position = Math.min(position, progress.cursor);
      }
    }
    if (position <= this.#noted) return;
    await this.#deps.db.transaction((tx) => upsertCursor(tx, { consumer: CONSUMER, position }));
    this.#noted = position;
  }

  async #retrying(work: () => Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        return await work();
      } catch (error) {
        this.#deps.log.error("Pushing failed and will be tried again", { error });
        await this.#deps.clock.sleep(RETRY_DELAY_MS, this.#stopping.signal);
      }
    }
  }

  #own(work: Promise<void>): void {
    const owned = work.finally(() => this.#running.delete(owned));
    this.#running.add(owned);
  }
}

/** Tells whether how far a pusher came is in its own row, not in the position noted for all. */
function hasOwnCursor({ pusher, progress }: PusherState): boolean {
  return progress.failingSince !== null || pusher.kind === MAIL;
}

function keyOf({ appId, pushkey }: { appId: string; pushkey: string }): string {
  return JSON.stringify([appId, pushkey]);
}

/** Takes over what the user set anew; what is under way goes on from where it is. */
function renew(state: PusherState, row: PusherRow): void {
  const fresh = stateOf(row, null);
  state.pusher = fresh.pusher;
  const cursor = Math.max(state.progress.cursor, fresh.progress.cursor);
  state.progress = { ...fresh.progress, cursor };
  state.badge = null;
}

function stateOf(row: PusherRow, rooms: Set<number> | null): PusherState {
  const { cursor, failingSince, failures, retryTs, ...pusher } = row;
  const progress = { cursor, failingSince, failures, retryTs };
  return { pusher, progress, badge: null, rooms, badgeDue: false, isRunning: false, isGone: false };
}

type PusherRow = Awaited<ReturnType<typeof selectPushers>>[number];
