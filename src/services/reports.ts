/** Reports to the administrators. Spec: client-server API, "Reporting Content". */
import type { Clock } from "../lib/clock.ts";
import { notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomReaders } from "../rooms/room_access.ts";
import type { Sender } from "../rooms/transaction_ids.ts";
import type { Visibility } from "../rooms/visibility.ts";
import type { Database } from "../storage/database.ts";
import { insertReport, type Report } from "../storage/reports.ts";
import { selectUser } from "../storage/users.ts";

/** What the service is built from. */
export interface ReportsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: EventStore;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
  readonly isLocal: (userId: UserId) => boolean;
}

/** Keeps reports. */
export class Reports {
  readonly #deps: ReportsDeps;

  constructor(deps: ReportsDeps) {
    this.#deps = deps;
  }

  /** Reports an event. Throws 404 unless the user is in the room and may see the event. */
  async reportEvent(
    sender: Sender,
    { roomId, eventId, reason, score }: {
      roomId: RoomId;
      eventId: EventId;
      reason: string | null;
      score: number | null;
    },
  ): Promise<void> {
    const { events, readers, visibility } = this.#deps;
    const access = await readers.find(sender.userId, roomId);
    const stored = access?.kind === "joined" ? await events.getById(eventId) : null;
    if (access === null || stored === null || stored.roomNid !== access.room.roomNid) throw unseen();
    const viewer = { ...readers.viewer({ requester: sender, access }), ignored: new Set<string>() };
    if ((await visibility.filter([stored], viewer)).length === 0) throw unseen();
    await this.#add(sender.userId, { roomId, eventId, reportedUser: stored.event.sender, reason, score });
  }

  /** Reports a room, which the user need not be in. Throws 404 for one that this server does not know. */
  async reportRoom(reporter: UserId, { roomId, reason }: { roomId: RoomId; reason: string }): Promise<void> {
    if (await this.#deps.events.roomById(roomId) === null) throw notFound("The room was not found");
    await this.#add(reporter, { roomId, eventId: null, reportedUser: null, reason, score: null });
  }

  /** Reports a user. Throws 404 for one of this server who is not there. */
  async reportUser(reporter: UserId, { userId, reason }: { userId: UserId; reason: string }): Promise<void> {
    const { db, isLocal } = this.#deps;
    if (isLocal(userId) && await selectUser(db, userId) === null) throw notFound("The user was not found");
    await this.#add(reporter, { roomId: null, eventId: null, reportedUser: userId, reason, score: null });
  }

  async #add(reporter: UserId, report: Omit<Report, "reporter" | "receivedTs">): Promise<void> {
    const { db, clock } = this.#deps;
    await db.transaction((tx) => insertReport(tx, { ...report, reporter, receivedTs: clock.now() }));
  }
}

function unseen(): Error {
  return notFound("The event was not found or you are not joined to the room");
}
