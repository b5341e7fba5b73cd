/** Bodies that arrive slowly, or from many connections at once: they get in the way of no one else. */
import assert from "node:assert/strict";
import { createApp, plain } from "../../src/http/app.ts";
import { Listeners } from "../../src/http/listeners.ts";
import { ArrivingBodies } from "../../src/http/middleware/arriving_bodies.ts";
import { readBytes } from "../../src/http/middleware/body.ts";
import { json } from "../../src/http/middleware/responses.ts";
import type { ListenerConfig } from "../../src/config/listeners.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { getLogger } from "../../src/lib/log.ts";

const [CERTIFICATE, KEY] = await Promise.all(
  ["crt", "key"].map((kind) => Deno.readTextFile(new URL(`../fixtures/tls/localhost.${kind}`, import.meta.url))),
);
const LONGEST = 41_000;
const PART = 30_000;
/** Room for three bodies, but not for four. */
const ROOM = 130_000;
const TICK_MS = 5;

interface Scene extends AsyncDisposable {
  readonly arriving: ArrivingBodies;
  /** Sends the head of a request from an address, and the first `length` bytes of its body. */
  begin(address: string, length: number): Promise<Sending>;
}

interface Sending {
  send(length: number): Promise<void>;
  /** Resolves to all that the server answers. */
  readonly answer: Promise<string>;
}

async function listen(tls: boolean): Promise<Scene> {
  const arriving = new ArrivingBodies(ROOM);
  const app = createApp();
  plain(app).post("/_matrix/client/v3/size", async (c) => json({ size: (await readBytes(c, LONGEST)).length }));
  const config: ListenerConfig = {
    ...{ port: 0, bindAddresses: ["127.0.0.1"], path: null, mode: 0o600, type: "http" as const, tls, xForwarded: true },
    ...{ tag: null, requestIdHeader: null, resources: [{ names: ["client" as const], compress: false }] },
  };
  const certificate = { cert: CERTIFICATE ?? "", key: KEY ?? "" };
  const deps = { app, arriving, clock: systemClock, log: getLogger("test") };
  const listeners = await Listeners.open(deps, { listeners: [config], certificate });
  const port = Number(new URL(listeners.addresses[0] ?? "").port);
  return {
    arriving,
    async begin(address, length) {
      const to = { hostname: "localhost", port };
      const connection = tls
        ? await Deno.connectTls({ ...to, caCerts: [certificate.cert] })
        : await Deno.connect({ ...to, hostname: "127.0.0.1" });
      const writer = connection.writable.getWriter();
      const fields = ["Host: x", "Connection: close", `X-Forwarded-For: ${address}`, `Content-Length: ${LONGEST}`];
      const head = ["POST /_matrix/client/v3/size HTTP/1.1", ...fields, "", ""].join("\r\n");
      await writer.write(new TextEncoder().encode(head));
      const answer = readAnswer(connection);
      const send = (count: number) => writer.write(new Uint8Array(count)).catch(() => {});
      await send(length);
      return { send, answer };
    },
    [Symbol.asyncDispose]: () => listeners.stop(0),
  };
}

/** Reads an answer of JSON. The server does not end the connection while there is more of a body to come. */
async function readAnswer(connection: Deno.Conn): Promise<string> {
  let text = "";
  try {
    for await (const piece of connection.readable.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.endsWith("}")) break;
    }
  } catch {
    // Cut off: what came by then is the answer.
  }
  return text;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await systemClock.sleep(TICK_MS);
}

for (const tls of [false, true]) {
  Deno.test(`the oldest body of who sends slowly makes room for others, ${tls ? "with" : "without"} TLS`, async () => {
    await using scene = await listen(tls);
    const { arriving } = scene;
    const slow: Sending[] = [];
    for (let count = 1; count <= 3; count++) {
      slow.push(await scene.begin("203.0.113.1", PART));
      await until(() => arriving.held >= count * PART);
    }
    const quick = await scene.begin("203.0.113.2", LONGEST);
    assert.match(await quick.answer, /^HTTP\/1.1 200[^]*"size":41000/);
    const refused = await slow[0]?.answer ?? "?";
    // Where the connection is closed under TLS, its answer may be lost.
    assert.match(refused, tls ? /^$|^HTTP\/1.1 429/ : /^HTTP\/1.1 429[^]*retry-after[^]*M_LIMIT_EXCEEDED/i);
    const [, , last] = slow;
    await last?.send(LONGEST - PART);
    assert.match(await last?.answer ?? "", /^HTTP\/1.1 200[^]*"size":41000/);
    await slow[1]?.send(LONGEST - PART);
    await slow[1]?.answer;
    await until(() => arriving.held === 0);
  });
}

Deno.test("ArrivingBodies ends the oldest body of the address that holds most", () => {
  const bodies = new ArrivingBodies(100);
  const ended: string[] = [];
  const open = (name: string, address: string) => bodies.open(address, () => ended.push(name));
  const [one, two, other] = [open("one", "a"), open("two", "a"), open("other", "b")];
  one.take(30);
  two.take(30);
  other.take(40);
  assert.deepEqual(ended, []);
  open("late", "c").take(10);
  assert.deepEqual([ended, bodies.held], [["one"], 80]);
  one.take(1_000);
  assert.equal(bodies.held, 80, "one that was ended counts no more");
  other.take(30);
  assert.deepEqual([ended, bodies.held], [["one", "other"], 40]);
  two.take(100);
  assert.deepEqual(ended, ["one", "other", "two"], "also the one that takes");
  for (const body of [one, two, other, two]) body[Symbol.dispose]();
  assert.equal(bodies.held, 10);
});

Deno.test("ArrivingBodies takes the addresses of one network of IPv6 as one", () => {
  const bodies = new ArrivingBodies(100);
  const ended: string[] = [];
  const open = (name: string, address: string) => bodies.open(address, () => ended.push(name));
  for (let host = 1; host <= 4; host++) open(`network ${host}`, `2001:db8:1:2:${host}::1`).take(15);
  open("neighbour", "2001:db8:1:3::1").take(40);
  assert.deepEqual(ended, []);
  open("newcomer", "2001:db8::1").take(20);
  assert.deepEqual(ended, ["network 1", "network 2"]);
});
