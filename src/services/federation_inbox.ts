/**
 * Transactions of other servers. Spec: server-server API, "Transactions".
 *
 * Each event has its own result; one that is bad never spoils the others. A transaction that is sent again gets the answer
 * of the first time. Transactions of one server are worked on one after another, as servers send them.
 */
import { insertReceivedTransaction, selectReceivedTransaction } from "../storage/received_transactions.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { Spread, WAIT_SECONDS } from "../lib/tally.ts";
import { badJson, invalidParam } from "../protocol/errors.ts";
import { parseRoomId, parseUserId, type RoomId, type ServerName, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { EventStore, RoomIdentity } from "../rooms/event_store.ts";
import type { Inbound } from "../rooms/inbound.ts";
import type { CheckedPdu, PduChecks } from "../rooms/pdu_checks.ts";
import type { ReceivedEvent } from "../rooms/receive.ts";
import type { ServerAcls } from "../rooms/server_acls.ts";
import type { Database } from "../storage/database.ts";

/** What the inbox is built from. */
export interface FederationInboxDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventStore;
  readonly inbound: Inbound;
  readonly checks: PduChecks;
  readonly acls: ServerAcls;
  readonly localJoinedUsers: (roomId: RoomId) => Promise<ReadonlySet<UserId>>;
  /** Takes in an event of a room that this server is not in; false when it concerns nobody here. */
  readonly outOfBand: (origin: ServerName, room: RoomIdentity, received: ReceivedEvent) => Promise<boolean>;
  readonly receiveEdu: (
    origin: ServerName,
    edu: { readonly type: string; readonly content: JsonObject },
  ) => Promise<void>;
  /** Told of each transaction that was new. */
  readonly onReceived?: (received: {
    readonly server: ServerName;
    readonly pdus: number;
    readonly edus: number;
    /** The latest `origin_server_ts` of the events; null without one. */
    readonly lastTs: number | null;
  }) => void;
}

/** Spec: "Transactions may be limited in size". */
export const MAX_PDUS = 50;
/** As above. */
export const MAX_EDUS = 100;
const MAX_TXN_ID_LENGTH = 255;

type Results = Record<string, { error?: string }>;

/** Takes in transactions. */
export class FederationInbox {
  readonly #deps: FederationInboxDeps;
  readonly #origins = new KeyedMutex<ServerName>();
  /** Transactions that have come and are not done, with the time when they came. */
  readonly #staged = new Set<{ readonly pdus: number; readonly cameAt: number }>();
  /** How long events take from their coming to their being stored or refused, in seconds. */
  readonly times = new Spread(WAIT_SECONDS);

  constructor(deps: FederationInboxDeps) {
    this.#deps = deps;
  }

