/** Typing, receipts and presence for application services (MSC2409, since v1.13). */
import type { RoomId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { AppserviceInterest } from "../services/appservice_interest.ts";
import type { Appservice, Appservices } from "../services/appservices.ts";
import type { PresenceService } from "../services/presence.ts";
import type { TypingService } from "../services/typing.ts";
import type { Db } from "../storage/database.ts";
import { type RoomReceipt, selectReceiptsBetween } from "../storage/receipts.ts";

/** Up to where a service has been told. Typing and presence live in memory, and so do their positions. */
export interface EphemeralPositions {
  readonly receipts: number;
  readonly typing: number;
  readonly presence: number;
}

/** What it is read from. */
export interface AppserviceEphemeralDeps {
  readonly db: Db;
  readonly appservices: Appservices;
  readonly interest: AppserviceInterest;
  readonly typing: Pick<TypingService, "changedBetween" | "typingIn">;
  readonly presence: Pick<PresenceService, "changedBetween">;
}

const MAX_RECEIPTS = 1_000;

/** Reads what passes. */
export class AppserviceEphemeral {
  readonly #deps: AppserviceEphemeralDeps;

  constructor(deps: AppserviceEphemeralDeps) {
    this.#deps = deps;
  }

  /** Returns what a service is told of `(after, upTo]`. */
  async between(
    service: Appservice,
    { after, upTo }: { after: EphemeralPositions; upTo: EphemeralPositions },
  ): Promise<{ events: JsonObject[]; positions: EphemeralPositions }> {
    const receipts = await this.#receipts(service, { after: after.receipts, upTo: upTo.receipts });
    const events = [
      ...receipts.events,
      ...await this.#typing(service, { after: after.typing, upTo: upTo.typing }),
      ...await this.#presence(service, { after: after.presence, upTo: upTo.presence }),
    ];
    return { events, positions: { receipts: receipts.position, typing: upTo.typing, presence: upTo.presence } };
  }

  async #typing(service: Appservice, range: { after: number; upTo: number }): Promise<JsonObject[]> {
    const { typing, interest } = this.#deps;
    const events: JsonObject[] = [];
    for (const roomId of typing.changedBetween(range)) {
      if (!await interest.inRoom(service, roomId)) continue;
      events.push({ type: "m.typing", room_id: roomId, content: { user_ids: typing.typingIn(roomId) } });
    }
    return events;
  }

  async #presence(service: Appservice, range: { after: number; upTo: number }): Promise<JsonObject[]> {
    const changed = this.#deps.presence.changedBetween(range);
    if (changed.length === 0) return [];
    const wanted = await this.#deps.interest.amongUsers(service, changed.map(({ userId }) => userId));
    return changed.filter(({ userId }) => wanted.has(userId)).map(({ event }) => event);
  }

  async #receipts(
    service: Appservice,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<{ events: JsonObject[]; position: number }> {
    const { db, appservices, interest } = this.#deps;
    // Positions have no gaps, so that so many of them hold at most so many receipts.
    const end = Math.min(upTo, after + MAX_RECEIPTS);
    if (end <= after) return { events: [], position: upTo };
    const contents = new Map<RoomId, JsonObject>();
    for (const receipt of await selectReceiptsBetween(db, { after, upTo: end, limit: MAX_RECEIPTS })) {
      const { receiptType, userId, roomId } = receipt;
      if (receiptType === "m.read.private" && !appservices.ownsUser(service, userId)) continue;
      if (!await interest.inRoom(service, roomId)) continue;
      const content = contents.get(roomId) ?? {};
      addReceipt(content, receipt);
      contents.set(roomId, content);
    }
    const events = [...contents].map(([roomId, content]) => ({ type: "m.receipt", room_id: roomId, content }));
    return { events, position: end };
  }
}

function addReceipt(content: JsonObject, { eventId, receiptType, userId, ts, threadId }: RoomReceipt): void {
  const byType = (content[eventId] ??= {}) as Record<string, JsonObject>;
  const byUser = byType[receiptType] ??= {};
  byUser[userId] = threadId === "" ? { ts } : { ts, thread_id: threadId };
}
