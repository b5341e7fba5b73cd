/** What goes to Sentry and to a collector of traces, and that nothing goes there which must stay here. */
import assert from "node:assert/strict";
import { getLogger, setLogRoutes } from "../../src/lib/log.ts";
import { consoleRoutes } from "../../src/lib/log.ts";
import { parseDsn, sentryOutput, withOutput } from "../../src/lib/sentry.ts";
import { commandFolder, programArgs } from "../cli/command_line.ts";
import { freePort } from "../harness/ports.ts";
import { RunningProcess } from "../harness/process.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

interface Received {
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

/** Takes whatever is posted. */
class Collector implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #wake: () => void = () => {};
  status = 200;

  constructor() {
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
      const body = await request.text();
      this.received.push({ path: new URL(request.url).pathname, headers: request.headers, body });
      this.#wake();
      return new Response("{}", { status: this.status });
    });
  }

  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  /** Waits until something posted is wanted. */
  async waitFor<T>(find: (received: readonly Received[]) => T | undefined): Promise<T> {
    const limit = AbortSignal.timeout(30_000);
    for (;;) {
      const found = find(this.received);
      if (found !== undefined) return found;
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        limit.addEventListener("abort", () => reject(new Error(JSON.stringify(this.received))), { once: true });
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

Deno.test("a DSN names where events go", () => {
  assert.deepEqual(parseDsn("https://abc@o1.ingest.sentry.io/42"), {
    url: "https://o1.ingest.sentry.io/api/42/envelope/",
    key: "abc",
  });
  assert.deepEqual(parseDsn("http://abc:secret@localhost:9000/sentry/7"), {
    url: "http://localhost:9000/sentry/api/7/envelope/",
    key: "abc",
  });
  for (const wrong of ["", "https://sentry.io/1", "https://a@sentry.io/", "ftp://a@b/1", "https://a@b/x"]) {
    assert.equal(parseDsn(wrong), null);
  }
});

Deno.test("an error of the log becomes an event without its values and its message; other lines do not", async () => {
  await using collector = new Collector();
  const options = { dsn: `http://key@${collector.host}/5`, environment: "test", serverName: "hs.test" };
  const output = sentryOutput(options);
  assert.ok(output !== null);
  try {
    await setLogRoutes(withOutput(new Map([["", { level: "info", outputs: [], propagate: false }]]), output));
    const log = getLogger("synapse.test");
    log.warn("A warning", { text: "syt_secret" });
    log.error("It failed", {
      user: "@alice:hs.test",
      path: "/x?access_token=syt_secret",
      error: new TypeError("in syt_secret"),
    });
    const stack =
      "SyntaxError: Unexpected token in syt_secret\n    at parse (file:///a/b.ts:3:7)\n    at async file:///a/c.ts:9:1\ncaused by Error: syt_secret";
    log.error("It failed again", { error: stack });
    await output.sink.flush();
  } finally {
    await setLogRoutes(consoleRoutes("critical"));
  }
  assert.equal(collector.received.length, 2);
  const events = collector.received.map(({ path, headers, body }) => {
    assert.equal(path, "/api/5/envelope/");
    assert.match(headers.get("x-sentry-auth") ?? "", /^Sentry sentry_version=7, .*sentry_key=key$/);
    const [head = "", item = "", event = ""] = body.split("\n");
    assert.equal(JSON.parse(item).length, new TextEncoder().encode(event).length);
    assert.equal(JSON.parse(head).event_id, JSON.parse(event).event_id);
    return JSON.parse(event);
  });
  const [first, second] = events;
  assert.equal(first.logentry.formatted, "It failed");
  assert.equal(first.environment, "test");
  assert.equal(first.server_name, "hs.test");
  assert.equal(first.exception.values[0].type, "TypeError");
  assert.match(first.exception.values[0].stacktrace.frames.at(-1).filename, /reports_test\.ts$/);
  assert.deepEqual(second.exception.values[0], {
    type: "SyntaxError",
    stacktrace: {
      frames: [
        { function: "<anonymous>", filename: "file:///a/c.ts", lineno: 9, colno: 1 },
        { function: "parse", filename: "file:///a/b.ts", lineno: 3, colno: 7 },
      ],
    },
  });
  assert.doesNotMatch(JSON.stringify(collector.received), /syt_secret|alice/);
});

Deno.test("a server sends what it cannot do to Sentry, and goes on where Sentry refuses it", async () => {
  await using folder = await commandFolder();
  await using collector = new Collector();
  collector.status = 500;
  const port = freePort();
  await folder.run(["generate-config", "--server-name", "hs.test"]);
  const settings = `
listeners: [{ port: ${port}, bind_addresses: [127.0.0.1], resources: [{ names: [client] }] }]
sentry: { dsn: "http://key@${collector.host}/5", environment: somewhere }
`;
  await folder.write("test.yaml", settings);
  const args = programArgs(["serve", "-c", "homeserver.yaml", "-c", "test.yaml"]);
  await using server = new RunningProcess(Deno.execPath(), { args, cwd: folder.path, env: { NO_COLOR: "1" } });
  await server.waitFor(/serves hs\.test on/);
  await folder.write("test.yaml", `${settings}rc_login: syt_secret\n`);
  server.signal("SIGHUP");
  const { body } = await collector.waitFor((received) =>
    received.find(({ body }) => body.includes("cannot be reloaded"))
  );
  assert.match(body, /"environment":"somewhere"/);
  assert.doesNotMatch(body, /syt_secret/);
  const answer = await fetch(`http://127.0.0.1:${port}/health`);
  assert.equal(await answer.text(), "OK");
  assert.equal(await server.stop(), 0);
  const wrong = await folder.run([
    "config",
    "check",
    "-c",
    await folder.write("dsn.yaml", "server_name: a.test\nsentry: { dsn: x }\n"),
  ]);
  assert.match(wrong.stderr, /"sentry\.dsn" must be set/);
});

interface Span {
  readonly traceId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
}

function spansOf(received: readonly Received[]): Span[] {
  return received.flatMap(({ body }) => JSON.parse(body).resourceSpans[0].scopeSpans[0].spans);
}

testEachServer("requests become spans without tokens, ids in paths and bodies", async (database) => {
  await using collector = new Collector();
  const opentracing = { enabled: true, otlp_endpoint: `http://${collector.host}/` };
  await using hs = await TestServer.start({ database, config: { opentracing } });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await alice.sendText(roomId, "the body of a message");
  const path = `/_matrix/client/v3/account/whoami?access_token=${alice.accessToken}`;
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  await (await fetch(`${hs.base}${path}`, { headers: { traceparent } })).text();
  const unsampled = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00";
  await (await fetch(`${hs.base}/_matrix/client/v3/login`, { headers: { traceparent: unsampled } })).text();
  // Stopping sends what is left.
  await hs.restart();
  const spans = spansOf(collector.received);
  const named = (name: string) => spans.filter((span) => span.name === name);
  const [send] = named("PUT /_matrix/client/v3/rooms/:roomId/send/:eventType/:txnId");
  assert.ok(send !== undefined, spans.map(({ name }) => name).join());
  assert.ok(BigInt(send.endTimeUnixNano) >= BigInt(send.startTimeUnixNano));
  const value = (span: Span, key: string) => span.attributes.find((attribute) => attribute.key === key)?.value;
  assert.deepEqual(value(send, "http.response.status_code"), { intValue: "200" });
  assert.deepEqual(value(send, "enduser.id"), { stringValue: alice.userId });
  const [whoami] = named("GET /_matrix/client/v3/account/whoami");
  assert.equal(whoami?.traceId, "0af7651916cd43dd8448eb211c80319c");
  assert.equal(whoami?.parentSpanId, "b7ad6b7169203331");
  assert.deepEqual(named("GET /_matrix/client/v3/login"), []);
  const text = JSON.stringify(collector.received);
  for (const secret of [alice.accessToken ?? "", roomId, "the body of a message", alice.password]) {
    assert.ok(!text.includes(secret), secret);
  }
});

testEachServer("a share of nothing traces nothing", async (database) => {
  await using collector = new Collector();
  const opentracing = {
    enabled: true,
    otlp_endpoint: `http://${collector.host}`,
    jaeger_config: { sampler: { type: "probabilistic", param: 0 } },
  };
  await using hs = await TestServer.start({ database, config: { opentracing } });
  await hs.register("alice");
  await hs.restart();
  assert.deepEqual(collector.received, []);
});
