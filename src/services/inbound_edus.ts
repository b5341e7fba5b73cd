/** What other servers tell beside events: EDUs. Spec: server-server API, "EDUs" and the modules that define them. */
import {
  type EventId,
  isStorable,
  parseEventId,
  parseRoomId,
  parseUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import type { Clock } from "../lib/clock.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { ServerAcls } from "../rooms/server_acls.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Database } from "../storage/database.ts";
import { selectPartialRoom } from "../storage/partial_rooms.ts";
import { filterUsersInOurRooms, insertReceivedToDevice } from "../storage/received_transactions.ts";
import { userOf } from "./federation_inbox.ts";
import { PRESENCE_STATES, type PresenceService } from "./presence.ts";
import type { ReceiptsService } from "./receipts.ts";
import type { RemoteDevices } from "./remote_devices.ts";
import type { ToDeviceService } from "./to_device.ts";
import type { TypingService } from "./typing.ts";

/** What EDUs are handed to. */
export interface InboundEdusDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly acls: ServerAcls;
  readonly typing: TypingService;
  readonly receipts: ReceiptsService;
  readonly presence: PresenceService;
  readonly toDevice: ToDeviceService;
  readonly remoteDevices: RemoteDevices;
}

type Handler = (origin: ServerName, content: JsonObject) => Promise<void>;

/** Another server's timeouts are not known: a user who does not go on typing has stopped. */
const TYPING_TIMEOUT_MS = 60_000;
const MAX_RECEIPTS = 1_000;
const MAX_PRESENCE = 1_000;
/** As for users of this server. */
const MAX_STATUS_LENGTH = 4_096;
const MAX_MESSAGE_ID_LENGTH = 255;
const MAX_EVENT_ID_LENGTH = 255;

/** Hands EDUs to the services. What does not belong to the server that sends it is passed over. */
export class InboundEdus {
  readonly #deps: InboundEdusDeps;
  readonly #handlers: ReadonlyMap<string, Handler>;

  constructor(deps: InboundEdusDeps) {
    this.#deps = deps;
    this.#handlers = new Map<string, Handler>([
      ["m.typing", (origin, content) => this.#typing(origin, content)],
      ["m.receipt", (origin, content) => this.#receipts(origin, content)],
      ["m.presence", (origin, content) => this.#presence(origin, content)],
      ["m.direct_to_device", (origin, content) => this.#toDevice(origin, content)],
      ["m.device_list_update", (origin, content) => deps.remoteDevices.update(origin, content)],
      ["m.signing_key_update", (origin, content) => deps.remoteDevices.updateSigningKeys(origin, content)],
      ["org.matrix.signing_key_update", (origin, content) => deps.remoteDevices.updateSigningKeys(origin, content)],
    ]);
  }

  /** Takes in one EDU; types that are not known are passed over. */
  async receive(origin: ServerName, { type, content }: { type: string; content: JsonObject }): Promise<void> {
    await this.#handlers.get(type)?.(origin, content);
  }

  async #typing(origin: ServerName, content: JsonObject): Promise<void> {
    const userId = userOf(origin, content["user_id"]);
    const roomId = roomOf(content["room_id"]);
    if (userId === null || roomId === null || !await this.#isMember({ origin, roomId, userId })) return;
    const typing = content["typing"] === true;
    await this.#deps.typing.set({ roomId, userId, typing, timeoutMs: TYPING_TIMEOUT_MS });
  }

  async #receipts(origin: ServerName, content: JsonObject): Promise<void> {
    let left = MAX_RECEIPTS;
    for (const [roomText, byType] of Object.entries(content)) {
      const roomId = roomOf(roomText);
      const reads = isJsonObject(byType) ? byType["m.read"] : undefined;
      const room = roomId === null ? null : await this.#deps.events.roomById(roomId);
      if (roomId === null || room === null || !isJsonObject(reads)) continue;
      for (const [userText, value] of Object.entries(reads)) {
        const userId = userOf(origin, userText);
        if (left-- <= 0) return;
        if (userId === null || !isJsonObject(value) || !await this.#isMember({ origin, roomId, userId })) continue;
        const receipt = readReceipt(value, this.#deps.clock.now());
        if (receipt !== null && await this.#isThread(receipt.threadId)) {
          await this.#deps.receipts.receive({ userId, roomId, roomNid: room.roomNid, ...receipt });
        }
      }
    }
  }

  /** A receipt is kept for each thread: those that nobody here can see would be any number. */
  async #isThread(threadId: string | null): Promise<boolean> {
    if (threadId === null || threadId === "main") return true;
    const eventId = parseEventId(threadId);
    return eventId !== null && await this.#deps.events.getById(eventId) !== null;
  }

  async #presence(origin: ServerName, content: JsonObject): Promise<void> {
    const push = Array.isArray(content["push"]) ? content["push"].slice(0, MAX_PRESENCE) : [];
    const told = push.flatMap((entry) => {
      const userId = isJsonObject(entry) ? userOf(origin, entry["user_id"]) : null;
      return userId === null || !isJsonObject(entry) ? [] : [{ userId, entry }];
    });
    // Nobody here can see the others, of whom a server could make up any number.
    const known = await filterUsersInOurRooms(this.#deps.db, told.map(({ userId }) => userId));
    for (const { userId, entry } of told) {
      const state = PRESENCE_STATES.find((name) => name === entry["presence"]);
      if (!known.has(userId) || state === undefined) continue;
      const { status_msg: statusMsg, last_active_ago: ago } = entry;
      await this.#deps.presence.receive({
        ...{ userId, state },
        statusMsg: typeof statusMsg === "string" && statusMsg.length <= MAX_STATUS_LENGTH ? statusMsg : null,
        lastActiveAgoMs: typeof ago === "number" && ago >= 0 ? ago : null,
      });
    }
  }

