/**
 * Says what is new, and to whom.
 *
 * Every stream has a position: the highest below which everything is committed. Writers call `publish` after their
 * commit; the long-polls of the users it concerns wake up. A long-poll subscribes BEFORE it reads, so nothing that is
 * published while it reads is missed. Positions of streams that live in memory (typing, presence) start at the clock's
 * milliseconds, so they never go back across a restart.
 *
 * Where thousands wait for the same message they are let go a few at a time, each few with their answers out before the
 * next begin. All at once, what they read would outlive the young generation of the heap and cost more than the reading.
 */
import { setImmediate } from "node:timers";
import { Tally } from "../lib/tally.ts";
import type { UserId } from "../protocol/ids.ts";

/** The streams that sync reads, in the order in which a transaction that writes several takes their positions. */
export const STREAMS = [
  "events",
  "receipts",
  "account_data",
  "to_device",
  "device_lists",
  "push_rules",
  "presence",
  "typing",
] as const;

/** The name of a stream. */
export type StreamName = typeof STREAMS[number];

/** A position in every stream: all that a reader may see at one moment. */
export type StreamPositions = Readonly<Record<StreamName, number>>;

/** Called after every publication, with the stream's new position. */
export type PublishListener = (stream: StreamName, position: number) => void;

/** How many readers are let go at once. */
const RELEASED_AT_ONCE = 50;

/** Wakes long-polls and consumers. */
export class Notifier {
  /** Notified while they waited, for later turns of the event loop. */
  readonly #due: Subscription[] = [];
  /** How many this turn let go; null where none was yet. */
  #released: number | null = null;
  readonly #positions: Record<StreamName, number>;
  /** What was given out since a position last changed. */
  #snapshot: StreamPositions | null = null;
  readonly #subscriptions = new Map<UserId, Set<Subscription>>();
  readonly #listeners = new Set<PublishListener>();
  /** How many waiting users were woken by each stream. */
  readonly woken = new Tally("stream");

  /** Takes the positions that the database holds at start; see the file comment for those in memory. */
  constructor(positions: StreamPositions) {
    this.#positions = { ...positions };
  }

  /** Returns the current position of one stream. */
  position(stream: StreamName): number {
    return this.#positions[stream];
  }

  /** Returns a snapshot of all positions, the same one until one of them changes. Take it before reading. */
  currentPositions(): StreamPositions {
    return this.#snapshot ??= { ...this.#positions };
  }

  /** Raises a stream's position and wakes the users whom it concerns. A lower position is ignored, the wake-up is not. */
  publish(stream: StreamName, position: number, users: Iterable<UserId>): void {
    if (position > this.#positions[stream]) {
      this.#positions[stream] = position;
      this.#snapshot = null;
    }
    if (this.#subscriptions.size > 0) this.#wakeAll(stream, users);
    for (const listener of this.#listeners) listener(stream, position);
  }

  /** Raises a stream in memory by one and wakes the users; returns the new position. */
  advance(stream: StreamName, users: Iterable<UserId>): number {
    const position = this.#positions[stream] + 1;
    this.publish(stream, position, users);
    return position;
  }

  /** Adds a listener to all publications; returns the function that removes it. */
  onPublish(listener: PublishListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Starts listening for what concerns a user. Dispose of the subscription when done. */
  subscribe(userId: UserId): Subscription {
    const subscription = new Subscription((self) => {
      const set = this.#subscriptions.get(userId);
      set?.delete(self);
      if (set?.size === 0) this.#subscriptions.delete(userId);
    });
    const set = this.#subscriptions.get(userId);
    if (set) set.add(subscription);
    else this.#subscriptions.set(userId, new Set([subscription]));
    return subscription;
  }

  /** How many users listen. */
  get users(): number {
    return this.#subscriptions.size;
  }

  /** How many readers listen. */
  get waiting(): number {
    let count = 0;
    for (const set of this.#subscriptions.values()) count += set.size;
    return count;
  }

  /** Ends every wait, as when the server stops. */
  wakeAll(): void {
    for (const user of [...this.#subscriptions.keys()]) this.#wake(user);
  }

  #wakeAll(stream: StreamName, users: Iterable<UserId>): void {
    let count = 0;
    for (const user of users) if (this.#wake(user)) count++;
    if (count > 0) this.woken.add([stream], count);
  }

  /** Tells whether somebody listens for the user. */
  #wake(user: UserId): boolean {
    const set = this.#subscriptions.get(user);
    if (set === undefined) return false;
    for (const subscription of set) if (subscription.notify()) this.#release(subscription);
    return true;
  }

  #release(subscription: Subscription): void {
    if (this.#released === null) {
      this.#released = 0;
      setImmediate(() => this.#beginTurn());
    }
    if (this.#released < RELEASED_AT_ONCE) {
      this.#released++;
      subscription.release();
    } else this.#due.push(subscription);
  }

  #beginTurn(): void {
    this.#released = null;
    for (const subscription of this.#due.splice(0, RELEASED_AT_ONCE)) this.#release(subscription);
  }
}

/** One reader's ear. Remembers a notification that comes while nobody waits. */
export class Subscription implements Disposable {
  #pending = false;
  #resolve: (() => void) | null = null;
  readonly #onDispose: (self: Subscription) => void;

  constructor(onDispose: (self: Subscription) => void) {
    this.#onDispose = onDispose;
  }

  /** Remembers that there is something. Returns whether one waits who is to be let go for it. */
  notify(): boolean {
    const isNew = !this.#pending;
    this.#pending = true;
    return isNew && this.#resolve !== null;
  }

  /** Lets the waiter go, if one still waits. */
  release(): void {
    this.#resolve?.();
  }

  /** Resolves with true once notified, with false after `timeoutMs` or when `signal` aborts. */
  async wait(timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (!this.#pending && timeoutMs > 0 && !signal?.aborted) {
      await new Promise<void>((resolve) => {
        const finish = () => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", finish);
          this.#resolve = null;
          resolve();
        };
        const timer = setTimeout(finish, timeoutMs);
        signal?.addEventListener("abort", finish);
        this.#resolve = finish;
      });
    }
    const notified = this.#pending;
    this.#pending = false;
    return notified;
  }

  [Symbol.dispose](): void {
    this.#onDispose(this);
  }
}
