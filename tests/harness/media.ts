/** A server with the media repository alone: real port, real store, real database, users made directly. */
import { MEDIA_OPTIONS } from "../../src/config/media.ts";
import { readOptions } from "../../src/config/schema.ts";
import { createApp } from "../../src/http/app.ts";
import { mediaRoutes } from "../../src/http/client/media.ts";
import { createHandler, impliedResources } from "../../src/http/handler.ts";
import { Auth } from "../../src/http/middleware/auth.ts";
import { RequestLimits } from "../../src/http/middleware/rate_limit.ts";
import { type Clock, systemClock } from "../../src/lib/clock.ts";
import { consoleRoutes, getLogger, setLogRoutes } from "../../src/lib/log.ts";
import { Media } from "../../src/media/media.ts";
import type { Resolve } from "../../src/media/preview/address_rules.ts";
import type { RemoteMedia } from "../../src/media/remote_media.ts";
import type { DeviceId, ServerName, UserId } from "../../src/protocol/ids.ts";
import { Appservices } from "../../src/services/appservices.ts";
import { LastSeen } from "../../src/services/last_seen.ts";
import { type LimitName, type Limits, RateLimits } from "../../src/services/rate_limits.ts";
import { ActiveUsers } from "../../src/services/active_users.ts";
import { UsageLimits } from "../../src/services/usage_limits.ts";
import { Tokens } from "../../src/services/tokens.ts";
import type { Database } from "../../src/storage/database.ts";
import { insertDevice } from "../../src/storage/devices.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { insertUser } from "../../src/storage/users.ts";
import { noteAnswer } from "./coverage.ts";
import { DIALECTS, type TestDatabase } from "./databases.ts";
import { createTestDatabase } from "./databases.ts";

await setLogRoutes(consoleRoutes("error"));

const NO_LIMIT_OF_USERS = {
  ...{ hsDisabled: false, hsDisabledMessage: "", adminContact: null, limitUsageByMau: false, mauStatsOnly: false },
  ...{ maxMauValue: 0, mauTrialDays: 0, mauAppserviceTrialDays: {}, mauLimitReservedThreepids: [] },
  trackAppserviceUserIps: false,
};

/** The name of the server in tests. */
export const MEDIA_SERVER = "media.test" as ServerName;

/** Longer than by default: a slow machine that tests much at once may take a while to start a child. */
const JOB_TIMEOUT_MS = 300_000;

/** How a test's server differs from the defaults. */
export interface MediaServerOptions {
  /** Options of the section "Media Store" as in the configuration file. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
  readonly remote?: RemoteMedia;
  readonly resolve?: Resolve;
  readonly jobTimeoutMs?: number;
}

/** A user who can call the server. */
export class MediaUser {
  readonly userId: UserId;
  readonly #base: string;
  readonly token: string | null;

  constructor(base: string, { userId, token }: { userId: UserId; token: string | null }) {
    this.userId = userId;
    this.#base = base;
    this.token = token;
  }

  /** Sends a request with the user's token; the path starts with `/_matrix`. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== null) headers.set("authorization", `Bearer ${this.token}`);
    const response = await fetch(this.#base + path, { redirect: "manual", ...init, headers });
    noteAnswer({ method: init.method ?? "GET", path, status: response.status });
    return response;
  }

  /** Uploads bytes and returns the media id. */
  async upload(body: BodyInit, { type = "", name = "" }: { type?: string; name?: string } = {}): Promise<string> {
    const response = await this.fetch(`/_matrix/media/v3/upload?filename=${encodeURIComponent(name)}`, {
      method: "POST",
      body,
      headers: type === "" ? {} : { "content-type": type },
    });
    const answer = await response.json();
    if (response.status !== 200) throw new Error(`upload: ${response.status} ${JSON.stringify(answer)}`);
    return String(answer.content_uri).slice(`mxc://${MEDIA_SERVER}/`.length);
  }

  /** Downloads by the authenticated path. */
  async download(mediaId: string, init: RequestInit = {}): Promise<Response> {
    return await this.fetch(`/_matrix/client/v1/media/download/${MEDIA_SERVER}/${mediaId}`, init);
  }
}

/** A running server. */
export class MediaServer implements AsyncDisposable {
  readonly media: Media;
  readonly db: Database;
  readonly folder: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #tokens: Tokens;
  readonly #test: TestDatabase;

