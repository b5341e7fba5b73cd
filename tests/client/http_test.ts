/** What every endpoint shares: paths, methods, CORS, bodies, listeners. */
import assert from "node:assert/strict";
import { Agent, request } from "node:https";
import { createServer } from "node:http";
import { type App, createApp, plain } from "../../src/http/app.ts";
import { type Listener, Listeners, openAddresses } from "../../src/http/listeners.ts";
import { readBytes } from "../../src/http/middleware/body.ts";
import { json } from "../../src/http/middleware/responses.ts";
import type { ListenerConfig } from "../../src/config/listeners.ts";
import { systemClock } from "../../src/lib/clock.ts";
import type { Logger } from "../../src/lib/log.ts";
import type { Json } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const LISTENER: ListenerConfig = {
  port: 0,
  bindAddresses: ["127.0.0.1"],
  path: null,
  mode: 0o600,
  type: "http",
  tls: false,
  xForwarded: false,
  tag: null,
  requestIdHeader: null,
  resources: [{ names: ["client"], compress: false }],
};

/** Self-signed for `localhost`, valid for a hundred years; of use in tests only. */
const CERTIFICATE = {
  cert: await Deno.readTextFile(new URL("../fixtures/tls/localhost.crt", import.meta.url)),
  key: await Deno.readTextFile(new URL("../fixtures/tls/localhost.key", import.meta.url)),
};

interface Line {
  readonly message: string;
  readonly fields: Json;
}

function recordingLog(lines: Line[]): Logger {
  const write = (message: string, fields: unknown) => void lines.push({ message, fields });
  return { name: "test", debug: write, info: write, warn: write, error: write, isEnabled: () => true };
}

async function listen(
  app: App,
  options: Partial<ListenerConfig> & { lines?: Line[] } = {},
): Promise<{ base: string; listeners: Listeners } & AsyncDisposable> {
  const { lines = [], ...config } = options;
  const deps = { app, clock: systemClock, log: recordingLog(lines) };
  const listeners = await Listeners.open(deps, { listeners: [{ ...LISTENER, ...config }], certificate: CERTIFICATE });
  return {
    base: listeners.addresses[0] ?? "",
    listeners,
    [Symbol.asyncDispose]: () => listeners.stop(1000),
  };
}

/** Sends bytes as they are and returns the answer's text. */
async function sendRaw(base: string, text: string): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(base).port) });
  await connection.write(new TextEncoder().encode(text));
  const answer = await new Response(connection.readable).text();
  return answer;
}

function echoApp(): App {
  const app = createApp();
  plain(app)
    .get("/_matrix/client/v3/echo/:value", (c) => json({ value: c.req.param("value") ?? "", ip: c.env.clientIp }))
    .put("/_matrix/client/v3/echo/:value", (c) => json({ value: c.req.param("value") ?? "" }))
    .post("/_matrix/client/v3/size", async (c) => json({ size: (await readBytes(c, 1000)).length }))
    .get("/_matrix/client/v3/broken", () => {
      throw new Error("secret detail", { cause: new Error("deeper") });
    });
  return app;
}

