/** The server ends in order, whatever is under way. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createEmptyDatabase, DIALECTS } from "../harness/databases.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { databaseOption } from "../operator/operator.ts";
import { commandFolder, programArgs } from "./command_line.ts";

/** The server gives up by itself before; this only keeps a server that hangs from holding the test. */
const GRACE_MS = 60_000;
const SECRET = "stop-test-secret";

/** A server that takes connections and never answers. */
class SilentServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections: Deno.Conn[] = [];
  readonly #accepting: Promise<void>;
  /** Resolves when somebody has connected. */
  readonly reached: Promise<void>;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.reached = promise;
    this.#accepting = (async () => {
      for await (const connection of this.#listener) {
        this.#connections.push(connection);
        resolve();
      }
    })();
  }

  get name(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) connection.close();
    await this.#accepting;
  }
}

for (const dialect of DIALECTS) {
  Deno.test(`SIGTERM ends a server with long-polls, uploads and transactions under way [${dialect}]`, async () => {
    await using database = await createEmptyDatabase(dialect);
    await using folder = await commandFolder();
    await using peer = new SilentServer();
    const port = freePort();
    await folder.run(["generate-config", "--server-name", "hs.test"]);
    const config = {
      database: databaseOption(database),
      ip_range_blacklist: [],
      trusted_key_servers: [],
      registration_shared_secret: SECRET,
      listeners: [{ port, bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "federation", "metrics"] }] }],
      enable_metrics: true,
    };
    await folder.write("test.yaml", JSON.stringify(config));
    const args = programArgs(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
    await using server = new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env: { NO_COLOR: "1" } });
    await server.waitFor(/serves hs\.test on/);
    const { token, call } = await register(`http://127.0.0.1:${port}`);

    const { next_batch } = await call("GET", "/_matrix/client/v3/sync?timeout=0");
    const poll = call("GET", `/_matrix/client/v3/sync?timeout=600000&since=${next_batch}`);
    const upload = startUpload(port, token);
    await call("PUT", "/_matrix/client/v3/sendToDevice/m.test/1", {
      messages: { [`@bob:${peer.name}`]: { "*": {} } },
    });
    await Promise.all([peer.reached, (await upload).isUnderWay]);
    await untilSomebodyWaits(port);

    assert.equal(await server.stop({ graceMs: GRACE_MS }), 0, server.stderr);
    assert.match(await folder.read("homeserver.log"), /Server stopped\n$/);
    // Who waited is answered, and comes back to the next server with what they got.
    assert.equal(typeof (await poll).next_batch, "string");
    await (await upload).ended;
  });
}

/** Waits until a long-poll waits in the server. */
async function untilSomebodyWaits(port: number): Promise<void> {
  const end = performance.now() + GRACE_MS;
  for (;;) {
    const text = await (await fetch(`http://127.0.0.1:${port}/_synapse/metrics`)).text();
    if (/^synapse_notifier_listeners\{server_name="hs\.test"\} 1$/m.test(text)) return;
    assert.ok(performance.now() < end, text);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

type Call = (method: string, path: string, body?: unknown) => Promise<Record<string, unknown>>;

async function register(base: string): Promise<{ token: string; call: Call }> {
  let token = "";
  const call: Call = async (method, path, body) => {
    const response = await fetch(base + path, {
      method,
      headers: token === "" ? {} : { authorization: `Bearer ${token}` },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };
  const { nonce } = await call("GET", "/_synapse/admin/v1/register");
  const mac = createHmac("sha1", SECRET).update([nonce, "alice", "secret", "notadmin"].join("\0")).digest("hex");
  const body = { nonce, username: "alice", password: "secret", admin: false, mac };
  token = String((await call("POST", "/_synapse/admin/v1/register", body)).access_token);
  return { token, call };
}

interface Upload {
  /** Resolves once the server has taken more than any buffer between holds. */
  readonly isUnderWay: Promise<void>;
  /** Resolves when the server has closed the connection. */
  readonly ended: Promise<void>;
}

/** Begins an upload that goes on until the server ends it. */
async function startUpload(port: number, token: string): Promise<Upload> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const head = `POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: hs.test\r\nAuthorization: Bearer ${token}\r\n` +
    `Content-Length: 40000000\r\n\r\n`;
  const writer = connection.writable.getWriter();
  await writer.write(new TextEncoder().encode(head));
  // Each piece is taken by the kernel only while the server reads.
  const isUnderWay = (async () => {
    for (let count = 0; count < 20; count++) await writer.write(new Uint8Array(1_000_000));
  })();
  const ended = (async () => {
    const reader = connection.readable.getReader();
    try {
      while (!(await reader.read()).done);
    } catch {
      // Reset: ended too.
    }
    await writer.abort().catch(() => {});
    await reader.cancel().catch(() => {});
  })();
  return { isUnderWay, ended };
}
