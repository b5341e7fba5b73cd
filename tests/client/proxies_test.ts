/** `http_proxy`, `https_proxy` and `no_proxy_hosts` for what is fetched from the web: pushes and URL previews. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Json, TestClient } from "../harness/client.ts";
import { PushGateway } from "../harness/push_gateway.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

/** A proxy that plays every site itself, and refuses to say more in a tunnel than that it is open. */
class WebProxy implements AsyncDisposable {
  /** The first line and the login of each request. */
  readonly seen: { readonly line: string; readonly login: string | undefined }[] = [];
  /** What came first through each tunnel. */
  readonly tunneled: Uint8Array[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer((request, response) => {
      const { method, url, headers } = request;
      this.seen.push({ line: `${method} ${url}`, login: headers["proxy-authorization"] });
      request.resume().on("end", () => {
        const isPush = method === "POST";
        response.writeHead(200, { "content-type": isPush ? "application/json" : "text/html" });
        response.end(isPush ? "{}" : "<html><head><title>By the proxy</title></head></html>");
      });
    });
    this.#server.on("connect", ({ url, headers }, socket: Socket) => {
      this.seen.push({ line: `CONNECT ${url}`, login: headers["proxy-authorization"] });
      socket.on("error", () => {});
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.once("data", (bytes) => {
        this.tunneled.push(bytes);
        socket.destroy();
      });
    });
    this.#server.on("connection", (socket) => this.#sockets.add(socket));
  }

  static async start(): Promise<WebProxy> {
    const proxy = new WebProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://me:secret@127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const LOGIN = "Basic bWU6c2VjcmV0";

async function setPusher(user: TestClient, url: string): Promise<void> {
  await user.post("/pushers/set", {
    ...{ kind: "http", app_id: "org.example.app", app_display_name: "App", device_display_name: "Phone" },
    ...{ pushkey: url, lang: "en", data: { url }, append: true },
  });
}

async function preview(user: TestClient, url: string): Promise<{ status: number; body: Json }> {
  return await user.request("GET", "/_matrix/client/v1/media/preview_url", { query: { url } });
}

testEachServer("previews go through the proxies, but not to hosts that need none", async (database) => {
  await using proxy = await WebProxy.start();
  await using hs = await TestServer.start({
    database,
    config: {
      ...{ http_proxy: proxy.url, https_proxy: proxy.url, no_proxy_hosts: ["near.test"] },
      ...{ url_preview_enabled: true, url_preview_ip_range_blacklist: ["10.0.0.0/8"] },
    },
  });
  const [alice] = await hs.register("alice");
  const { status, body } = await preview(alice, "http://far.test/page?a=b");
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body["og:title"], "By the proxy");
  assert.deepEqual(proxy.seen, [{ line: "GET http://far.test/page?a=b", login: LOGIN }]);
  // The site is trusted no more than without a proxy: nothing is asked before its certificate is checked.
  assert.equal((await preview(alice, "https://secure.test/page")).status, 502);
  assert.deepEqual(proxy.seen.slice(1), [{ line: "CONNECT secure.test:443", login: LOGIN }]);
  const [hello] = proxy.tunneled;
  assert.equal(hello?.[0], 22, "a TLS handshake");
  assert.ok(new TextDecoder("latin1").decode(hello).includes("secure.test"));
  assert.equal((await preview(alice, "http://near.test/page")).status, 502, "no such host, and nobody else is asked");
  assert.equal((await preview(alice, "http://10.1.2.3/page")).status, 403);
  assert.equal(proxy.seen.length, 2);
});

testEachServer(
  "pushes go through the proxy, but not to hosts that need none nor to denied addresses",
  async (database) => {
    await using proxy = await WebProxy.start();
    await using near = new PushGateway();
    await using hs = await TestServer.start({
      database,
      config: { http_proxy: proxy.url, no_proxy_hosts: ["127.0.0.1"], ip_range_blacklist: ["10.0.0.0/8"] },
    });
    const [alice, bob] = await hs.register("alice", "bob");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    await bob.join(roomId);
    const far = "http://far.test/_matrix/push/v1/notify";
    for (const url of [far, near.url, "http://10.1.2.3/_matrix/push/v1/notify"]) await setPusher(alice, url);
    const first = await bob.sendText(roomId, "first");
    await near.find(({ event_id: id }) => id === first);
    const end = performance.now() + 20_000;
    while (proxy.seen.length === 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(proxy.seen[0], { line: `POST ${far}`, login: LOGIN });
    const second = await bob.sendText(roomId, "second");
    await near.find(({ event_id: id }) => id === second);
    assert.ok(proxy.seen.every(({ line }) => line === `POST ${far}`), "the denied address is asked by nobody");
  },
);

testEachServer("what is no URL of a proxy keeps the server from starting", async (database) => {
  for (const option of ["http_proxy", "https_proxy"]) {
    await assert.rejects(
      TestServer.start({ database, config: { [option]: "socks5://127.0.0.1:1" } }),
      new RegExp(`"${option}" is not the URL of an HTTP proxy`),
    );
  }
});
