/**
 * Sliding sync. Spec: MSC4186.
 *
 * An attempt takes the positions of all streams, finds the rooms that the request's lists and subscriptions match, and
 * tells of those what the connection was not sent yet. What happened in other rooms of the connection is noted, so that
 * it is told when they are matched again. Only an attempt that is answered changes what the connection remembers.
 */
import type { Clock } from "../../lib/clock.ts";
import { Spread, WORK_SECONDS } from "../../lib/tally.ts";
import { type Measure, unmeasured } from "../../storage/work_meters.ts";
import type { UserId } from "../../protocol/ids.ts";
import type { DecideInvite } from "../../rooms/invite_rules.ts";
import type { LocalMembership, LocalMemberships } from "../../rooms/local_memberships.ts";
import type { Notifier, Subscription } from "../../streams/notifier.ts";
import { formatSlidingPos } from "../../streams/tokens.ts";
import { notLess } from "../positions.ts";
import { prepareUnread } from "../unread.ts";
import {
  type Connection,
  type ConnectionChanges,
  LIVE,
  type RoomRecord,
  type SlidingConnections,
} from "./connections.ts";
import { type ExtensionDeps, type ExtensionTexts, readExtensions } from "./extensions.ts";
import type { ListMatcher, ListResult, Matches } from "./lists.ts";
import type { SlidingProviders } from "./providers.ts";
import { type OrderedRooms, type RoomOrder, withLeft } from "./room_order.ts";
import { type RoomResult, roomResult, type RoomResultDeps } from "./room_result.ts";
import type { SlidingRequest, WantedRoom } from "./types.ts";
import type { UserFacts } from "./user_facts.ts";
import type { SlidingView } from "./view.ts";

/** What sliding sync is built from. */
export interface SlidingSyncDeps extends RoomResultDeps, ExtensionDeps {
  readonly clock: Clock;
  readonly notifier: Notifier;
  readonly memberships: LocalMemberships;
  readonly providers: SlidingProviders;
  readonly connections: SlidingConnections;
  readonly order: RoomOrder;
  readonly matcher: ListMatcher;
  readonly userFacts: UserFacts;
  readonly decideInvite: DecideInvite;
  readonly measure?: Measure;
  /** Aborts when the server stops; `Notifier.wakeAll` afterwards ends the waiting requests. */
  readonly stopping: AbortSignal;
}

/** What an attempt found. */
interface Attempt {
  readonly view: SlidingView;
  readonly matches: Matches;
  readonly results: ReadonlyMap<number, RoomResult>;
  readonly records: ReadonlyMap<number, RoomRecord>;
  readonly extensions: ExtensionTexts;
}

/** The longest a request may wait, in milliseconds. */
const MAX_TIMEOUT_MS = 10 * 60 * 1_000;
/** Others get a turn after that many rooms. */
const ROOMS_A_TURN = 50;
/** The ids of the rooms in a window are listed up to that many. */
const MAX_LISTED_ROOMS = 100;

/** Answers sliding syncs. */
export class SlidingSyncService {
  readonly #deps: SlidingSyncDeps;
  /** How long making answers takes, in seconds, for first requests of a connection and later ones. */
  readonly times = { initial: new Spread(WORK_SECONDS), incremental: new Spread(WORK_SECONDS) };

  constructor(deps: SlidingSyncDeps) {
    this.#deps = deps;
  }

  /** Returns the response body. `signal` tells that the client is gone. Throws 400 `M_UNKNOWN_POS`. */
  async sync(request: SlidingRequest, signal?: AbortSignal): Promise<string> {
    const { requester: { userId, deviceId }, connId, pos, extensions: { toDevice } } = request;
    const { connections, providers, notifier } = this.#deps;
    const owner = { userId, deviceId: deviceId ?? "", connId };
    const connection = pos === null ? connections.begin(owner) : await connections.resume(owner, pos);
    const endPresence = await providers.presence.beginSync({ userId, deviceId }, request.setPresence);
    try {
      if (deviceId !== null && toDevice?.since) {
        const upTo = Math.min(toDevice.since, notifier.position("to_device"));
        await providers.toDevice.acknowledge({ userId, deviceId, upTo });
      }
      if (pos === null || request.timeoutMs <= 0) return await this.#answer(await this.#attempt(request, connection));
      using subscription = notifier.subscribe(userId);
      return await this.#poll(request, { connection, subscription, signal });
    } finally {
      endPresence();
    }
  }

