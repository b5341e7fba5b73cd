/**
 * `GET /sync`. Spec: client-server API, "Syncing".
 *
 * An attempt takes the positions of all streams, then reads what lies between the token and them. When there is nothing,
 * the request waits for the notifier, holding no more than a subscription made before the first read, and tries again.
 * Answers are text put together from rendered events; an initial sync is given out room by room as it is read.
 */
import { matchesRoom } from "../protocol/filter.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import { Tally } from "../lib/tally.ts";
import { type Measure, unmeasured } from "../storage/work_meters.ts";
import type { SentMembers } from "../rooms/lazy_members.ts";
import type { JoinPositions } from "../rooms/join_positions.ts";
import type { LocalMembership, LocalMemberships, UserRooms } from "../rooms/local_memberships.ts";
import type { MembershipMoves } from "../rooms/membership_moves.ts";
import { strippedState } from "../rooms/stripped_state.ts";
import type { Notifier, Subscription } from "../streams/notifier.ts";
import { formatSyncToken } from "../streams/tokens.ts";
import { readDeviceParts } from "./device_parts.ts";
import {
  type AccountDataByRoom,
  type EphemeralByRoom,
  mayHaveAccountData,
  mayHaveEphemeral,
  readAccountData,
  readEphemeral,
} from "./extras.ts";
import { isNothingAfter, notLess } from "./positions.ts";
import type { SyncProviders, UnreadCounts } from "./providers.ts";
import { joinedEntry, leftEntry, refusedEntry, type RoomEntryDeps, sharedEntry } from "./room_entry.ts";
import { joinedPart, planRooms, type RoomPlan, type RoomPlanDeps } from "./room_plan.ts";
import { SharedNews, type SharedNewsDeps } from "./shared_news.ts";
import type { RoomPart, SyncRequest, SyncView } from "./types.ts";
import { countUnread, peekUnread, prepareUnread } from "./unread.ts";

/** What sync is built from. */
export interface SyncDeps extends SharedNewsDeps, RoomPlanDeps {
  readonly notifier: Notifier;
  readonly memberships: LocalMemberships;
  readonly moves: MembershipMoves;
  readonly sentMembers: SentMembers;
  readonly joinPositions: JoinPositions;
  readonly providers: SyncProviders;
  readonly measure?: Measure;
  /** Aborts when the server stops; `Notifier.wakeAll` afterwards ends the waiting requests. */
  readonly stopping: AbortSignal;
}

/** A response body: text, or pieces of it as they are made. */
export type SyncBody = string | AsyncIterable<string>;

interface Answer {
  readonly isEmpty: boolean;
  readonly body: SyncBody;
}

/** What an attempt has read besides rooms. */
interface Extras {
  readonly accountData: AccountDataByRoom;
  readonly ephemeral: EphemeralByRoom;
}

/** An attempt. */
interface Work {
  readonly view: SyncView;
  readonly plan: RoomPlan;
  readonly extras: Extras;
}

const NO_ACCOUNT_DATA: AccountDataByRoom = new Map();
const NO_EPHEMERAL: EphemeralByRoom = new Map();
const NO_TEXTS: readonly string[] = [];
/** The longest a request may wait, in milliseconds. */
const MAX_TIMEOUT_MS = 10 * 60 * 1_000;

/** Answers syncs. */
export class SyncService {
  readonly #deps: SyncDeps;
  readonly #entryDeps: RoomEntryDeps;
  readonly #shared: SharedNews;
  /** Answers that held news, by the kind of request. */
  readonly nonempty = new Tally("type", "lazy_loaded");

  constructor(deps: SyncDeps) {
    this.#deps = deps;
    this.#shared = new SharedNews(deps);
    this.#entryDeps = { ...deps, unread: (view, part) => this.#unread(view, part) };
  }

  /** Returns the response body. `signal` tells that the client is gone or the server stops. */
  async sync(request: SyncRequest, signal?: AbortSignal): Promise<SyncBody> {
    const { requester: { userId, deviceId }, since } = request;
    const { presence, toDevice } = this.#deps.providers;
    const endPresence = await presence.beginSync({ userId, deviceId }, request.setPresence);
    try {
      if (since === null) this.#deps.sentMembers.reset(request.requester);
      else if (deviceId !== null && since.to_device > 0) {
        await toDevice.acknowledge({ userId, deviceId, upTo: since.to_device });
      }
      if (since === null || request.fullState || request.timeoutMs <= 0) {
        const { isEmpty, body } = await this.#attempt(request);
        if (!isEmpty) this.#countNonempty(request);
        return body;
      }
      using subscription = this.#deps.notifier.subscribe(userId);
      return await this.#poll(request, { subscription, signal });
    } finally {
      endPresence();
    }
  }

