/**
 * What users keep about a room goes with it when it is replaced: push rules, tags, its place among direct chats.
 *
 * It is carried over when the old room gets its tombstone, for all local members, and when somebody comes to the new room
 * later. Both rooms must name each other: else anybody could make a room that inherits from another.
 */
import { parseRoomId, type RoomId, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import { membershipIn } from "../rooms/member_content.ts";
import type { PersistedBatch } from "../rooms/pending.ts";
import type { RoomFacts } from "../rooms/room_facts.ts";
import type { Tx } from "../storage/database.ts";
import { insertSuccession, type RoomSuccession } from "../storage/room_successions.ts";
import type { AccountDataService } from "./account_data.ts";
import type { PushRulesService } from "./push_rules.ts";

/** What the service is built from. */
export interface RoomSuccessionsDeps {
  readonly accountData: AccountDataService;
  readonly pushRules: PushRulesService;
  readonly facts: () => Pick<RoomFacts, "content">;
  readonly memberships: () => LocalMemberships;
  localJoined(roomId: RoomId): Promise<ReadonlySet<UserId>>;
  /** Starts the work after the commit. */
  onRecorded(): void;
}

const DIRECT = "m.direct";

/** Notes and carries out successions. */
export class RoomSuccessions {
  readonly #deps: RoomSuccessionsDeps;

  constructor(deps: RoomSuccessionsDeps) {
    this.#deps = deps;
  }

  /** Notes what a batch makes necessary. Runs in the transaction that writes it. */
  async record(tx: Tx, batch: PersistedBatch): Promise<void> {
    const { roomId } = batch.room;
    const found: RoomSuccession[] = [];
    for (const { stateKey, after } of batch.events.flatMap(({ deltas }) => deltas.ofType("m.room.tombstone"))) {
      const newRoomId = stateKey === "" ? roomIdIn(after?.event.content.replacement_room) : null;
      if (newRoomId !== null) found.push({ oldRoomId: roomId, newRoomId, userId: null });
    }
    for (const { stateKey, before, after } of batch.events.flatMap(({ deltas }) => deltas.localMembers)) {
      if (membershipIn(after) !== "join" || membershipIn(before) === "join") continue;
      const oldRoomId = predecessorIn(createIn(batch) ?? await this.#deps.facts().content(roomId, "m.room.create"));
      if (oldRoomId !== null) found.push({ oldRoomId, newRoomId: roomId, userId: stateKey as UserId });
    }
    if (found.length === 0) return;
    for (const succession of found) await insertSuccession(tx, succession);
    tx.afterCommit(() => this.#deps.onRecorded());
  }

  /** Carries a succession out, if the rooms agree about it. */
  async carry({ oldRoomId, newRoomId, userId }: RoomSuccession): Promise<void> {
    const facts = this.#deps.facts();
    const tombstone = await facts.content(oldRoomId, "m.room.tombstone");
    const create = await facts.content(newRoomId, "m.room.create");
    if (tombstone?.replacement_room !== newRoomId || predecessorIn(create) !== oldRoomId) return;
    const users = userId === null ? [...await this.#deps.localJoined(oldRoomId)] : [userId];
    for (const user of users) {
      if (userId !== null && !await this.#wasIn(user, oldRoomId)) continue;
      await this.#carryFor(user, { from: oldRoomId, to: newRoomId });
    }
  }

  async #wasIn(userId: UserId, roomId: RoomId): Promise<boolean> {
    const { all } = await this.#deps.memberships().forUser(userId);
    return [...all.values()].some((entry) => entry.roomId === roomId);
  }

  async #carryFor(userId: UserId, { from, to }: { from: RoomId; to: RoomId }): Promise<void> {
    const { pushRules, accountData } = this.#deps;
    await pushRules.copyRoomRules({ userId, from, to });
    const tags = Object.entries(await accountData.tags({ userId, roomId: from }));
    if (tags.length > 0) {
      const own = await accountData.tags({ userId, roomId: to });
      for (const [tag, content] of tags) {
        if (tag in own || !isJsonObject(content)) continue;
        await accountData.setTag({ userId, roomId: to, tag, content });
      }
    }
    const direct = await accountData.read({ userId, roomId: null, type: DIRECT });
    if (direct === null || withReplacement(direct, { from, to }) === null) return;
    await accountData.update(
      { userId, roomId: null, type: DIRECT },
      (old) => withReplacement(old, { from, to }) ?? old,
    );
  }
}

/** Returns the direct chats with the new room beside the old one; null where there is nothing to add. */
function withReplacement(direct: JsonObject, { from, to }: { from: RoomId; to: RoomId }): JsonObject | null {
  const entries = Object.entries(direct).map(([userId, rooms]): [string, typeof rooms] =>
    Array.isArray(rooms) && rooms.includes(from) && !rooms.includes(to) ? [userId, [...rooms, to]] : [userId, rooms]
  );
  const isChanged = entries.some(([userId, rooms]) => direct[userId] !== rooms);
  return isChanged ? Object.fromEntries(entries) : null;
}

/** Returns what the create event says that comes into the room's state: of a new room, or of one that is entered. */
function createIn({ events }: PersistedBatch): Readonly<JsonObject> | null {
  const create = events.flatMap(({ deltas }) => deltas.ofType("m.room.create")).find(({ stateKey }) => stateKey === "");
  return create?.after?.event.content ?? null;
}

function predecessorIn(create: Readonly<JsonObject> | null): RoomId | null {
  return isJsonObject(create?.predecessor) ? roomIdIn(create.predecessor.room_id) : null;
}

function roomIdIn(value: unknown): RoomId | null {
  return typeof value === "string" ? parseRoomId(value) : null;
}