  async #poll(
    request: SlidingRequest,
    { connection, subscription, signal }: {
      connection: Connection;
      subscription: Subscription;
      signal: AbortSignal | undefined;
    },
  ): Promise<string> {
    const { clock, stopping } = this.#deps;
    const deadline = clock.monotonic() + Math.min(request.timeoutMs, MAX_TIMEOUT_MS);
    while (true) {
      const attempt = await this.#attempt(request, connection);
      const hasNews = attempt.extensions.hasNews || [...attempt.results.values()].some(({ text }) => text !== null);
      const left = deadline - clock.monotonic();
      // A client that is gone is not answered, and its connection stays as it is.
      if (signal?.aborted) return "{}";
      if (hasNews || left <= 0 || stopping.aborted) return await this.#answer(attempt);
      await subscription.wait(left, signal);
    }
  }

  async #attempt(request: SlidingRequest, connection: Connection): Promise<Attempt> {
    const { measure = unmeasured, clock } = this.#deps;
    const started = clock.monotonic();
    const attempt = await measure("sliding_sync", () => this.#make(request, connection));
    const seconds = (clock.monotonic() - started) / 1_000;
    this.times[request.pos === null ? "initial" : "incremental"].observe(seconds);
    return attempt;
  }

  async #make(request: SlidingRequest, connection: Connection): Promise<Attempt> {
    const { memberships, notifier, order, matcher, userFacts, providers } = this.#deps;
    const { requester: { userId }, pos } = request;
    const rooms = await memberships.forUser(userId);
    const since = pos?.pos.streams ?? null;
    const now = notLess(notifier.currentPositions(), since);
    const ordered = await order.of(userId, { rooms, at: now.events });
    const ignored = providers.accountData.ignoredUsers(userId);
    const showsSoftFailed = providers.accountData.showsSoftFailed(request.requester);
    const direct = await userFacts.directRooms(userId, now.account_data);
    const view: SlidingView = { request, connection, rooms, since, now, direct, ignored, showsSoftFailed };
    const listed = await this.#listed(view, ordered);
    const matches = await matcher.match(request, { ordered: listed, rooms, accountDataAt: now.account_data });
    const results = await this.#results(view, matches.wanted);
    const records = new Map<number, RoomRecord>();
    for (const [roomNid, { record }] of results) {
      if (!isSame(record, connection.rooms.get(roomNid))) records.set(roomNid, record);
    }
    this.#noteMissed(view, { wanted: matches.wanted, records });
    const extensions = await readExtensions(this.#deps, { view, rooms: { wanted: matches.wanted, results, records } });
    return { view, matches, results, records, extensions };
  }

  /** Returns the rooms that lists can show, in order. */
  async #listed(view: SlidingView, { shown, left }: OrderedRooms): Promise<readonly LocalMembership[]> {
    const { connection } = view;
    const told = left.length === 0 || connection.rooms.size === 0 ? [] : left.filter(({ roomNid }) => {
      const record = connection.rooms.get(roomNid);
      return record !== undefined && record.shown !== "leave";
    });
    const all = withLeft(this.#deps.order, { shown, left: told });
    const unwanted = await this.#unwantedInviters(view, all);
    if (unwanted.size === 0) return all;
    return all.filter(({ membership, sender }) => membership !== "invite" || !unwanted.has(sender));
  }

  /** Returns those whose invitations are not shown: the user ignores them, or lets them invite in vain. */
  async #unwantedInviters(
    { ignored, request: { requester: { userId } } }: SlidingView,
    entries: readonly LocalMembership[],
  ): Promise<ReadonlySet<string>> {
    const inviters = new Set<UserId>();
    for (const { membership, sender } of entries) if (membership === "invite") inviters.add(sender);
    const unwanted = new Set<string>();
    for (const sender of inviters) {
      const isWanted = !ignored.has(sender) && await this.#deps.decideInvite({ sender, target: userId }) === "allow";
      if (!isWanted) unwanted.add(sender);
    }
    return unwanted;
  }

  async #results(
    view: SlidingView,
    wanted: ReadonlyMap<number, WantedRoom>,
  ): Promise<Map<number, RoomResult>> {
    const results = new Map<number, RoomResult>();
    const { request: { requester: { userId } }, connection, now } = view;
    const entries: LocalMembership[] = [];
    for (const { entry } of wanted.values()) {
      if (entry.membership === "join" && !connection.rooms.has(entry.roomNid)) entries.push(entry);
    }
    await prepareUnread(this.#deps, { userId, entries, upTo: now.events });
    for (const [roomNid, room] of wanted) {
      const result = await roomResult(this.#deps, { view, room });
      if (result === null) continue;
      results.set(roomNid, result);
      if (results.size % ROOMS_A_TURN === 0) await this.#deps.clock.sleep(0);
    }
    return results;
  }

  /** Notes from where on the rooms that are not matched now must catch up when they are again. */
  #noteMissed(
    { connection, since, rooms }: SlidingView,
    { wanted, records }: { wanted: ReadonlyMap<number, WantedRoom>; records: Map<number, RoomRecord> },
  ): void {
    if (since === null) return;
    const note = (roomNid: number) => {
      const record = connection.rooms.get(roomNid);
      if (wanted.has(roomNid) || record?.events !== LIVE) return;
      records.set(roomNid, { ...record, events: since.events });
    };
    for (const roomNid of this.#deps.timelines.changedAfter(since.events, rooms.joined)) note(roomNid);
    if (rooms.lastChange <= since.events) return;
    for (const { roomNid, position } of rooms.all.values()) if (position > since.events) note(roomNid);
  }

  async #answer({ view, matches, results, records, extensions }: Attempt): Promise<string> {
    const { connections } = this.#deps;
    const changes = changesOf({ results, records, extensions });
    const { key, state } = await connections.save(view.connection, changes);
    const pos = formatSlidingPos({ connection: key, state, streams: view.now });
    connections.noteSent(key, { pos, changes });
    const rooms: string[] = [];
    for (const [roomNid, { text }] of results) {
      if (text !== null) rooms.push(`${JSON.stringify(matches.wanted.get(roomNid)?.entry.roomId)}:${text}`);
    }
    const lists = [...matches.lists].map(([name, list]) => `${JSON.stringify(name)}:${listText(list)}`);
    return `{"pos":"${pos}","lists":{${lists.join(",")}},"rooms":{${rooms.join(",")}},` +
      `"extensions":{${extensions.text}}}`;
  }
}