testEachServer("unknown paths, wrong methods and preflights answer as the specification says", async (database) => {
  await using hs = await TestServer.start({ database });
  const { anyone } = hs;
  for (const target of ["/nonsense", "/_matrix/client/v99/sync", "/_matrix/unknown", "/_synapse/admin/v1/nonsense"]) {
    await anyone.fails("GET", target, { status: 404, errcode: "M_UNRECOGNIZED" });
  }
  for (const [method, target] of [["DELETE", "/login"], ["POST", "/sync"], ["PATCH", "/createRoom"]] as const) {
    await anyone.fails(method, target, { status: 405, errcode: "M_UNRECOGNIZED" });
  }
  const preflight = await anyone.request("OPTIONS", "/rooms/!a:b/send/m.room.message/1");
  assert.equal(preflight.status, 204);
  const answers = [preflight, await anyone.request("GET", "/nonsense"), await anyone.request("GET", "/login")];
  for (const { headers } of [...answers, await anyone.request("GET", "/account/whoami")]) {
    assert.equal(headers.get("access-control-allow-origin"), "*");
    assert.match(headers.get("access-control-allow-headers") ?? "", /Authorization/);
    assert.match(headers.get("access-control-allow-methods") ?? "", /DELETE/);
  }
  const health = await anyone.request("GET", "/health");
  assert.deepEqual([health.status, health.body], [200, "OK"]);
  const root = await anyone.request("GET", "/");
  assert.deepEqual([root.status, root.headers.get("location")], [302, "/_matrix/static/"]);
  await anyone.fails("GET", "/.well-known/matrix/client", { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("well-known documents say what is configured", async (database) => {
  const config = {
    public_baseurl: "https://matrix.hs.test",
    serve_server_wellknown: true,
    extra_well_known_client_content: { "org.example": { a: 1 }, "m.homeserver": { base_url: "https://evil" } },
    admin_contact: "mailto:admin@hs.test",
  };
  await using hs = await TestServer.start({ database, config });
  const known = (name: string) => hs.anyone.get(`/.well-known/matrix/${name}`);
  const base = { "m.homeserver": { base_url: "https://matrix.hs.test/" } };
  assert.deepEqual(await known("client"), { ...base, "org.example": { a: 1 } });
  assert.deepEqual(await known("server"), { "m.server": "hs.test:443" });
  assert.deepEqual(await known("support"), { contacts: [{ role: "m.role.admin", email_address: "admin@hs.test" }] });
  const [alice] = await hs.register("alice");
  const session = await hs.anyone.post("/login", alice.auth());
  assert.deepEqual(session.well_known, { ...base, "org.example": { a: 1 } });
  const transports = [{ type: "livekit", livekit_service_url: "https://rtc.hs.test" }];
  await hs.restart({ matrix_rtc: { transports }, extra_well_known_client_content: {} });
  const foci = { "m.rtc_foci": transports, "org.matrix.msc4143.rtc_foci": transports };
  assert.deepEqual(await hs.anyone.get("/.well-known/matrix/client"), { ...base, ...foci });
});

Deno.test("paths are taken as they were sent, and parameters decoded once", async () => {
  await using server = await listen(echoApp());
  const get = async (target: string) => {
    const answer = await sendRaw(server.base, `GET ${target} HTTP/1.1\r\nHost: :::\r\nConnection: close\r\n\r\n`);
    return { status: Number(answer.split(" ", 2)[1]), body: JSON.parse(answer.slice(answer.indexOf("{"))) };
  };
  const echo = "/_matrix/client/v3/echo";
  assert.equal((await get(`${echo}/a%2Fb%2520c`)).body.value, "a/b%20c");
  assert.equal((await get(`${echo}/%21r%3Ahs?access_token=x`)).body.value, "!r:hs");
  assert.equal((await get(`${echo}/x/../y`)).status, 404);
  assert.equal((await get(`/${echo}/x`)).status, 404);
  assert.equal((await get(`${echo}/`)).status, 404);
  assert.equal((await get(`http://elsewhere.example${echo}/x`)).body.value, "x");
});

Deno.test("bodies are counted while they arrive", async () => {
  await using server = await listen(echoApp());
  const url = `${server.base}/_matrix/client/v3/size`;
  const post = async (body: BodyInit) => {
    const response = await fetch(url, { method: "POST", body });
    return [response.status, (await response.json()).size];
  };
  const chunks = (count: number) =>
    ReadableStream.from((function* () {
      for (let index = 0; index < count; index++) yield new Uint8Array(100);
    })()) as ReadableStream<Uint8Array>;
  assert.deepEqual(await post(new Uint8Array(1000)), [200, 1000]);
  assert.deepEqual(await post(chunks(10)), [200, 1000]);
  assert.deepEqual(await post(new Uint8Array(1001)), [413, undefined]);
  assert.deepEqual(await post(chunks(11)), [413, undefined]);
});

Deno.test("a fault answers 500 without detail, and the log has the cause but no token", async () => {
  const lines: Line[] = [];
  await using server = await listen(echoApp(), { lines, requestIdHeader: "x-request-id", tag: "front" });
  const url = `${server.base}/_matrix/client/v3/broken?access_token=hush&from=1`;
  const response = await fetch(url, { headers: { "x-request-id": "abc" } });
  assert.equal(response.status, 500);
  assert.deepEqual(await response.json(), { errcode: "M_UNKNOWN", error: "Internal server error" });
  const [failure, access] = lines;
  assert.match(failure?.fields.error, /secret detail[\s\S]*caused by[\s\S]*deeper/);
  assert.deepEqual([access?.fields.status, access?.fields.request, access?.fields.listener], [500, "abc", "front"]);
  assert.equal(access?.fields.path, "/_matrix/client/v3/broken?access_token=<redacted>&from=1");
});

Deno.test("the client's address comes from the proxy only where it is trusted", async () => {
  const ask = async (base: string, address = "203.0.113.7, 10.0.0.1") => {
    const headers = { "x-forwarded-for": address };
    return (await (await fetch(`${base}/_matrix/client/v3/echo/x`, { headers })).json()).ip;
  };
  await using open = await listen(echoApp());
  await using proxied = await listen(echoApp(), { xForwarded: true });
  assert.equal(await ask(open.base), "127.0.0.1");
  assert.equal(await ask(proxied.base), "203.0.113.7");
  assert.equal(await ask(proxied.base, "::ffff:203.0.113.7"), "203.0.113.7");
  assert.equal(await ask(proxied.base, "::ffff:7f00:1"), "::ffff:7f00:1");
});

Deno.test("a listener serves its resources only", async () => {
  await using server = await listen(echoApp(), { resources: [{ names: ["federation"], compress: false }] });
  const response = await fetch(`${server.base}/_matrix/client/v3/echo/x`);
  assert.equal(response.status, 404);
  assert.equal((await response.json()).errcode, "M_UNRECOGNIZED");
});

Deno.test("a UNIX socket is made with its mode, replaces one left behind, and goes away", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/hs.sock`;
  try {
    Deno.listen({ transport: "unix", path }).close();
    const server = await listen(echoApp(), { port: null, bindAddresses: [], path, mode: 0o640 });
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o640);
    const connection = await Deno.connect({ transport: "unix", path });
    const request = "GET /_matrix/client/v3/echo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    await connection.write(new TextEncoder().encode(request));
    assert.match(await new Response(connection.readable).text(), /"value":"x"/);
    await server[Symbol.asyncDispose]();
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a listener compresses where it should and the client can read it", async () => {
  const target = `/_matrix/client/v3/echo/${"x".repeat(2000)}`;
  for (const compress of [true, false]) {
    await using server = await listen(echoApp(), { resources: [{ names: ["client"], compress }] });
    for (const accepted of ["gzip", "identity"]) {
      const head = `GET ${target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: ${accepted}\r\nConnection: close\r\n\r\n`;
      const answer = await sendRaw(server.base, head);
      assert.match(answer, /^HTTP\/1\.1 200 /);
      assert.equal(/^content-encoding: gzip\r$/im.test(answer), compress && accepted === "gzip");
    }
  }
});

Deno.test("a taken port is an error, and nothing is left open", async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
  const address = blocker.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const isTaken = { message: `Cannot listen on 127.0.0.1 port ${port}: another program does already` };
  for (const tls of [false, true]) await assert.rejects(listen(echoApp(), { port, tls }), isTaken);
  // 192.0.2.0/24 is for documentation: no machine has it.
  const refused = listen(echoApp(), { bindAddresses: ["127.0.0.1", "192.0.2.1"] });
  await assert.rejects(refused, { message: "Cannot listen on 192.0.2.1 port 0: this machine has no such address" });
  await new Promise((resolve) => blocker.close(resolve));
});

Deno.test("a machine without IPv6 listens on the addresses it has", async () => {
  const lines: Line[] = [];
  const stopped: string[] = [];
  const open = (hostname: string): Promise<Listener> =>
    hostname.includes(":")
      ? Promise.reject(new Deno.errors.AddrNotAvailable())
      : Promise.resolve({ address: hostname, port: 8008, stop: () => Promise.resolve(void stopped.push(hostname)) });
  const options = { port: 8008, open, log: recordingLog(lines) };
  const opened = await openAddresses(["::1", "127.0.0.1"], options);
  assert.deepEqual(opened.map(({ address }) => address), ["127.0.0.1"]);
  const sentence = "Cannot listen on ::1 port 8008: this machine has no such address";
  assert.deepEqual(lines.map(({ message }) => message), [`${sentence}; going on with 127.0.0.1`]);
  await assert.rejects(openAddresses(["::1"], options), { message: sentence });
  await assert.rejects(openAddresses(["127.0.0.1", "2001:db8::1"], options), /2001:db8::1 port 8008/);
  assert.deepEqual(stopped, ["127.0.0.1"]);
});

Deno.test("a TLS listener serves the same application and changes its certificate", async () => {
  await using server = await listen(echoApp(), { tls: true });
  const client = Deno.createHttpClient({ caCerts: [CERTIFICATE.cert] });
  try {
    const base = server.base.replace("127.0.0.1", "localhost");
    const ask = async (init: RequestInit = {}) => {
      const response = await fetch(`${base}/_matrix/client/v3/size`, { client, method: "POST", ...init });
      return [response.status, await response.json()];
    };
    assert.deepEqual(await ask({ body: new Uint8Array(10) }), [200, { size: 10 }]);
    assert.equal((await ask({ body: new Uint8Array(1001) }))[0], 413);
    server.listeners.setCertificate(CERTIFICATE);
    assert.deepEqual(await ask({ body: "abc" }), [200, { size: 3 }]);
    const echoed = await fetch(`${base}/_matrix/client/v3/echo/a%2Fb`, { client });
    assert.equal((await echoed.json()).value, "a/b");
  } finally {
    client.close();
  }
});

Deno.test("a TLS connection goes on after a streamed answer of known length", async () => {
  const app = echoApp();
  const bytes = new TextEncoder().encode("streamed");
  plain(app).get("/_matrix/client/v3/stream", () => {
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(bytes);
        controller.close();
      },
    });
    return new Response(body, { headers: { "content-length": String(bytes.length) } });
  });
  await using server = await listen(app, { tls: true });
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: CERTIFICATE.cert });
  const get = (path: string) =>
    new Promise<string>((resolve, reject) => {
      const url = new URL(`${server.base}/_matrix/client/v3${path}`);
      const options = { host: "127.0.0.1", port: url.port, servername: "localhost", path: url.pathname, agent };
      const limit = setTimeout(() => reject(new Error(`${path} was not answered`)), 2_500);
      const sent = request(options, (response) => {
        let text = "";
        response.on("data", (chunk) => text += chunk);
        response.on("end", () => {
          clearTimeout(limit);
          resolve(text);
        });
      });
      sent.on("error", reject);
      sent.end();
    });
  try {
    assert.equal(await get("/stream"), "streamed");
    assert.equal(JSON.parse(await get("/echo/a")).value, "a");
    assert.equal(await get("/stream"), "streamed");
    assert.equal(await get("/stream"), "streamed");
  } finally {
    agent.destroy();
  }
});

Deno.test("a TLS listener stops with its last request, whatever connections are open and unused", async () => {
  const app = createApp();
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  plain(app).get("/slow", async () => {
    enter();
    await released;
    return json({ done: true });
  });
  const server = await listen(app, { tls: true });
  const caCerts = [CERTIFICATE.cert];
  const port = Number(new URL(server.base).port);
  const unused = await Deno.connectTls({ hostname: "localhost", port, caCerts });
  await unused.handshake();
  const client = Deno.createHttpClient({ caCerts });
  const pending = fetch(`${server.base.replace("127.0.0.1", "localhost")}/slow`, { client });
  await entered;
  const hour = 3_600_000;
  const stopped = server.listeners.stop(hour);
  release();
  const answer = await pending;
  assert.deepEqual(await answer.json(), { done: true });
  await stopped;
  unused.close();
  client.close();
});

Deno.test("stopping lets a running request finish and refuses new ones", async () => {
  const app = createApp();
  const { promise: entered, resolve: enter } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  plain(app).get("/slow", async () => {
    enter();
    await released;
    return json({ done: true });
  });
  const server = await listen(app);
  const pending = fetch(`${server.base}/slow`);
  await entered;
  const stopped = server.listeners.stop(5000);
  await assert.rejects(fetch(`${server.base}/slow`).then((response) => response.text()));
  release();
  assert.deepEqual(await (await pending).json(), { done: true });
  await stopped;
});
