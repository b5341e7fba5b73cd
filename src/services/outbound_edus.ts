/** What is told to other servers beside events: EDUs. Spec: server-server API, "EDUs" and the modules that define them. */
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { canonicalJson } from "../protocol/canonical_json.ts";
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomHosts } from "../rooms/room_hosts.ts";
import type { Database, Tx } from "../storage/database.ts";
import { insertFederationEdus, selectDeviceListsFor, selectServersOfUser } from "../storage/federation_outbox.ts";
import type { Receipt } from "../storage/receipts.ts";
import { advanceStream } from "../storage/streams.ts";
import type { DeviceKeysService } from "./device_keys.ts";
import type { PresenceService } from "./presence.ts";
import type { ToDeviceContents } from "./to_device.ts";
import type { TypingChange } from "./typing.ts";

/** Hands EDUs to the sender. */
export interface EduSender {
  wake(servers: Iterable<string>): void;
  sendEphemeral(
    servers: Iterable<string>,
    edu: { readonly key: string; readonly json: string },
    options?: { readonly canWait?: boolean },
  ): void;
}

/** What EDUs are made from. */
export interface OutboundEdusDeps {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly clock: Clock;
  readonly events: EventStore;
  readonly hosts: RoomHosts;
  readonly sender: () => EduSender;
  readonly presence: () => PresenceService;
  readonly deviceKeys: () => DeviceKeysService;
  readonly deviceIds: (userId: UserId) => Promise<readonly string[]>;
  readonly allowDeviceNames: boolean;
}

/** Nobody: sees no key that is only for its owner. */
const NOBODY = "@:" as UserId;

/** Makes EDUs. */
export class OutboundEdus {
  readonly #deps: OutboundEdusDeps;
  /** Changes of presence for other servers, each time for each server. */
  presenceOut = 0;

  constructor(deps: OutboundEdusDeps) {
    this.#deps = deps;
  }

  /** Tells the servers in a room that a user types or stopped. */
  async typing({ roomId, userId, typing }: TypingChange): Promise<void> {
    const content = { room_id: roomId, user_id: userId, typing };
    await this.#toRoom(roomId, { type: "m.typing", key: `${roomId} ${userId}`, content });
  }

  /**
   * Tells the servers in a room what a user read. In rooms with many, most servers can wait to hear that somebody has read
   * an old message; that of its author hears at once.
   */
  async receipt({ roomId, userId, eventId, threadId, ts }: Receipt & { readonly roomId: RoomId }): Promise<void> {
    const data: JsonObject = threadId === "" ? { ts } : { ts, thread_id: threadId };
    const content = { [roomId]: { "m.read": { [userId]: { data, event_ids: [eventId] } } } };
    const edu = { key: `m.receipt ${roomId} ${userId} ${threadId}`, json: eduText("m.receipt", content) };
    const servers = await this.#serversIn(roomId);
    const author = servers.length < MANY_SERVERS ? null : await this.#authorOfOld(eventId as EventId);
    if (author === null) return this.#deps.sender().sendEphemeral(servers, edu);
    this.#deps.sender().sendEphemeral(servers.filter((server) => server === author), edu);
    this.#deps.sender().sendEphemeral(servers.filter((server) => server !== author), edu, { canWait: true });
  }

