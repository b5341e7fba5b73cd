/**
 * What a batch is about to ask for event by event, asked for at once: which of the events that have come are here
 * already, which are waited for, and which have been redacted before they came.
 *
 * It holds for one batch: only the room's queue writes what is asked for here. What the batch itself adds is not in the
 * database yet, so the batch looks at its own events first.
 */
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { selectMissingParents, selectRedactedBefore, selectRedactionsOf } from "../storage/event_lookups.ts";
import type { EventStore } from "./event_store.ts";
import type { ReceivedEvent } from "./receive.ts";

/** What is known of events that are about to be taken in. */
export class Foresight {
  readonly #deps: { readonly db: Db; readonly events: EventStore };
  readonly #seen = new Set<readonly ReceivedEvent[]>();
  readonly #ids = new Set<EventId>();
  readonly #absent = new Set<EventId>();
  readonly #waited = new Set<EventId>();
  readonly #redacted = new Set<EventId>();

  constructor(deps: { readonly db: Db; readonly events: EventStore }) {
    this.#deps = deps;
  }

  /** Asks for all that taking in these events will; once for a list. */
  async of(received: readonly ReceivedEvent[]): Promise<void> {
    if (this.#seen.has(received)) return;
    const { db, events } = this.#deps;
    const ids = received.map(({ event }) => event.eventId);
    const around = received.flatMap(({ event }) => [...event.prevEvents, ...event.authEvents]);
    const [found, waited, redacted] = await Promise.all([
      events.byId([...new Set([...ids, ...around])]),
      selectMissingParents(db, ids),
      selectRedactedBefore(db, ids),
    ]);
    for (const id of ids) {
      this.#ids.add(id);
      if (!found.has(id)) this.#absent.add(id);
    }
    for (const id of waited) this.#waited.add(id);
    for (const id of redacted) this.#redacted.add(id);
    this.#seen.add(received);
  }

  /** Tells whether an event is known not to be in the database. */
  isAbsent(eventId: EventId): boolean {
    return this.#absent.has(eventId);
  }

  /** Tells whether an event is waited for as a missing parent. */
  async isWaitedFor(eventId: EventId): Promise<boolean> {
    if (this.#ids.has(eventId)) return this.#waited.has(eventId);
    return (await selectMissingParents(this.#deps.db, [eventId])).length > 0;
  }

  /** Returns the redactions of an event that are in the database, the oldest first, whether in force or not. */
  async redactionsOf(eventId: EventId): Promise<number[]> {
    if (this.#ids.has(eventId) && !this.#redacted.has(eventId)) return [];
    return await selectRedactionsOf(this.#deps.db, eventId);
  }
}
