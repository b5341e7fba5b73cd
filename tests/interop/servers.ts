/**
 * A Synapse and a server of ours, each a process of its own, that federate over TLS on loopback. Their names are
 * addresses with ports, so that neither needs a resolver; an authority made for the run signs their certificates.
 */
import { join } from "node:path";
import { ownProgram, type Program, type Server, start, synapseProgram } from "../../bench/servers.ts";
import { CA_PATH, makeCertificate } from "../federation/certificates.ts";
import { type Account, TestClient } from "../harness/client.ts";
import { freePort } from "../harness/ports.ts";
import { runProcess } from "../harness/process.ts";

const NO_RATE_LIMITS = new URL("../fixtures/no_rate_limits.yaml", import.meta.url);
const PASSWORD = "correct horse battery staple";
const http = Deno.createHttpClient({});

interface StartOptions {
  readonly kind: string;
  readonly program: Program;
  readonly folder: string;
  readonly address: string;
  /** The option `database`. */
  readonly database: unknown;
}

/** A homeserver of either kind. */
export class HomeServer implements AsyncDisposable {
  /** What it is: "ours" or "Synapse". */
  readonly kind: string;
  /** Its name in Matrix. */
  readonly name: string;
  readonly folder: string;
  /** Its address: each has its own, because access lists of rooms do not tell ports apart. */
  readonly address: string;
  readonly #program: Program;
  readonly #port: number;
  #running: Server | null = null;
  #users = 0;

  private constructor({ kind, name, folder, address, program, port }: StartOptions & { name: string; port: number }) {
    this.kind = kind;
    this.name = name;
    this.folder = folder;
    this.address = address;
    this.#program = program;
    this.#port = port;
  }

  /** Configures a server in a folder and starts it. */
  static async start(options: StartOptions): Promise<HomeServer> {
    const { kind, program, folder, address, database } = options;
    const [port, federationPort] = [freePort(), freePort()];
    await Deno.mkdir(folder, { recursive: true });
    const { code, stdout, stderr } = await runProcess(program.command, { args: program.generate, cwd: folder });
    if (code !== 0) throw new Error(`${kind} did not write its configuration:\n${stdout}${stderr}`);
    const { cert, key } = await makeCertificate(`IP:${address}`);
    await Deno.writeTextFile(join(folder, "tls.crt"), cert);
    await Deno.writeTextFile(join(folder, "tls.key"), key);
    const name = `${address}:${federationPort}`;
    await Deno.writeTextFile(
      join(folder, "over.yaml"),
      configuration({ folder, address, name, port, federationPort, database }),
    );
    await Deno.copyFile(NO_RATE_LIMITS, join(folder, "no_limits.yaml"));
    const server = new HomeServer({ ...options, name, port });
    await server.resume();
    return server;
  }

  /** Where clients find it. */
  get base(): string {
    return `http://${this.address}:${this.#port}`;
  }

  /** Registers a user under a name of their own. */
  async register(localpart: string): Promise<TestClient> {
    const body = { username: `${localpart}${++this.#users}`, password: PASSWORD, auth: { type: "m.login.dummy" } };
    const response = await fetch(`${this.base}/_matrix/client/v3/register`, {
      method: "POST",
      body: JSON.stringify(body),
      client: http,
    });
    const session = await response.json();
    if (response.status !== 200) throw new Error(`${this.kind} did not register a user: ${JSON.stringify(session)}`);
    const { user_id: userId, device_id: deviceId, access_token: accessToken } = session;
    return this.client({ userId, deviceId, accessToken, password: PASSWORD });
  }

  /** Returns a client that goes on with a session of a user. */
  client(account: Account): TestClient {
    return new TestClient(this.base, { http, account });
  }

  /** Ends the server as an operator does. */
  async pause(): Promise<void> {
    await this.#running?.process.stop();
    this.#running = null;
  }

  /** Ends the server at once, as a failure of power does to it. */
  async kill(): Promise<void> {
    await this.#running?.process.kill();
    this.#running = null;
  }

  /** Starts the server again. */
  async resume(): Promise<void> {
    this.#running ??= await start(this.#program, { folder: this.folder, port: this.#port, address: this.address });
  }

  /** Changes the configuration; it counts from the next start. */
  async configure(options: Readonly<Record<string, unknown>>): Promise<void> {
    const path = join(this.folder, "over.yaml");
    const before = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify({ ...before, ...options }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pause();
  }
}

/** The two servers of a run. */
export interface Pair extends AsyncDisposable {
  readonly ours: HomeServer;
  readonly synapse: HomeServer;
}

/** Starts the two servers below a folder; ours on the PostgreSQL at that address, or else on SQLite, as Synapse is. */
export async function startPair(
  { venv, folder, postgresUrl }: { venv: string; folder: string; postgresUrl: string | null },
): Promise<Pair> {
  const sqliteIn = (name: string) => ({ name: "sqlite3", args: { database: join(folder, name, "homeserver.db") } });
  const ours = await HomeServer.start({
    ...{ kind: "ours", program: ownProgram(undefined), folder: join(folder, "ours"), address: "127.0.0.1" },
    database: postgresUrl === null ? sqliteIn("ours") : postgresAt(postgresUrl),
  });
  const synapse = await HomeServer.start({
    ...{ kind: "Synapse", program: synapseProgram(venv), folder: join(folder, "synapse"), address: "127.0.0.2" },
    database: sqliteIn("synapse"),
  });
  return {
    ours,
    synapse,
    async [Symbol.asyncDispose]() {
      await Promise.all([ours.pause(), synapse.pause()]);
      http.close();
    },
  };
}

function postgresAt(text: string): unknown {
  const { hostname: host, port, username: user, pathname } = new URL(text);
  return { name: "psycopg2", args: { host, port: Number(port), user, database: pathname.slice(1) } };
}

/** Both servers know these options by the same names. */
function configuration({ folder, address, name, port, federationPort, database }: {
  folder: string;
  address: string;
  name: string;
  port: number;
  federationPort: number;
  database: unknown;
}): string {
  const listener = { type: "http", bind_addresses: [address] };
  return JSON.stringify({
    server_name: name,
    public_baseurl: `http://${address}:${port}/`,
    listeners: [
      { ...listener, port, tls: false, resources: [{ names: ["client"] }] },
      { ...listener, port: federationPort, tls: true, resources: [{ names: ["federation"] }] },
    ],
    tls_certificate_path: join(folder, "tls.crt"),
    tls_private_key_path: join(folder, "tls.key"),
    federation_custom_ca_list: [CA_PATH],
    ip_range_blacklist: [],
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    database,
    media_store_path: join(folder, "media"),
    enable_registration: true,
    enable_registration_without_verification: true,
    allow_public_rooms_over_federation: true,
    room_list_publication_rules: [{ action: "allow" }],
    bcrypt_rounds: 4,
    presence: { enabled: true },
    federation: {
      destination_min_retry_interval: 500,
      destination_max_retry_interval: 1_000,
      client_timeout: 30_000,
      max_long_retry_delay: 1_000,
      max_short_retry_delay: 500,
      max_long_retries: 3,
    },
  });
}