  async #poll(
    request: SyncRequest,
    { subscription, signal }: { subscription: Subscription; signal: AbortSignal | undefined },
  ): Promise<SyncBody> {
    const clock = this.#deps.clock;
    const deadline = clock.monotonic() + Math.min(request.timeoutMs, MAX_TIMEOUT_MS);
    while (true) {
      // A client that has seen everything, as most have that come back at once, need not be told so by reading.
      const isCurrent = isNothingAfter(request.since, this.#deps.notifier.currentPositions());
      if (!isCurrent || this.#deps.stopping.aborted) {
        const { isEmpty, body } = await this.#attempt(request);
        if (!isEmpty) this.#countNonempty(request);
        if (!isEmpty || signal?.aborted || this.#deps.stopping.aborted) return body;
      }
      const left = deadline - clock.monotonic();
      if (left > 0 && await subscription.wait(left, signal)) continue;
      // Nobody reads what a client that is gone would get.
      if (signal?.aborted) return "{}";
      // Nothing for this user, but a fresh token saves the next request from looking at what passed.
      return (await this.#attempt(request)).body;
    }
  }

  #countNonempty({ since, fullState, filter }: SyncRequest): void {
    const type = since === null ? "initial_sync" : fullState ? "full_state_sync" : "incremental_sync";
    this.nonempty.add([`sync_v2:${type}`, filter.room.state.lazyLoadMembers ? "true" : "false"]);
  }

  #attempt(request: SyncRequest): Promise<Answer> {
    const { measure = unmeasured } = this.#deps;
    return measure("sync", () => this.#make(request));
  }

  async #make(request: SyncRequest): Promise<Answer> {
    const { memberships, notifier, providers } = this.#deps;
    const { userId } = request.requester;
    const rooms = memberships.peek(userId) ?? await memberships.forUser(userId);
    // From here to the plan nothing waits, so that rooms and positions are of the same moment.
    const now = notLess(notifier.currentPositions(), request.since);
    const view: SyncView = {
      ...{ ...request, now, ignored: providers.accountData.ignoredUsers(userId) },
      showsSoftFailed: providers.accountData.showsSoftFailed(request.requester),
    };
    const plan = await planRooms(this.#deps, { view, rooms });
    const fresh = new Set<number>();
    for (const part of plan.joined.values()) if (part.newlyJoined) fresh.add(part.roomNid);
    const extras: Extras = {
      accountData: mayHaveAccountData(providers, view) ? await readAccountData(providers, view) : NO_ACCOUNT_DATA,
      ephemeral: mayHaveEphemeral(view, fresh)
        ? await readEphemeral(providers, { view, rooms: rooms.joined, fresh })
        : NO_EPHEMERAL,
    };
    if (request.since !== null) this.#addTouched(plan, { view, joined: rooms.joined, extras });
    const parts = await readDeviceParts(this.#deps, view);
    const isAll = parts.toDeviceUpTo === now.to_device;
    const token = formatSyncToken(isAll ? now : { ...now, to_device: parts.toDeviceUpTo });
    const account = extras.accountData.get("") ?? [];
    let head = `{"next_batch":"${token}"${parts.text}`;
    if (account.length > 0) head += `,"account_data":{"events":[${account.join(",")}]}`;
    const isInitial = request.since === null || request.fullState;
    if (isInitial) return { isEmpty: false, body: this.#stream(head, { view, plan, extras }) };
    const sections = await this.#sections({ view, plan, extras }, rooms);
    const hasNews = parts.hasNews || account.length > 0 || sections !== "";
    return { isEmpty: !hasNews, body: `${head}${sections === "" ? "" : `,"rooms":{${sections}}`}}` };
  }

  /** Adds joined rooms in which only something ephemeral or the account data changed. */
  #addTouched(
    plan: RoomPlan,
    { view, joined, extras }: { view: SyncView; joined: ReadonlyMap<number, RoomId>; extras: Extras },
  ): void {
    const { excludedRooms } = this.#deps;
    const add = (roomNid: number, roomId: RoomId) => {
      if (
        plan.joined.has(roomNid) || plan.hidden.has(roomNid) || !matchesRoom(view.filter.room, roomId) ||
        excludedRooms.has(roomId)
      ) return;
      const range = { after: view.since?.events ?? null, upTo: view.now.events, newlyJoined: false };
      plan.joined.set(roomNid, joinedPart({ roomNid, roomId }, range));
    };
    for (const roomNid of extras.ephemeral.keys()) {
      const roomId = joined.get(roomNid);
      if (roomId !== undefined) add(roomNid, roomId);
    }
    const changed = extras.accountData.size - (extras.accountData.has("") ? 1 : 0);
    if (changed === 0) return;
    for (const [roomNid, roomId] of joined) if (extras.accountData.has(roomId)) add(roomNid, roomId);
  }

  /** Returns the members of `rooms` that are not empty. */
  async #sections(work: Work, rooms: UserRooms): Promise<string> {
    let text = "";
    for (const part of work.plan.joined.values()) {
      const entry = await this.#joined(work, part, rooms);
      if (entry !== null) text += text === "" ? `"join":{${entry}` : `,${entry}`;
    }
    if (text !== "") text += "}";
    const { invited, knocked, left } = work.plan;
    if (invited.length + knocked.length + left.length === 0) return text;
    for (const name of ["invite", "knock", "leave"] as const) {
      let section = "";
      for await (const entry of this.#entries(name, work)) section += section === "" ? entry : `,${entry}`;
      if (section !== "") text += `${text === "" ? "" : ","}"${name}":{${section}}`;
    }
    return text;
  }

  /** Returns the entry of a joined room, or null when there is nothing to tell. */
  async #joined(
    { view, extras: { ephemeral: changed, accountData } }: Work,
    part: RoomPart,
    rooms: UserRooms,
  ): Promise<string | null> {
    const ephemeral = changed.get(part.roomNid) ?? NO_TEXTS;
    const extras = {
      ephemeral,
      accountData: accountData.get(part.roomId) ?? NO_TEXTS,
      isTouched: ephemeral.length > 0,
    };
    const entry = rooms.all.get(part.roomNid);
    const room = { view, part, entry, extras };
    const found = this.#shared.of(view, part, entry);
    const shared = found instanceof Promise ? await found : found;
    if (shared === null) return await joinedEntry(this.#entryDeps, room);
    return sharedEntry(room, { ...shared, unread: await this.#unread(view, part) });
  }

  async *#stream(
    head: string,
    work: Work,
  ): AsyncGenerator<string> {
    yield `${head},"rooms":{`;
    let separator = "";
    for (const name of ["join", "invite", "knock", "leave"] as const) {
      let opening = `${separator}"${name}":{`;
      for await (const entry of this.#entries(name, work)) {
        yield opening + entry;
        opening = ",";
      }
      if (opening !== ",") continue;
      yield "}";
      separator = ",";
    }
    yield "}}";
  }

  async *#entries(
    section: "join" | "invite" | "knock" | "leave",
    { view, plan, extras }: Work,
  ): AsyncGenerator<string> {
    const deps = this.#entryDeps;
    const dataOf = (roomId: RoomId) => extras.accountData.get(roomId) ?? [];
    if (section === "join") {
      const { all } = await this.#deps.memberships.forUser(view.requester.userId);
      await this.#prepareUnread(view, { plan, all });
      for (const part of plan.joined.values()) {
        const ephemeral = extras.ephemeral.get(part.roomNid) ?? [];
        const entry = await joinedEntry(deps, {
          view,
          part,
          entry: all.get(part.roomNid),
          extras: { ephemeral, accountData: dataOf(part.roomId), isTouched: ephemeral.length > 0 },
        });
        if (entry !== null) yield entry;
      }
    } else if (section === "leave") {
      for (const { entry, part } of plan.left) {
        yield part === null
          ? await refusedEntry(deps, { view, entry })
          : await leftEntry(deps, { view, part, accountData: dataOf(entry.roomId) });
      }
    } else {
      const key = section === "invite" ? "invite_state" : "knock_state";
      for (const entry of section === "invite" ? plan.invited : plan.knocked) {
        yield `${JSON.stringify(entry.roomId)}:{"${key}":{"events":${await strippedState(deps, entry)}}}`;
      }
    }
  }

  async #prepareUnread(
    { requester: { userId }, now }: SyncView,
    { plan, all }: { plan: RoomPlan; all: UserRooms["all"] },
  ): Promise<void> {
    const { joinPositions, providers: { notifications } } = this.#deps;
    const entries: LocalMembership[] = [];
    for (const roomNid of plan.joined.keys()) {
      const entry = all.get(roomNid);
      if (entry !== undefined) entries.push(entry);
    }
    await prepareUnread({ joinPositions, notifications }, { userId, entries, upTo: now.events });
  }

  async #unread({ requester: { userId }, now }: SyncView, { roomNid }: RoomPart): Promise<UnreadCounts> {
    const { memberships, joinPositions, providers: { notifications } } = this.#deps;
    const entry = memberships.peek(userId)?.all.get(roomNid);
    const known = entry && peekUnread({ joinPositions, notifications }, { userId, entry, upTo: now.events });
    return known ?? await this.#countUnread(userId, { roomNid, upTo: now.events });
  }

  async #countUnread(userId: UserId, { roomNid, upTo }: { roomNid: number; upTo: number }): Promise<UnreadCounts> {
    const { memberships, joinPositions, providers: { notifications } } = this.#deps;
    const entry = (await memberships.forUser(userId)).all.get(roomNid) ?? { roomNid, eventNid: null };
    return await countUnread({ joinPositions, notifications }, { userId, entry, upTo });
  }
}