function changesOf(
  { results, records, extensions }: Pick<Attempt, "results" | "records" | "extensions">,
): ConnectionChanges {
  const members = new Map<number, readonly number[]>();
  const resetMembers = new Set<number>();
  for (const [roomNid, result] of results) {
    if (result.members.length > 0) members.set(roomNid, result.members);
    if (result.resetsMembers) resetMembers.add(roomNid);
  }
  return { rooms: records, members, resetMembers, profiles: extensions.profiles };
}

function isSame(record: RoomRecord, other: RoomRecord | undefined): boolean {
  return other !== undefined && record.events === other.events && record.receipts === other.receipts &&
    record.accountData === other.accountData && record.profiles === other.profiles && record.shown === other.shown &&
    record.isDm === other.isDm &&
    record.timelineLimit === other.timelineLimit && record.selection.text === other.selection.text;
}

/** The operations are those of MSC3575, as clients of its time read them: each window anew. */
function listText({ count, windows }: ListResult): string {
  const ops: string[] = [];
  for (const { range, rooms } of windows) {
    if (rooms.length > MAX_LISTED_ROOMS) continue;
    ops.push(`{"op":"SYNC","range":${JSON.stringify(range)},"room_ids":${JSON.stringify(rooms)}}`);
  }
  return `{"count":${count},"ops":[${ops.join(",")}]}`;
}
