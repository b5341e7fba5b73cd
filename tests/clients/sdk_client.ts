/** Real clients: matrix-js-sdk with the cryptography in Rust that Element uses. */
import assert from "node:assert/strict";
import {
  ClientEvent,
  ConnectionError,
  createClient,
  Filter,
  type MatrixClient,
  type MatrixEvent,
  MatrixEventEvent,
  PendingEventOrdering,
  Preset,
  type Room,
  RoomEvent,
  RoomMemberEvent,
} from "matrix-js-sdk";
import { type CryptoCallbacks, CryptoEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { type Logger, logger as sdkLogger } from "matrix-js-sdk/lib/logger.js";
import type { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

/** How long one thing may take to happen. Nothing waits that long when it works. */
const WAIT_MS = 60_000;
const TICK_MS = 250;
const TIMELINE_LIMIT = 300;
const NOTHING = () => {};
const SILENT: Logger = {
  ...{ trace: NOTHING, debug: NOTHING, info: NOTHING, warn: NOTHING, error: NOTHING },
  getChild: () => SILENT,
};
// A level would not reach the loggers of its parts, which set their own; what makes their methods does.
const rootLogger = sdkLogger as unknown as { methodFactory: () => () => void; rebuild(): void };
rootLogger.methodFactory = () => NOTHING;
rootLogger.rebuild();

// A stopped client leaves requests behind that nobody waits for.
globalThis.addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof ConnectionError) event.preventDefault();
});

type Maybe<T> = T | null | undefined | false;

/** Everything after which a predicate may have become true. */
const NEWS = [
  ...[ClientEvent.Sync, ClientEvent.Event, ClientEvent.Room, RoomEvent.Timeline, RoomEvent.Redaction],
  ...[RoomEvent.LocalEchoUpdated, RoomEvent.Receipt, RoomMemberEvent.Membership, RoomMemberEvent.Typing],
  ...[MatrixEventEvent.Decrypted, MatrixEventEvent.Replaced, CryptoEvent.UserTrustStatusChanged],
  ...[CryptoEvent.KeyBackupSessionsRemaining],
] as const;

/** What may differ between clients. */
export interface SdkOptions {
  readonly sliding?: (client: MatrixClient) => SlidingSync;
  /** Threads have timelines of their own. */
  readonly threads?: boolean;
  readonly cryptoCallbacks?: CryptoCallbacks;
}

function passwordOf(username: string): string {
  return `secret of ${username}`;
}

/** A user with a running client. */
export class SdkUser implements AsyncDisposable {
  readonly client: MatrixClient;

  private constructor(client: MatrixClient) {
    this.client = client;
  }

  /** Registers a user, logs in, sets up encryption and cross-signing, and starts to sync. */
  static async register(baseUrl: string, username: string, options: SdkOptions = {}): Promise<SdkUser> {
    const body = { username, password: passwordOf(username), auth: { type: "m.login.dummy" } };
    const session = await createClient({ baseUrl, logger: SILENT }).registerRequest(body);
    const user = await SdkUser.#start(baseUrl, session, options);
    await user.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: async (send) => void await send(null) });
    return user;
  }

  /** Logs a user in on another device, which knows nothing yet. */
  static async logIn(baseUrl: string, username: string, options: SdkOptions = {}): Promise<SdkUser> {
    const identifier = { type: "m.id.user", user: username };
    const body = { type: "m.login.password", identifier, password: passwordOf(username) };
    const session = await createClient({ baseUrl, logger: SILENT }).loginRequest(body);
    return await SdkUser.#start(baseUrl, session, options);
  }

  static async #start(
    baseUrl: string,
    session: { user_id: string; device_id?: string; access_token?: string },
    { sliding, threads = false, cryptoCallbacks }: SdkOptions,
  ): Promise<SdkUser> {
    assert.ok(session.access_token !== undefined && session.device_id !== undefined);
    const client = createClient({
      ...(cryptoCallbacks === undefined ? {} : { cryptoCallbacks }),
      baseUrl,
      userId: session.user_id,
      deviceId: session.device_id,
      accessToken: session.access_token,
      logger: SILENT,
      timelineSupport: true,
    });
    await client.initRustCrypto({ useIndexedDB: false });
    // Long enough that no sync of a test leaves a gap.
    const filter = new Filter(session.user_id);
    filter.setTimelineLimit(TIMELINE_LIMIT);
    filter.setUnreadThreadNotifications(threads);
    const slidingSync = sliding === undefined ? {} : { slidingSync: sliding(client) };
    const { Detached } = PendingEventOrdering;
    await client.startClient({ filter, pendingEventOrdering: Detached, threadSupport: threads, ...slidingSync });
    const user = new SdkUser(client);
    await user.until("the first sync", () => client.isInitialSyncComplete());
    return user;
  }

  get id(): string {
    return this.client.getSafeUserId();
  }

  get password(): string {
    return passwordOf(this.client.getUserIdLocalpart() ?? "");
  }

  get crypto(): NonNullable<ReturnType<MatrixClient["getCrypto"]>> {
    const crypto = this.client.getCrypto();
    assert.ok(crypto !== undefined);
    return crypto;
  }

  /** Returns a room that the client knows. */
  room(roomId: string): Room {
    const room = this.client.getRoom(roomId);
    assert.ok(room !== null, `${this.id} does not know ${roomId}`);
    return room;
  }

  /** Resolves as soon as the predicate returns something, looking again after everything that happens to the client. */
  async until<T>(what: string, predicate: () => Maybe<T> | Promise<Maybe<T>>): Promise<T> {
    const news = new Set<() => void>();
    const wake = () => news.forEach((resolve) => resolve());
    for (const name of NEWS) this.client.on(name, wake);
    // Not all that the SDK does after a sync (threads, counts) is an event of the client.
    const ticks = setInterval(wake, TICK_MS);
    const end = performance.now() + WAIT_MS - 10;
    try {
      while (true) {
        const happened = new Promise<void>((resolve) => news.add(resolve));
        const found = await predicate();
        if (found !== null && found !== undefined && found !== false) return found;
        if (performance.now() >= end) {
          const error = this.client.getSyncStateData()?.error;
          assert.fail(`${this.id} (${this.client.getSyncState()}, ${error}) waited in vain for ${what}`);
        }
        await happened;
        news.clear();
      }
    } finally {
      clearInterval(ticks);
      for (const name of NEWS) this.client.off(name, wake);
    }
  }

  /** Returns the events of a room that the client has, in its order. */
  events(roomId: string): MatrixEvent[] {
    return this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
  }

  /** Returns the decrypted texts of a room's messages, in the client's order. */
  texts(roomId: string): string[] {
    return this.events(roomId).filter((event) => event.getType() === "m.room.message" && !event.isRelation())
      .map((event) => String(event.getContent().body));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.client.stopClient();
    return Promise.resolve();
  }
}

/** Makes an encrypted room of two users; both are in it, and know that it is encrypted. Returns its id. */
export async function enterEncryptedRoom(alice: SdkUser, bob: SdkUser): Promise<string> {
  const { room_id: roomId } = await alice.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    invite: [bob.id],
    is_direct: true,
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  });
  await bob.until("the invitation", () => bob.client.getRoom(roomId)?.getMyMembership() === "invite");
  await bob.client.joinRoom(roomId);
  for (const user of [alice, bob]) {
    await user.until("both to be in", () => user.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
    await user.until("encryption", () => user.room(roomId).hasEncryptionStateEvent());
  }
  return roomId;
}