  /** Events that have come and are not done: how many, and for how long the oldest has waited, in milliseconds. */
  get staging(): { readonly pdus: number; readonly oldestMs: number } {
    let [pdus, oldest] = [0, Infinity];
    for (const transaction of this.#staged) {
      pdus += transaction.pdus;
      if (transaction.pdus > 0) oldest = Math.min(oldest, transaction.cameAt);
    }
    return { pdus, oldestMs: pdus === 0 ? 0 : this.#deps.clock.monotonic() - oldest };
  }

  /** Takes in a transaction and returns the text of the answer. Throws 400 for one that is not formed as it must be. */
  async receive(origin: ServerName, { txnId, body }: { txnId: string; body: JsonObject }): Promise<string> {
    const pdus = listOf(body["pdus"], { name: "pdus", max: MAX_PDUS });
    const edus = listOf(body["edus"], { name: "edus", max: MAX_EDUS });
    if (txnId.length > MAX_TXN_ID_LENGTH) throw invalidParam("The transaction id is too long");
    const staged = { pdus: pdus.length, cameAt: this.#deps.clock.monotonic() };
    this.#staged.add(staged);
    try {
      return await this.#takeIn(origin, { txnId, pdus, edus });
    } finally {
      this.#staged.delete(staged);
      const seconds = (this.#deps.clock.monotonic() - staged.cameAt) / 1_000;
      this.times.observe(seconds, staged.pdus);
    }
  }

  async #takeIn(
    origin: ServerName,
    { txnId, pdus, edus }: { txnId: string; pdus: readonly JsonValue[]; edus: readonly JsonValue[] },
  ): Promise<string> {
    return await this.#origins.run(origin, async () => {
      const { db, clock } = this.#deps;
      const before = await selectReceivedTransaction(db, { origin, txnId });
      if (before !== null) return before;
      const [results] = await allOrNone([this.#receivePdus(origin, pdus), this.#receiveEdus(origin, edus)]);
      this.#deps.onReceived?.({ server: origin, pdus: pdus.length, edus: edus.length, lastTs: latestOf(pdus) });
      const response = JSON.stringify({ pdus: results });
      const row = { origin, txnId, response, receivedTs: clock.now() };
      await db.transaction((tx) => insertReceivedTransaction(tx, row));
      return response;
    });
  }

  async #receivePdus(origin: ServerName, pdus: readonly JsonValue[]): Promise<Results> {
    const byRoom = new Map<RoomId, JsonValue[]>();
    for (const pdu of pdus) {
      const text = isJsonObject(pdu) ? pdu["room_id"] : undefined;
      const roomId = typeof text === "string" ? parseRoomId(text) : null;
      // Without a room there is no version and hence no event id by which a result could be given.
      if (roomId === null) continue;
      const list = byRoom.get(roomId) ?? [];
      list.push(pdu);
      byRoom.set(roomId, list);
    }
    // At once: what the rooms write shares a commit.
    const results = await allOrNone([...byRoom].map(([roomId, list]) => this.#receiveRoom(origin, roomId, list)));
    return Object.assign({}, ...results);
  }

  async #receiveRoom(origin: ServerName, roomId: RoomId, pdus: readonly JsonValue[]): Promise<Results> {
    const { events, checks, acls, localJoinedUsers, log } = this.#deps;
    const room = await events.roomById(roomId);
    if (room === null) {
      log.debug("Events of an unknown room", { server: origin, roomId });
      return {};
    }
    const results: Results = {};
    const isIn = (await localJoinedUsers(roomId)).size > 0;
    const isAllowed = await acls.isAllowed(roomId, origin);
    const checked = await Promise.all(pdus.map((pdu) => checks.check(pdu, room)));
    const good = goodOf(checked, results);
    const refusal = isAllowed ? null : `Server is banned from room`;
    if (refusal !== null || !isIn) {
      for (const received of good) {
        const isTaken = refusal === null && await this.#deps.outOfBand(origin, room, received);
        results[received.event.eventId] = isTaken ? {} : { error: refusal ?? "This server is not in the room" };
      }
      return results;
    }
    const outcomes = await this.#deps.inbound.receive(origin, { room, events: good });
    for (const [index, { event: { eventId } }] of good.entries()) {
      const outcome = outcomes[index];
      // Nothing comes of sending one again: rejected and soft-failed events are kept all the same, and what an event that
      // could not be placed builds on is asked for when the next one comes. So none of them is an error to the sender, as
      // in Synapse; Complement's TestCorruptedAuthChain insists on it.
      const kind = outcome?.kind ?? "missing";
      results[eventId] = kind === "failed" ? { error: "The event could not be stored" } : {};
      if (outcome?.kind === "failed") {
        log.error("An event could not be stored", { server: origin, roomId, eventId, reason: outcome.reason });
      } else if (kind !== "accepted" && kind !== "duplicate") {
        log.info("An event was not accepted", { server: origin, roomId, eventId, outcome: kind });
      }
    }
    return results;
  }

  async #receiveEdus(origin: ServerName, edus: readonly JsonValue[]): Promise<void> {
    for (const edu of edus) {
      if (!isJsonObject(edu) || typeof edu["edu_type"] !== "string" || !isJsonObject(edu["content"])) continue;
      try {
        await this.#deps.receiveEdu(origin, { type: edu["edu_type"], content: edu["content"] });
      } catch (error) {
        this.#deps.log.warn("An EDU could not be taken in", { server: origin, type: edu["edu_type"], error });
      }
    }
  }
}

/** As `Promise.all`, but nothing of it goes on once it has failed: another transaction of the server may be next. */
async function allOrNone<T extends readonly unknown[]>(work: { readonly [K in keyof T]: Promise<T[K]> }): Promise<T> {
  await Promise.allSettled(work);
  return await Promise.all(work) as unknown as T;
}

/** Returns what passed the checks, and notes the result of what did not. */
function goodOf(checked: readonly CheckedPdu[], results: Results): ReceivedEvent[] {
  const good: ReceivedEvent[] = [];
  for (const outcome of checked) {
    if (outcome.ok) good.push(outcome.received);
    else if (outcome.eventId !== null) results[outcome.eventId] = { error: outcome.reason };
  }
  return good;
}

function latestOf(pdus: readonly JsonValue[]): number | null {
  const times = pdus.map((pdu) => isJsonObject(pdu) ? Number(pdu["origin_server_ts"]) : NaN).filter(
    Number.isSafeInteger,
  );
  return times.length === 0 ? null : Math.max(...times);
}

function listOf(value: JsonValue | undefined, { name, max }: { name: string; max: number }): readonly JsonValue[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw badJson(`"${name}" must be a list`);
  if (value.length > max) throw badJson(`A transaction has at most ${max} ${name}`);
  return value;
}

/** Returns a user id of that server, or null. */
export function userOf(server: ServerName, value: JsonValue | undefined): UserId | null {
  const userId = typeof value === "string" ? parseUserId(value) : null;
  return userId !== null && userId.slice(userId.indexOf(":") + 1) === server ? userId : null;
}