  private constructor(
    parts: { media: Media; db: Database; folder: string; tokens: Tokens; test: TestDatabase },
    server: Deno.HttpServer<Deno.NetAddr>,
  ) {
    this.media = parts.media;
    this.db = parts.db;
    this.folder = parts.folder;
    this.#tokens = parts.tokens;
    this.#test = parts.test;
    this.#server = server;
  }

  /** Starts a server on a fresh database and an empty store. */
  static async start(test: TestDatabase, options: MediaServerOptions = {}): Promise<MediaServer> {
    const { config = {}, clock = systemClock, remote = null, ...rest } = options;
    const db = await openDatabase(test.options);
    const folder = await Deno.makeTempDir({ prefix: "synapse-ts-media-" });
    const report = {
      problem: (path: readonly unknown[], message: string) => {
        throw new Error(`${path.join(".")} ${message}`);
      },
      warning: () => {},
    };
    const settings = readOptions(MEDIA_OPTIONS, { value: config, at: { path: [], report } });
    await using undo = new AsyncDisposableStack();
    undo.use(test);
    undo.defer(() => Deno.remove(folder, { recursive: true }));
    undo.use(db);
    const media = await Media.open({
      db,
      clock,
      serverName: MEDIA_SERVER,
      publicBaseurl: `https://${MEDIA_SERVER}/`,
      settings,
      baseFolder: folder,
      remote,
      jobTimeoutMs: JOB_TIMEOUT_MS,
      ...rest,
    });
    const lifetimes = {
      sessionLifetime: null,
      refreshableAccessTokenLifetime: null,
      refreshTokenLifetime: null,
      nonrefreshableAccessTokenLifetime: null,
    };
    const tokens = new Tokens({ db, clock, lifetimes });
    const appservices = new Appservices({ db, serverName: MEDIA_SERVER, registrations: [], tokens });
    const activeUsers = new ActiveUsers({ db, clock, noticesUser: null, options: NO_LIMIT_OF_USERS });
    const usage = new UsageLimits({
      limitNotices: null,
      consent: null,
      validity: null,
      activeUsers,
      isNoticeRoom: () => Promise.resolve(false),
    });
    const auth = new Auth({ tokens, lastSeen: new LastSeen({ db, clock }), appservices, usage });
    const limits = new RequestLimits(new RateLimits({ limits: everyLimit(), clock }));
    const app = createApp();
    mediaRoutes(app, { auth, limits, ...media });
    const handler = createHandler({ app, clock, log: getLogger("test.media") }, {
      resources: impliedResources(["client"]),
      xForwarded: false,
      requestIdHeader: null,
      name: "test",
    });
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      return handler(request, "127.0.0.1");
    });
    undo.move();
    return new MediaServer({ media, db, folder, tokens, test }, server);
  }

  /** Makes a user and returns a client. */
  async register(localpart: string, { isAdmin = false } = {}): Promise<MediaUser> {
    const userId = `@${localpart}:${MEDIA_SERVER}` as UserId;
    const deviceId = "DEVICE" as DeviceId;
    const token = await this.db.transaction(async (tx) => {
      await insertUser(tx, {
        userId,
        passwordHash: null,
        isGuest: false,
        isAdmin,
        userType: null,
        appserviceId: null,
        createdTs: 0,
      });
      await insertDevice(tx, { userId, deviceId, displayName: null, createdTs: 0 });
      return (await this.#tokens.issue(tx, { userId, deviceId, withRefresh: false })).accessToken;
    });
    return new MediaUser(this.base, { userId, token });
  }

  /** Returns a client without a token. */
  anonymous(): MediaUser {
    return new MediaUser(this.base, { userId: "" as UserId, token: null });
  }

  /** The URL of the server, without a slash at its end. */
  get base(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    await this.media[Symbol.asyncDispose]();
    await this.db[Symbol.asyncDispose]();
    await this.#test[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Registers one test per database; the body starts its server with `start`. */
export function testMedia(
  name: string,
  body: (start: (options?: MediaServerOptions) => Promise<MediaServer>) => Promise<void>,
): void {
  for (const dialect of DIALECTS) {
    Deno.test(`${name} [${dialect}]`, async () => {
      await body(async (options) => await MediaServer.start(await createTestDatabase(dialect), options));
    });
  }
}

function everyLimit(): Limits {
  const limit = { perSecond: 1_000, burstCount: 1_000 };
  return new Proxy({} as Record<LimitName, typeof limit>, { get: () => limit });
}
