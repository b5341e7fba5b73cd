/**
 * A real server on a real port with a real database, in the test's own process.
 *
 *     testEachServer("a message reaches the others", async (database) => {
 *       await using hs = await TestServer.start({ database });
 *       const [alice, bob] = await hs.register("alice", "bob");
 *       …
 *     });
 */
import { createHmac, randomBytes } from "node:crypto";
import { parse } from "yaml";
import { defaultConfig } from "../../src/config/load.ts";
import type { Dns } from "../../src/federation/dns.ts";
import type { Clock } from "../../src/lib/clock.ts";
import { consoleRoutes, setLogRoutes } from "../../src/lib/log.ts";
import { type RunningServer, startServer } from "../../src/server.ts";
import type { Database } from "../../src/storage/database.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { type Account, Caller, TestClient } from "./client.ts";
import { createTestDatabase, DIALECTS, type TestDatabase } from "./databases.ts";
import { recordCoverage } from "./coverage.ts";
import { checkResponses } from "./response_check.ts";

checkResponses();
recordCoverage();
await setLogRoutes(consoleRoutes("critical"));

/** The name of the server in tests. */
export const SERVER_NAME = "hs.test";
/** The shared secret of test servers. */
export const SHARED_SECRET = "test-shared-secret";

const NO_RATE_LIMITS: Readonly<Record<string, unknown>> = parse(
  await Deno.readTextFile(new URL("../fixtures/no_rate_limits.yaml", import.meta.url)),
);
const PASSWORD = "correct horse battery staple";

/** How a test's server differs from the usual one. */
export interface TestServerOptions {
  readonly database: TestDatabase;
  /** Options as in the configuration file. Rate limits are off unless given here. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
  /** `SERVER_NAME` unless given. */
  readonly serverName?: string;
  /** Resolves the names of other servers. */
  readonly dns?: Dns;
}

/** What all names give: a tuple as long as the list of names. */
export type Clients<Names extends readonly string[]> = { readonly [K in keyof Names]: TestClient };

/** Registers one test per dialect; the body gets a fresh database to start servers on. */
export function testEachServer(name: string, body: (database: TestDatabase) => Promise<void>): void {
  for (const dialect of DIALECTS) {
    Deno.test(`${name} [${dialect}]`, async () => {
      await using database = await createTestDatabase(dialect);
      await body(database);
    });
  }
}

/** A running server. */
export class TestServer implements AsyncDisposable {
  readonly #options: TestServerOptions;
  readonly #signingKey: string;
  readonly #http = Deno.createHttpClient({});
  readonly #folder: string;
  #running: Running;

  private constructor(
    options: TestServerOptions,
    { running, signingKey, folder }: { running: Running; signingKey: string; folder: string },
  ) {
    this.#options = options;
    this.#running = running;
    this.#signingKey = signingKey;
    this.#folder = folder;
  }

  /** Starts a server. */
  static async start(options: TestServerOptions): Promise<TestServer> {
    const signingKey = `ed25519 a_test ${randomBytes(32).toString("base64").replace(/=+$/, "")}`;
    const folder = await Deno.makeTempDir({ prefix: "synapse-ts-hs-" });
    const running = await launch(options, { signingKey, folder });
    return new TestServer(options, { running, signingKey, folder });
  }

  /** The server's address, without a slash at the end. */
  get base(): string {
    const [address] = this.#running.server.addresses;
    if (address === undefined) throw new Error("The server listens nowhere");
    return address;
  }

  /** The running server's parts, for what cannot be seen from outside. */
  get parts(): RunningServer["parts"] {
    return this.#running.server.parts;
  }

  /** A caller without an account. */
  get anyone(): Caller {
    return new Caller(this.base, { http: this.#http, accessToken: null });
  }

  /** Stops the server and starts it on the same database, with empty caches and on another port. */
  async restart(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await stop(this.#running);
    const options = { ...this.#options, config: { ...this.#options.config, ...config } };
    this.#running = await launch(options, { signingKey: this.#signingKey, folder: this.#folder });
  }

  /** Registers users and logs them in. */
  async register<const Names extends readonly string[]>(...names: Names): Promise<Clients<Names>> {
    const clients: TestClient[] = [];
    for (const username of names) {
      const body = { username, password: PASSWORD, auth: { type: "m.login.dummy" } };
      clients.push(this.#client(await this.anyone.ok("POST", "/register", { body })));
    }
    return clients as unknown as Clients<Names>;
  }

  /** Logs a user in whose password is the one of tests. */
  async logIn(name: string): Promise<TestClient> {
    const identifier = { type: "m.id.user", user: name };
    return this.#client(await this.anyone.post("/login", { type: "m.login.password", identifier, password: PASSWORD }));
  }

  /** Registers a server administrator. */
  async registerAdmin(name: string): Promise<TestClient> {
    const { nonce } = await this.anyone.ok("GET", "/_synapse/admin/v1/register");
    const mac = createHmac("sha1", SHARED_SECRET).update([nonce, name, PASSWORD, "admin"].join("\0")).digest("hex");
    const body = { nonce, username: name, password: PASSWORD, admin: true, mac };
    return this.#client(await this.anyone.ok("POST", "/_synapse/admin/v1/register", { body }));
  }

  /** Registers a guest; `allow_guest_access` must be on. */
  async registerGuest(): Promise<TestClient> {
    return this.#client(await this.anyone.ok("POST", "/register?kind=guest", { body: {} }));
  }

  /** Returns the same user as they are after a restart: same token, new port. */
  again(client: TestClient): TestClient {
    const { userId, deviceId, password, accessToken } = client;
    const account = { userId, deviceId, password, accessToken: accessToken ?? "" };
    const renewed = new TestClient(this.base, { http: this.#http, account });
    renewed.since = client.since;
    return renewed;
  }

  /** Stops the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.close();
    await stop(this.#running);
    await Deno.remove(this.#folder, { recursive: true });
  }

  #client(session: { user_id: string; device_id: string; access_token: string }): TestClient {
    const account: Account = {
      userId: session.user_id,
      deviceId: session.device_id,
      accessToken: session.access_token,
      password: PASSWORD,
    };
    return new TestClient(this.base, { http: this.#http, account });
  }
}

interface Running {
  readonly server: RunningServer;
  readonly db: Database;
}

async function stop({ server, db }: Running): Promise<void> {
  await server.stop();
  await db[Symbol.asyncDispose]();
}

async function launch(
  { database, config = {}, clock, serverName = SERVER_NAME, dns }: TestServerOptions,
  { signingKey, folder }: { signingKey: string; folder: string },
): Promise<Running> {
  const values = defaultConfig(serverName, {
    ...NO_RATE_LIMITS,
    enable_registration: true,
    enable_registration_without_verification: true,
    registration_shared_secret: SHARED_SECRET,
    bcrypt_rounds: 4,
    signing_key: signingKey,
    media_store_path: `${folder}/media_store`,
    listeners: [{ port: 0, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation"] }] }],
    ...config,
  });
  const db = await openDatabase(database.options, { serverName: values.serverName });
  try {
    const overrides = { database: db, ...(clock && { clock }), ...(dns && { dns }) };
    return { db, server: await startServer(values, overrides) };
  } catch (error) {
    await db[Symbol.asyncDispose]();
    throw error;
  }
}
