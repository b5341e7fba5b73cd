/** Requests to other servers, over real TLS. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:net";
import type { FederationOut } from "../../src/federation/setup.ts";
import { RemoteError } from "../../src/federation/remote_error.ts";
import { parseXMatrix, signedRequestText } from "../../src/federation/x_matrix.ts";
import { verifyText } from "../../src/protocol/signatures.ts";
import { createTestDatabase, testEachDatabase } from "../harness/databases.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { openOut, type OutOptions, server, signerOf, TestClock, testDns } from "./environment.ts";
import { type Peer, type PeerOptions, startPeer } from "./peer.ts";

interface Scene {
  readonly out: FederationOut;
  readonly peer: Peer;
  readonly clock: TestClock;
  /** The peer's name with its port. */
  readonly name: ReturnType<typeof server>;
}

/** Runs `body` with a peer and an outbound half. */
// deno-lint-ignore synapse-ts/max-positional -- reads as Deno.test with options in the middle
function testScene(
  title: string,
  options: PeerOptions & Pick<OutOptions, "config" | "dns">,
  body: (scene: Scene) => Promise<void>,
): void {
  Deno.test(title, async () => {
    await using database = await createTestDatabase("sqlite");
    await using db = await openDatabase(database.options);
    await using peer = await startPeer(options);
    const clock = new TestClock();
    const out = await openOut({ db, clock, ...options });
    await using _connections = out.connections;
    await body({ out, peer, clock, name: server(`peer.test:${peer.port}`) });
  });
}

const VERSION = { method: "GET", path: "/_matrix/federation/v1/version" } as const;

async function failureOf(work: Promise<unknown>): Promise<RemoteError> {
  const error = await work.then(() => null, (error) => error);
  assert(error instanceof RemoteError, `expected a RemoteError, got ${error}`);
  return error;
}

testScene("a request is signed, and sent to the name it is for", {}, async ({ out, peer, name }) => {
  peer.handler = () => ({ json: { ok: true } });
  const path = "/_matrix/federation/v1/send/1?a=b%20c";

  const answer = await out.client.request({ server: name, method: "PUT", path, body: { b: "é", a: [1] } });

  assert.deepEqual(answer, { ok: true });
  const [seen] = peer.requests;
  assert(seen !== undefined);
  assert.deepEqual([seen.method, seen.url, seen.body, seen.sni], ["PUT", path, '{"a":[1],"b":"é"}', "peer.test"]);
  assert.equal(seen.headers.host, name);
  const [credential] = parseXMatrix(seen.headers.authorization ?? "") ?? [];
  assert.deepEqual([credential?.origin, credential?.destination, credential?.key], ["own.test", name, "ed25519:1"]);
  const text = signedRequestText({ method: "PUT", uri: path, destination: name, bodyText: seen.body }, "own.test");
  const key = signerOf("own.test").key.verifyKey;
  assert(verifyText(text, { signature: credential?.signature ?? "", key }));
});

testScene("requests to one server wait for a connection in their order", {}, async ({ out, peer, name }) => {
  const seen = new Set<string>();
  const all = Promise.withResolvers<void>();
  // Nobody gets an answer before as many as may go out at once have come: the others wait in the queue of the server.
  peer.handler = async ({ url }) => {
    if (seen.add(url).size === 16) all.resolve();
    await all.promise;
    return { json: { url } };
  };
  const paths = Array.from({ length: 60 }, (_, index) => `/_matrix/federation/v1/event/$${index}`);
  const answers = await Promise.all(paths.map((path) => out.client.request({ server: name, method: "GET", path })));
  assert.deepEqual(answers, paths.map((url) => ({ url })));
  assert.deepEqual(new Set(peer.requests.map(({ url }) => url)), new Set(paths));
});

testScene("a literal needs a certificate for the address", { names: ["IP:127.0.0.1"] }, async ({ out, peer }) => {
  await out.client.request({ server: server(`127.0.0.1:${peer.port}`), ...VERSION });
  assert.equal(peer.requests[0]?.sni, null, "no SNI for an address");
  const failure = await failureOf(out.client.request({ server: server(`peer.test:${peer.port}`), ...VERSION }));
  assert.equal(failure.reachable, false);
  assert.equal(peer.requests.length, 1);
});