  async #toDevice(origin: ServerName, content: JsonObject): Promise<void> {
    const sender = userOf(origin, content["sender"]);
    const { type, message_id: messageId, messages } = content;
    if (sender === null || typeof type !== "string" || typeof messageId !== "string" || !isJsonObject(messages)) return;
    if (messageId.length > MAX_MESSAGE_ID_LENGTH) return;
    const { db, clock, toDevice } = this.#deps;
    const contents = readMessages(messages);
    await db.transaction(async (tx) => {
      const isNew = await insertReceivedToDevice(tx, { origin, messageId, receivedTs: clock.now() });
      if (isNew) await toDevice.receive(tx, { sender, type, messages: contents });
    });
  }

  async #isMember(
    { origin, roomId, userId }: { origin: ServerName; roomId: RoomId; userId: UserId },
  ): Promise<boolean> {
    const { state, acls } = this.#deps;
    const root = await state.currentRoot(roomId);
    if (root === null || !await acls.isAllowed(roomId, origin)) return false;
    const member = await state.get(root, "m.room.member", userId);
    if (member !== null) return member.event.content["membership"] === "join";
    // While a room's members are not all here, its servers are believed (MSC3902).
    const room = await this.#deps.events.roomById(roomId);
    const partial = room === null ? null : await selectPartialRoom(this.#deps.db, room.roomNid);
    return partial !== null && partial.servers.includes(origin);
  }
}

function roomOf(value: JsonValue | undefined): RoomId | null {
  return typeof value === "string" ? parseRoomId(value) : null;
}

function readReceipt(
  { data, event_ids: eventIds }: JsonObject,
  now: number,
): { eventId: EventId; threadId: string | null; ts: number } | null {
  const [first] = Array.isArray(eventIds) ? eventIds : [];
  // As Synapse does, what is no id of an event is passed on too: clients know what they have not seen anyhow, and
  // Complement's "CanReceiveReceiptDuringPartialStateJoin" sends one. https://github.com/matrix-org/complement
  if (typeof first !== "string" || first === "" || !isStorable(first, MAX_EVENT_ID_LENGTH)) return null;
  const { ts, thread_id: threadId } = isJsonObject(data) ? data : {};
  return {
    eventId: first as EventId,
    threadId: typeof threadId === "string" && threadId.length <= 255 && threadId !== "" ? threadId : null,
    ts: typeof ts === "number" && Number.isSafeInteger(ts) ? ts : now,
  };
}

function readMessages(messages: JsonObject): Map<UserId, Map<string, JsonObject>> {
  const found = new Map<UserId, Map<string, JsonObject>>();
  for (const [userText, byDevice] of Object.entries(messages)) {
    const userId = parseUserId(userText);
    if (userId === null || !isJsonObject(byDevice)) continue;
    found.set(
      userId,
      new Map(Object.entries(byDevice).filter((entry): entry is [string, JsonObject] => isJsonObject(entry[1]))),
    );
  }
  return found;
}
