/**
 * Syncing as it was before `/sync`, and peeking. Spec: client-server API, `GET /events`, `/initialSync` and
 * `/rooms/{roomId}/initialSync`. Tokens are those of `/sync`.
 */
import type { Clock } from "../lib/clock.ts";
import { notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import { assertNotBlocked } from "../rooms/blocked_rooms.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { LocalMembership, LocalMemberships } from "../rooms/local_memberships.ts";
import { type Bundler, membershipsOf, type Pagination } from "../rooms/pagination.ts";
import type { EventRenderer } from "../rooms/renderer.ts";
import type { Reading, RoomReaders } from "../rooms/room_access.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Sender } from "../rooms/transaction_ids.ts";
import type { Visibility, VisibleEvent } from "../rooms/visibility.ts";
import type { Db } from "../storage/database.ts";
import { selectEventsBetween } from "../storage/positions.ts";
import { selectRoomByNid } from "../storage/rooms.ts";
import type { Notifier, StreamPositions } from "../streams/notifier.ts";
import { formatRoomToken, formatSyncToken } from "../streams/tokens.ts";
import type { AccountDataProvider } from "./providers.ts";

/** What old syncs are built from. */
export interface OldSyncDeps {
  readonly db: Db;
  readonly notifier: Notifier;
  readonly clock: Clock;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly memberships: LocalMemberships;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
  readonly pagination: Pagination;
  readonly renderer: EventRenderer;
  readonly bundle: Bundler;
  readonly accountData: AccountDataProvider;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
}

/** A request of `/events`. */
export interface EventsRequest {
  /** Null for what comes from now on. */
  readonly since: StreamPositions | null;
  /** A room to peek into besides the user's own; null for none. */
  readonly roomId: RoomId | null;
  readonly timeoutMs: number;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
}

const MAX_CHUNK = 100;
const MAX_TIMEOUT_MS = 60_000;

/** Answers old syncs. */
export class OldSync {
  readonly #deps: OldSyncDeps;

  constructor(deps: OldSyncDeps) {
    this.#deps = deps;
  }

  /** Returns the response body of `/rooms/{roomId}/initialSync`, as text. */
  async room(reading: Reading, limit: number): Promise<string> {
    const { memberships, accountData, notifier } = this.#deps;
    const { userId } = reading.requester;
    await assertNotBlocked(this.#deps.db, reading.access.room.roomId);
    const now = notifier.currentPositions();
    const entry = (await memberships.forUser(userId)).all.get(reading.access.room.roomNid);
    const data = await accountData.between({ userId, after: 0, upTo: now.account_data });
    return await this.#roomText(reading, { entry: entry ?? null, limit, now, data });
  }

  /** Returns the response body of `/initialSync`, as text. */
  async initial(requester: Sender, { limit, archived }: { limit: number; archived: boolean }): Promise<string> {
    const { memberships, accountData, notifier, readers } = this.#deps;
    const { userId } = requester;
    const now = notifier.currentPositions();
    const data = await accountData.between({ userId, after: 0, upTo: now.account_data });
    const rooms: string[] = [];
    for (const entry of (await memberships.forUser(userId)).all.values()) {
      if (entry.forgotten) continue;
      if (entry.membership === "invite") rooms.push(await this.#inviteText(requester, entry));
      const isShown = entry.membership === "join" || (archived && entry.membership !== "invite");
      const access = isShown ? await readers.find(userId, entry.roomId) : null;
      if (access !== null) rooms.push(await this.#roomText({ requester, access }, { entry, limit, now, data }));
    }
    const global = data.filter(({ roomId }) => roomId === "").map(dataText);
    return `{"end":"${formatSyncToken(now)}","presence":[],"rooms":[${rooms.join(",")}],` +
      `"account_data":[${global.join(",")}]}`;
  }

  /** Returns the response body of `/events`, as text; waits for something to come. */
  async listen(requester: Sender, request: EventsRequest): Promise<string> {
    const { notifier, readers, stopping, clock } = this.#deps;
    const { roomId, signal } = request;
    if (roomId !== null) await assertNotBlocked(this.#deps.db, roomId);
    const peeked = roomId === null ? null : await readers.reading(requester, roomId);
    using subscription = notifier.subscribe(requester.userId);
    // Who peeks is not among those whom the room's events wake.
    const unlisten = peeked === null ? null : notifier.onPublish((stream) => {
      if (stream === "events") subscription.notify();
    });
    try {
      const start = request.since ?? notifier.currentPositions();
      const deadline = clock.monotonic() + Math.min(request.timeoutMs, MAX_TIMEOUT_MS);
      while (true) {
        const now = notifier.currentPositions();
        const { chunk, upTo } = await this.#newEvents(requester, { peeked, after: start.events, upTo: now.events });
        const left = deadline - clock.monotonic();
        if (chunk.length > 0 || left <= 0 || signal.aborted || stopping.aborted) {
          const end = formatSyncToken({ ...now, events: upTo });
          return `{"chunk":[${chunk.join(",")}],"start":"${formatSyncToken(start)}","end":"${end}"}`;
        }
        await subscription.wait(left, signal);
      }
    } finally {
      unlisten?.();
    }
  }

  /** Returns one event, as text. Throws 404 when there is none that the user may see. */
  async event(requester: Sender, eventId: EventId): Promise<string> {
    const { events, readers, visibility } = this.#deps;
    const stored = await events.getById(eventId);
    const access = stored === null ? null : await readers.find(requester.userId, stored.event.roomId);
    if (stored === null || access === null) throw notFound("Event not found");
    const visible = await visibility.filter([stored], await readers.viewer({ requester, access }));
    if (visible.length === 0) throw notFound("Event not found");
    return (await this.#render(requester, visible)).join("");
  }

  async #newEvents(
    requester: Sender,
    { peeked, after, upTo }: { peeked: Reading | null; after: number; upTo: number },
  ): Promise<{ chunk: string[]; upTo: number }> {
    const { db, events, memberships, readers, visibility } = this.#deps;
    const { joined } = await memberships.forUser(requester.userId);
    const roomNids = peeked === null ? [...joined.keys()] : [peeked.access.room.roomNid];
    const rows = await selectEventsBetween(db, { roomNids, after, upTo, limit: MAX_CHUNK });
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    const shown: VisibleEvent[] = [];
    for (const { nid } of rows) {
      const event = stored.get(nid);
      const access = event === undefined ? null : await readers.find(requester.userId, event.event.roomId);
      if (event === undefined || access === null) continue;
      shown.push(...await visibility.filter([event], await readers.viewer({ requester, access })));
    }
    const last = rows.at(-1);
    const end = rows.length < MAX_CHUNK || last === undefined ? upTo : last.position;
    return { chunk: await this.#render(requester, shown), upTo: end };
  }

  async #render(requester: Sender, events: readonly VisibleEvent[]): Promise<string[]> {
    const stored = events.map((event) => event.stored);
    return await this.#deps.renderer.render(stored, {
      requester,
      roomId: true,
      previous: true,
      memberships: membershipsOf(events),
      relations: await this.#deps.bundle(stored, requester.userId),
    });
  }

  async #roomText(
    reading: Reading,
    { entry, limit, now, data }: {
      entry: LocalMembership | null;
      limit: number;
      now: StreamPositions;
      data: Awaited<ReturnType<AccountDataProvider["between"]>>;
    },
  ): Promise<string> {
    const { db, pagination, readers, renderer, state } = this.#deps;
    const { requester, access } = reading;
    const { roomId, roomNid } = access.room;
    const viewer = await readers.viewer(reading);
    const from = { kind: "stream", position: now.events } as const;
    const request = { direction: "b", from, to: null, limit, filter: null } as const;
    const page = await pagination.page(access, { viewer, request });
    const chunk = await this.#render(requester, page.events.toReversed());
    const stateEvents = await state.entries(access.root);
    const stateTexts = await renderer.render(stateEvents, { requester, roomId: true, previous: false });
    const isPublic = (await selectRoomByNid(db, roomNid))?.isPublic ?? false;
    const start = page.end === null ? "" : `"start":"${formatRoomToken(page.end)}",`;
    const own = data.filter((row) => row.roomId === roomId).map(dataText);
    const membership = entry === null ? "" : `"membership":"${entry.membership}",`;
    return `{"room_id":${JSON.stringify(roomId)},${membership}"visibility":"${isPublic ? "public" : "private"}",` +
      `"messages":{${start}"end":"${formatSyncToken(now)}","chunk":[${chunk.join(",")}]},` +
      `"state":[${stateTexts.join(",")}],"account_data":[${own.join(",")}]}`;
  }

  async #inviteText(requester: Sender, entry: LocalMembership): Promise<string> {
    const stored = await this.#deps.events.getByNid(entry.eventNid);
    const view = { requester, roomId: true, previous: false } as const;
    const invite = stored === null ? "" : `,"invite":${await this.#deps.renderer.renderOne(stored, view)}`;
    const inviter: UserId = entry.sender;
    return `{"room_id":${JSON.stringify(entry.roomId)},"membership":"invite","inviter":${
      JSON.stringify(inviter)
    }${invite}}`;
  }
}

function dataText({ type, content }: { type: string; content: string }): string {
  return `{"type":${JSON.stringify(type)},"content":${content}}`;
}