Deno.test("a delegated server must be who the first name says", async () => {
  await using database = await createTestDatabase("sqlite");
  await using db = await openDatabase(database.options);
  await using peer = await startPeer({ names: ["DNS:a.test"] });
  const dns = testDns({
    services: { "_matrix-fed._tcp.a.test": `peer.test:${peer.port}`, "_matrix._tcp.b.test": `a.test:${peer.port}` },
  });
  const out = await openOut({ db, dns });
  await using _connections = out.connections;
  await out.client.request({ server: server("a.test"), ...VERSION });
  assert.deepEqual([peer.requests[0]?.sni, peer.requests[0]?.headers.host], ["a.test", "a.test"]);
  await failureOf(out.client.request({ server: server("b.test"), ...VERSION }));
  assert.equal(peer.requests.length, 1);
});

testScene(
  "a certificate of an unknown authority is refused",
  { config: { federation_custom_ca_list: [] } },
  async (s) => {
    const failure = await failureOf(s.out.client.request({ server: s.name, ...VERSION }));
    assert.match(failure.message, /certificate/);
    assert.equal(s.peer.requests.length, 0);
  },
);

for (
  const config of [
    { federation_verify_certificates: false },
    { federation_certificate_verification_whitelist: ["*.test"] },
  ]
) {
  testScene(
    `certificates are not checked with ${Object.keys(config)[0]}`,
    { names: ["DNS:other.test"], config: { federation_custom_ca_list: [], ...config } },
    async ({ out, peer, name }) => {
      await out.client.request({ server: name, ...VERSION });
      assert.equal(peer.requests.length, 1);
    },
  );
}

testScene(
  "federation_client_minimum_tls_version is kept to",
  { maxTlsVersion: "TLSv1.2", config: { federation_client_minimum_tls_version: 1.3 } },
  async ({ out, name, peer }) => {
    await failureOf(out.client.request({ server: name, ...VERSION }));
    assert.equal(peer.requests.length, 0);
  },
);

testScene(
  "denied addresses are not connected to, by literal or by name",
  {
    names: ["IP:127.0.0.1", "DNS:peer.test", "DNS:0x7f.1"],
    config: { ip_range_blacklist: ["127.0.0.0/8", "::1/128"] },
  },
  async ({ out, peer }) => {
    for (const host of ["127.0.0.1", "peer.test", "0x7f.1", "[::ffff:127.0.0.1]"]) {
      const request = { server: server(`${host}:${peer.port}`), ...VERSION };
      const failure = await failureOf(out.client.request(request));
      assert.match(failure.message, /not allowed/, host);
    }
    assert.equal(peer.requests.length, 0);
  },
);

testScene(
  "one denied address of a name does not deny the others",
  {
    config: { ip_range_blacklist: ["10.0.0.0/8"] },
    dns: testDns({ hosts: { "peer.test": ["10.0.0.1", "127.0.0.1"] } }),
  },
  async ({ out, name, peer }) => {
    await out.client.request({ server: name, ...VERSION });
    assert.equal(peer.requests.length, 1);
  },
);

testScene(
  "federation_domain_whitelist is kept to",
  { config: { federation_domain_whitelist: ["x.test"] } },
  async (s) => {
    const failure = await failureOf(s.out.client.request({ server: s.name, ...VERSION }));
    assert.deepEqual([failure.transient, failure.reachable], [false, false]);
    assert.equal(s.peer.requests.length, 0);
  },
);

testScene("redirects are not followed", {}, async ({ out, peer, name }) => {
  peer.handler = () => ({ status: 302, headers: { location: `https://${name}/x` } });
  const failure = await failureOf(out.client.request({ server: name, ...VERSION }));
  assert.deepEqual([failure.status, peer.requests.length], [302, 1]);
});

testScene("an answer that is too long, or no object, is refused", {}, async ({ out, peer, name }) => {
  peer.handler = () => ({ text: JSON.stringify({ a: "x".repeat(2_000) }) });
  const long = await failureOf(out.client.request({ server: name, ...VERSION, maxBytes: 1_000 }));
  assert.match(long.message, /longer than 1000 bytes/);
  for (const text of ["[]", "nonsense", "", `${"[".repeat(100_000)}`]) {
    peer.handler = () => ({ text });
    const failure = await failureOf(out.client.request({ server: name, ...VERSION }));
    assert.deepEqual([failure.transient, failure.reachable, failure.status], [false, true, 200]);
  }
});

