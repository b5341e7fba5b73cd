/**
 * Messages from the server to its users. Spec: client-server API, "Server Notices".
 *
 * Each user has one room with the notices user, tagged `m.server_notice`. It is made with the first notice and used
 * again for ever: who left is invited again.
 */
import { KeyedMutex } from "../lib/mutex.ts";
import { invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import type { DeviceId, EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { RoomEngine } from "../rooms/engine.ts";
import type { LocalMembership, LocalMemberships } from "../rooms/local_memberships.ts";
import type { RoomFacts } from "../rooms/room_facts.ts";
import type { Requester } from "../rooms/types.ts";
import type { AccountDataService } from "./account_data.ts";

/** The option `server_notices`. */
export interface NoticeSettings {
  readonly noticesUser: UserId;
  readonly roomName: string;
  readonly roomAvatarUrl: string | null;
  readonly roomTopic: string | null;
  /** Users join by themselves. */
  readonly autoJoin: boolean;
}

/** What the service is built from. */
export interface ServerNoticesDeps {
  /** Null when notices are not configured. */
  readonly settings: NoticeSettings | null;
  readonly engine: Pick<RoomEngine, "createRoom" | "invite" | "join" | "localJoinedUsers" | "sendEvent">;
  readonly memberships: LocalMemberships;
  readonly facts: Pick<RoomFacts, "content">;
  readonly accountData: Pick<AccountDataService, "setTag">;
  isLocal(userId: UserId): boolean;
  /** Tells whether there is an account of that id on this server. */
  hasAccount(userId: UserId): Promise<boolean>;
}

/** A notice to send. */
export interface Notice {
  /** Who sends it, as an administrator: transaction ids are theirs. */
  readonly admin: UserId;
  readonly userId: UserId;
  readonly type: string;
  readonly stateKey: string | null;
  readonly content: JsonObject;
  readonly txnId: string | null;
}

const TAG = "m.server_notice";
/** Notices users do not speak in their rooms. */
const MEMBER_LEVEL = -10;
/** Where several rooms fit, the one that the user is in. */
const PREFERENCE: readonly string[] = ["join", "invite", "leave", "knock"];

/** Sends notices. */
export class ServerNotices {
  readonly #deps: ServerNoticesDeps;
  readonly #mutex = new KeyedMutex<UserId>();

  constructor(deps: ServerNoticesDeps) {
    this.#deps = deps;
  }

  /** Sends a notice and returns its event id. Throws 400 when notices are off or the user is of another server. */
  async send({ admin, userId, type, stateKey, content, txnId }: Notice): Promise<EventId> {
    const { settings, engine, isLocal, hasAccount } = this.#deps;
    if (settings === null) throw new MatrixError(400, "M_UNKNOWN", "Server notices are not enabled on this server");
    if (!isLocal(userId)) throw new MatrixError(400, "M_UNKNOWN", "Server notices can only be sent to local users");
    if (!await hasAccount(userId)) throw notFound("User not found");
    if (type === "m.room.member") throw invalidParam("A notice cannot be a membership");
    const roomId = await this.#mutex.run(userId, () => this.#enter(settings, userId));
    const sender = { ...acting(settings.noticesUser), deviceId: `admin:${admin}` as DeviceId };
    return await engine.sendEvent(sender, { roomId, type, stateKey, content, txnId });
  }

  /** Returns the room of a user's notices, or null when there is none. */
  async findRoom(userId: UserId): Promise<RoomId | null> {
    const { settings } = this.#deps;
    return settings === null ? null : (await this.#find(settings, userId))?.roomId ?? null;
  }

  /** Returns the room of a user's notices, in which they are or to which they are invited. */
  async #enter(settings: NoticeSettings, userId: UserId): Promise<RoomId> {
    const { engine } = this.#deps;
    const server = acting(settings.noticesUser);
    const known = await this.#find(settings, userId);
    const roomId = known?.roomId ?? await this.#create(settings, userId);
    if (known !== null) await this.#update(settings, roomId);
    if (known?.membership !== "join" && known?.membership !== "invite") {
      await engine.invite(server, { roomId, userId });
      if (settings.autoJoin) await engine.join(acting(userId), { roomId });
    }
    return roomId;
  }

  async #find({ noticesUser }: NoticeSettings, userId: UserId): Promise<LocalMembership | null> {
    const { memberships, engine } = this.#deps;
    const { joined } = await memberships.forUser(noticesUser);
    const shared = [...(await memberships.forUser(userId)).all.values()].filter(({ roomNid, membership }) =>
      joined.has(roomNid) && PREFERENCE.includes(membership)
    );
    shared.sort((a, b) =>
      PREFERENCE.indexOf(a.membership) - PREFERENCE.indexOf(b.membership) || b.position - a.position
    );
    for (const entry of shared) {
      if ((await engine.localJoinedUsers(entry.roomId)).has(noticesUser)) return entry;
    }
    return null;
  }

  async #create(settings: NoticeSettings, userId: UserId): Promise<RoomId> {
    const { engine, accountData } = this.#deps;
    const { noticesUser, roomName, roomTopic, roomAvatarUrl } = settings;
    const avatar = { type: "m.room.avatar", stateKey: "", content: { url: roomAvatarUrl ?? "" } };
    const roomId = await engine.createRoom(acting(noticesUser), {
      preset: "private_chat",
      isNeverEncrypted: true,
      powerLevelContentOverride: { users_default: MEMBER_LEVEL },
      ...(roomName === "" ? {} : { name: roomName }),
      ...(roomTopic === null ? {} : { topic: roomTopic }),
      ...(roomAvatarUrl === null ? {} : { initialState: [avatar] }),
    });
    await accountData.setTag({ userId, roomId, tag: TAG, content: {} });
    return roomId;
  }

  /** Brings a changed configuration into a room made before. */
  async #update(settings: NoticeSettings, roomId: RoomId): Promise<void> {
    const { engine, facts } = this.#deps;
    const server = acting(settings.noticesUser);
    await engine.join(server, { roomId });
    const wanted = [
      ["m.room.name", "name", settings.roomName],
      ["m.room.topic", "topic", settings.roomTopic ?? ""],
      ["m.room.avatar", "url", settings.roomAvatarUrl ?? ""],
    ] as const;
    for (const [type, key, value] of wanted) {
      const current = (await facts.content(roomId, type))?.[key] ?? "";
      if (current === value) continue;
      await engine.sendEvent(server, { roomId, type, stateKey: "", content: { [key]: value }, txnId: null });
    }
  }
}

/** The user as the server acts for them. */
function acting(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: false, isShadowBanned: false, appserviceId: null };
}