  /** Returns the server of who sent an event, or null for one that came a short time ago. */
  async #authorOfOld(eventId: EventId): Promise<ServerName | null> {
    const { events, clock } = this.#deps;
    const stored = await events.getById(eventId);
    if (stored === null || clock.now() - stored.receivedTs < RECENT_MS) return null;
    return serverNameOf(stored.event.sender);
  }

  /** Tells the servers that share a room with a user how present they are. */
  async presence(userId: UserId): Promise<void> {
    const content = this.#deps.presence().contentOf(userId);
    if (content === null) return;
    const { db, presence } = this.#deps;
    const servers = await selectServersOfUser(db, { userId, except: presence().excludedRooms });
    const json = eduText("m.presence", { push: [{ ...content, user_id: userId }] });
    this.presenceOut += servers.length;
    this.#deps.sender().sendEphemeral(servers, { key: `presence ${userId}`, json });
  }

  /** Queues messages to devices of users of other servers, in the transaction in which they were accepted. */
  async toDevice(
    tx: Tx,
    { sender, type, messages }: { sender: UserId; type: string; messages: ToDeviceContents },
  ): Promise<void> {
    const byServer = Map.groupBy([...messages], ([userId]) => serverNameOf(userId));
    const first = await advanceStream(tx, "federation", byServer.size);
    const edus = [...byServer].map(([destination, users], index) => {
      const contents = Object.fromEntries(users.map(([userId, devices]) => [userId, Object.fromEntries(devices)]));
      const content = { sender, type, message_id: randomString(32), messages: contents };
      return { destination, position: first + index, json: eduText("m.direct_to_device", content) };
    });
    await insertFederationEdus(tx, edus);
    tx.afterCommit(() => this.#deps.sender().wake(edus.map(({ destination }) => destination)));
  }

  /** Wakes the sender for those who share a room with a user whose devices or keys changed. */
  async deviceListChanged(userId: UserId): Promise<void> {
    this.#deps.sender().wake(await selectServersOfUser(this.#deps.db, { userId }));
  }

  /** Returns the changes of device lists in `(after, upTo]` that concern a server. */
  readonly deviceLists = async (
    server: ServerName,
    { after, upTo, limit }: { after: number; upTo: number; limit: number },
  ): Promise<{ edus: string[]; upTo: number }> => {
    // Each user takes some EDUs: one for each device and one for the keys that sign.
    const users = Math.max(1, Math.floor(limit / EDUS_A_USER));
    const changes = await selectDeviceListsFor(this.#deps.db, { destination: server, after, upTo, limit: users });
    const edus: string[] = [];
    for (const { userId, position } of changes) {
      if (serverNameOf(userId as UserId) !== this.#deps.serverName) continue;
      edus.push(...await this.#listOf(userId as UserId, position));
    }
    const last = changes.at(-1);
    const reached = changes.length < users || last === undefined ? upTo : last.position;
    return { edus: edus.slice(0, limit), upTo: reached };
  };

  /**
   * One update for a user, which builds on something that nobody has: whoever keeps the list fetches it anew. Several
   * changes may be one, and devices that are gone leave no trace here, so there is no better one to be made.
   */
  async #listOf(userId: UserId, position: number): Promise<string[]> {
    const answer = await this.#deps.deviceKeys().query(NOBODY, new Map([[userId, []]]));
    const devices = (answer["device_keys"] as Record<string, Record<string, JsonObject>>)[userId] ?? {};
    const [[deviceId, device] = [await this.#deviceWithoutKeys(userId), null]] = Object.entries(devices);
    const { unsigned = {}, ...keys } = device ?? {};
    const name = (unsigned as JsonObject)["device_display_name"];
    const update: JsonObject = {
      user_id: userId,
      device_id: deviceId,
      stream_id: position * 2,
      prev_id: [position * 2 - 1],
      ...(device === null ? {} : { keys }),
      ...(deviceId === NO_DEVICE ? { deleted: true } : {}),
      ...(this.#deps.allowDeviceNames && typeof name === "string" ? { device_display_name: name } : {}),
    };
    const edus = [eduText("m.device_list_update", update)];
    const master = (answer["master_keys"] as JsonObject)[userId];
    const selfSigning = (answer["self_signing_keys"] as JsonObject)[userId];
    if (master === undefined && selfSigning === undefined) return edus;
    const content: JsonObject = { user_id: userId };
    if (master !== undefined) content["master_key"] = master;
    if (selfSigning !== undefined) content["self_signing_key"] = selfSigning;
    return [...edus, eduText("m.signing_key_update", content)];
  }

  async #deviceWithoutKeys(userId: UserId): Promise<string> {
    const [first = NO_DEVICE] = await this.#deps.deviceIds(userId);
    return first;
  }

  async #toRoom(
    roomId: RoomId,
    { type, key, content }: { type: string; key: string; content: JsonObject },
  ): Promise<void> {
    const servers = await this.#serversIn(roomId);
    this.#deps.sender().sendEphemeral(servers, { key: `${type} ${key}`, json: eduText(type, content) });
  }

  async #serversIn(roomId: RoomId): Promise<ServerName[]> {
    const { hosts, serverName } = this.#deps;
    return [...(await hosts.inRoom(roomId)).keys()].filter((server) => server !== serverName);
  }
}

const EDUS_A_USER = 2;
/** In rooms with fewer servers, receipts are sent at once. As in Synapse. */
const MANY_SERVERS = 10;
const RECENT_MS = 60_000;
/** Stands for the devices of a user who has none left. */
const NO_DEVICE = "NONE";

function eduText(type: string, content: JsonObject): string {
  return canonicalJson({ content, edu_type: type }, { lax: true });
}