testScene("a server that does not answer is given up", {}, async ({ out, peer, name }) => {
  peer.handler = () => ({ hang: true });
  const failure = await failureOf(out.client.request({ server: name, ...VERSION, timeoutMs: 50 }));
  assert.deepEqual([failure.transient, failure.reachable], [true, false]);
});

testScene("errors of the server come with their code", {}, async ({ out, peer, name }) => {
  peer.handler = () => ({ status: 403, json: { errcode: "M_FORBIDDEN", error: "no" } });
  const failure = await failureOf(out.client.request({ server: name, ...VERSION, retries: "long" }));
  assert.deepEqual([failure.status, failure.errcode, failure.transient], [403, "M_FORBIDDEN", false]);
  assert.equal(peer.requests.length, 1, "a refusal is not tried again");
});

testScene(
  "failures are tried again, later each time, as often as configured",
  {},
  async ({ out, peer, name, clock }) => {
    peer.handler = () => ({ status: 503 });
    const failure = await failureOf(out.client.request({ server: name, ...VERSION, retries: "short" }));
    assert.deepEqual([failure.status, peer.requests.length], [503, 4]);
    assert.equal(clock.slept.length, 3);
    assert(clock.slept.every((ms, index) => ms <= 2_000 && ms >= (clock.slept[index - 1] ?? 0)));
  },
);

testScene("a server that asks to wait is given the time", {}, async ({ out, peer, name, clock }) => {
  peer.handler = () =>
    peer.requests.length > 1
      ? { json: {} }
      : { status: 429, json: { errcode: "M_LIMIT_EXCEEDED", retry_after_ms: 9_000 } };
  await out.client.request({ server: name, ...VERSION, retries: "long" });
  assert.deepEqual(clock.slept, [9_000]);
});

testEachDatabase("a failing server is left alone for longer each time, also after a restart", async (db) => {
  await using peer = await startPeer({ handler: () => ({ status: 500 }) });
  const name = server(`peer.test:${peer.port}`);
  const clock = new TestClock();
  const first = await openOut({ db, clock });
  await failureOf(first.client.request({ server: name, ...VERSION }));
  await first.connections[Symbol.asyncDispose]();

  const out = await openOut({ db, clock });
  await using _connections = out.connections;
  const left = await failureOf(out.client.request({ server: name, ...VERSION }));
  assert.deepEqual([left.reachable, left.transient, peer.requests.length], [false, true, 1]);
  assert.equal(await out.backoff.waitMs(name), 600_000);
  clock.advance(600_000);
  await failureOf(out.client.request({ server: name, ...VERSION }));
  assert.equal(peer.requests.length, 2);
  const longer = await out.backoff.waitMs(name);
  assert(longer > 1_200_000, `${longer}`);

  const woken: string[] = [];
  out.backoff.onAlive((server) => woken.push(server));
  await out.backoff.noteAlive(name);
  await out.backoff.noteAlive(name);
  assert.deepEqual([await out.backoff.waitMs(name), woken], [0, [name]]);
});

testEachDatabase("a user's own request reaches a failing server and wakes it", async (db) => {
  await using peer = await startPeer({ handler: () => ({ status: 500 }) });
  const name = server(`peer.test:${peer.port}`);
  const out = await openOut({ db });
  await using _connections = out.connections;
  await failureOf(out.client.request({ server: name, ...VERSION }));
  peer.handler = () => ({ json: {} });
  await out.client.request({ server: name, ...VERSION, ignoreBackoff: true });
  assert.equal(await out.backoff.waitMs(name), 0);
});

testEachDatabase("requests that fail side by side count once", async (db) => {
  await using peer = await startPeer({ handler: () => ({ status: 502 }) });
  const name = server(`peer.test:${peer.port}`);
  const out = await openOut({ db });
  await using _connections = out.connections;
  await Promise.all(Array.from({ length: 5 }, () => failureOf(out.client.request({ server: name, ...VERSION }))));
  assert.equal(await out.backoff.waitMs(name), 600_000);
});

Deno.test("connections that break off or are no TLS fail their request and nothing else", async () => {
  await using database = await createTestDatabase("sqlite");
  await using db = await openDatabase(database.options);
  const out = await openOut({ db });
  await using _connections = out.connections;
  const behaviors: ((socket: Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    (socket) => void socket.once("data", () => socket.resetAndDestroy()),
    (socket) => void socket.once("data", () => socket.end("nonsense")),
  ];
  for (const behave of behaviors) {
    const sockets: Socket[] = [];
    const listener = createServer((socket) => {
      sockets.push(socket.on("error", () => {}));
      behave(socket);
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", () => resolve()));
    const name = server(`peer.test:${(listener.address() as AddressInfo).port}`);
    for (let i = 0; i < 5; i++) {
      const failure = await failureOf(out.client.request({ server: name, ...VERSION, ignoreBackoff: true }));
      assert.equal(failure.reachable, false);
    }
    for (const socket of sockets) socket.destroy();
    listener.close();
  }
});

testScene("a kept connection that the server closed meanwhile does not fail the next request", {}, async (scene) => {
  const { out, peer, name } = scene;
  peer.handler = () => ({ json: {}, headers: { connection: "close" } });
  for (let i = 0; i < 5; i++) await out.client.request({ server: name, ...VERSION });
  assert.equal(peer.requests.length, 5);
});

testScene(
  "a connection that breaks off while it is used is made anew once, but no POST is sent twice",
  {},
  async (scene) => {
    const { out, peer, name } = scene;
    await out.client.request({ server: name, ...VERSION });
    let drops = 1;
    peer.handler = () => drops-- > 0 ? { drop: true } : { json: {} };
    await out.client.request({ server: name, ...VERSION });
    assert.equal(peer.requests.length, 3);
    drops = 1;
    const post = { server: name, method: "POST", path: "/x", body: {} } as const;
    assert.equal((await failureOf(out.client.request(post))).reachable, false);
    assert.equal(peer.requests.length, 4);
  },
);

testScene("a fault in reading an answer is not the server's", {}, async ({ out, peer, name }) => {
  const fault = new Error("fault");
  const request = { server: name, ...VERSION, retries: "long" } as const;
  for (let i = 0; i < 20; i++) {
    const work = out.client.stream(request, () => Promise.reject(fault));
    assert.equal(await work.then(() => null, (error) => error), fault);
  }
  assert.equal(await out.backoff.waitMs(name), 0);
  await out.client.request(request);
  assert.equal(peer.requests.length, 21, "more than there are connections: none is left hanging");
});

testScene("an answer that breaks off is a failure of the server", {}, async ({ out, peer, name }) => {
  peer.handler = () => ({ json: {}, headers: { "content-length": "1000" } });
  const failure = await failureOf(out.client.request({ server: name, ...VERSION, timeoutMs: 500 }));
  assert.deepEqual([failure.transient, failure.reachable], [true, false]);
});

/** Starts a proxy that leads every tunnel to `port`. */
async function startProxy(port: number): Promise<{ port: number; heads: string[] } & AsyncDisposable> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const proxy = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", (head) => {
      heads.push(head.toString());
      const upstream = connect(port, "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n");
        socket.pipe(upstream).pipe(socket);
      });
      sockets.add(upstream);
      upstream.on("error", () => {});
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", () => resolve()));
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => proxy.close(resolve));
  };
  return { port: (proxy.address() as AddressInfo).port, heads, [Symbol.asyncDispose]: close };
}

Deno.test("https_proxy is gone through, except for no_proxy_hosts", async () => {
  await using database = await createTestDatabase("sqlite");
  await using db = await openDatabase(database.options);
  await using peer = await startPeer({ names: ["DNS:peer.test", "DNS:near.test"] });
  await using proxy = await startProxy(peer.port);
  const config = { https_proxy: `http://me:secret@127.0.0.1:${proxy.port}`, no_proxy_hosts: ["near.test"] };
  const out = await openOut({ db, config });
  await using _connections = out.connections;
  await out.client.request({ server: server("peer.test:5"), ...VERSION });
  await out.client.request({ server: server(`near.test:${peer.port}`), ...VERSION });
  assert.equal(peer.requests.length, 2);
  assert.equal(proxy.heads.length, 1);
  assert.match(
    proxy.heads[0] ?? "",
    /^CONNECT peer\.test:5 HTTP\/1\.1\r\n[^]*Proxy-Authorization: Basic bWU6c2VjcmV0\r\n/,
  );
});
