/** Servers that send more than anybody can take, or take their time: they are bounded, and hold up nobody else. */
import assert from "node:assert/strict";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer } from "../harness/server.ts";
import type { Answer } from "./inbound.ts";
import { Receiver } from "./receiver.ts";
import { type Resident, startResident } from "./resident.ts";
import { make, openRoom, wire } from "./sending.ts";

const WAIT_MS = 30_000;
const MIB = 1024 * 1024;
const MAX_ARRIVING = 24 * MIB;

/** Resolves once something holds. */
async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while (!holds()) {
    assert(performance.now() < end, `${what}: not in time`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function bodiesIn(alice: TestClient, roomId: string): Promise<string[]> {
  const page: Json = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100 });
  return page.chunk.flatMap(({ content }: Json) => content.body ?? []).sort();
}

function sendOne({ ask, signer }: Resident, { event, txn }: { event: RoomEvent; txn: number }): Promise<Answer> {
  const pdus: JsonObject[] = [wire(event)];
  return ask(`/v1/send/flood${txn}`, { origin: signer.serverName, origin_server_ts: 1, pdus });
}

testEachServer("a server that floods waits and is refused, others and clients are not", async (database) => {
  const clock = new FakeClock();
  const [allowed, waiting, all] = [3, 10, 60];
  const limits = { window_size: 1_000, sleep_limit: allowed, sleep_delay: 500, reject_limit: waiting, concurrent: 3 };
  await using resident = await startResident(database, { rc_federation: limits }, { clock });
  await using other = await Receiver.start();
  const { roomId, alice } = await openRoom(resident);
  await other.join(resident.base, roomId);
  clock.advance(2_000);
  const events: RoomEvent[] = [];
  for (let index = 0; index < all; index++) {
    events.push(await make(resident, { roomId, content: { body: `${index}` } }));
  }
  const answers = new Map<number, Answer>();
  const requests = events.map(async (event, txn) => answers.set(txn, await sendOne(resident, { event, txn })));
  await until("those beyond the limits are refused", () => answers.size === all - waiting);
  const refused = [...answers].filter(([, { status }]) => status === 429);
  assert.equal(refused.length, all - waiting - allowed);
  for (const [, { body }] of refused) {
    assert.equal(body.errcode, "M_LIMIT_EXCEEDED");
    assert(body.retry_after_ms > 0);
  }
  assert.equal((await other.ask(resident.base, "/v1/query/profile?user_id=@alice:hs.test")).status, 200);
  assert.equal((await alice.get("/account/whoami")).user_id, alice.userId);
  assert.equal((await bodiesIn(alice, roomId)).length, allowed);

  clock.advance(500);
  await Promise.all(requests);
  assert.equal([...answers.values()].filter(({ status }) => status === 200).length, waiting + allowed);
  for (const [txn] of refused) {
    clock.advance(1_000);
    const event = events[txn];
    assert(event !== undefined);
    assert.equal((await sendOne(resident, { event, txn })).status, 200, "a refused transaction may come again");
  }
  assert.deepEqual(await bodiesIn(alice, roomId), events.map((_, index) => `${index}`).sort());
  assert.equal(resident.federation.bodies.held, 0);
});

testEachServer("bodies that do not end take a bounded part of memory, and nobody else's place", async (database) => {
  await using resident = await startResident(database);
  await using other = await Receiver.start();
  const { roomId, alice } = await openRoom(resident);
  await other.join(resident.base, roomId);
  const { arriving } = resident;
  const [count, sent] = [30, 3 * MIB];
  const uploads: Upload[] = [];
  try {
    for (let index = 0; index < count; index++) uploads.push(await Upload.start(resident, { declared: 4 * MIB, sent }));
    const refused = () => uploads.filter(({ answer }) => answer !== "");
    await until("those for which there is no room are refused", () => {
      assert(arriving.held <= MAX_ARRIVING, `${arriving.held} bytes are held`);
      return refused().length >= count - MAX_ARRIVING / sent;
    });
    // Who still writes may find the connection closed before the answer is read.
    for (const { answer } of refused()) assert.match(answer, /^(HTTP\/1\.1 429 |closed$)/);
    assert(refused().some(({ answer }) => answer !== "closed"));
    assert.equal((await other.ask(resident.base, "/v1/query/profile?user_id=@alice:hs.test")).status, 200);
    // Large bodies that do come are taken all the same, also from the address of those that do not.
    const event = await make(resident, { roomId, content: { body: "meanwhile", filler: "x".repeat(40_000) } });
    assert.equal((await sendOne(resident, { event, txn: 1 })).status, 200);
    assert.deepEqual(await bodiesIn(alice, roomId), ["meanwhile"]);
  } finally {
    for (const upload of uploads) upload.close();
  }
  await until("all is given back", () => arriving.held === 0);
  assert.equal(resident.federation.bodies.held, 0);
});

/** A transaction whose body stops in the middle. */
class Upload {
  /** What the server said; empty as long as it waits for the rest. */
  answer = "";
  readonly #connection: Deno.TcpConn;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async start(
    { base, signer }: Resident,
    { declared, sent }: { declared: number; sent: number },
  ): Promise<Upload> {
    const { hostname, port } = new URL(base);
    const connection = await Deno.connect({ hostname, port: Number(port) });
    const upload = new Upload(connection);
    void upload.#listen();
    const credentials = `X-Matrix origin="${signer.serverName}",key="ed25519:1",sig="AAAA"`;
    const head = `PUT /_matrix/federation/v1/send/endless HTTP/1.1\r\nHost: ${hostname}\r\n` +
      `Authorization: ${credentials}\r\nContent-Length: ${declared}\r\n\r\n`;
    void upload.#write([new TextEncoder().encode(head), new Uint8Array(sent).fill(32)]);
    return upload;
  }

  close(): void {
    try {
      this.#connection.close();
    } catch {
      // The server closed it.
    }
  }

  async #write(parts: readonly Uint8Array[]): Promise<void> {
    try {
      for (const part of parts) {
        for (let at = 0; at < part.length;) at += await this.#connection.write(part.subarray(at));
      }
    } catch {
      // A refused upload ends in the middle.
    }
  }

  async #listen(): Promise<void> {
    const buffer = new Uint8Array(4_096);
    try {
      const length = await this.#connection.read(buffer);
      this.answer = new TextDecoder().decode(buffer.subarray(0, length ?? 0)) || "closed";
    } catch {
      this.answer ||= "closed";
    }
  }
}

testEachServer("a server that is slow to give what is missing does not hold up the room", async (database) => {
  await using resident = await startResident(database);
  await using other = await Receiver.start();
  const { roomId, alice } = await openRoom(resident);
  await other.join(resident.base, roomId);
  const others = resident.peer.handler;
  const { promise, resolve } = Promise.withResolvers<void>();
  let isAsked = false;
  resident.peer.handler = async (request) => {
    if (!request.url.includes("/get_missing_events/")) return await others(request);
    isAsked = true;
    await promise;
    return { json: { events: [] } };
  };
  const hidden = await make(resident, { roomId, content: { body: "hidden" } });
  const gap = await make(resident, { roomId, content: { body: "gap" }, prev: [hidden.eventId] });
  const slow = sendOne(resident, { event: gap, txn: 1 });
  await until("it is asked", () => isAsked);
  const draft = { roomId, content: { body: "good" }, sender: other.userId, signer: other.signer };
  const good = await make(resident, draft);
  const body = { origin: other.signer.serverName, origin_server_ts: 1, pdus: [wire(good)] };
  const answer = await other.ask(resident.base, "/v1/send/quick", body);
  assert.deepEqual([answer.status, answer.body.pdus], [200, { [good.eventId]: {} }]);
  assert.deepEqual(await bodiesIn(alice, roomId), ["good"]);
  resolve();
  assert.equal((await slow).status, 200);
  assert.deepEqual(await bodiesIn(alice, roomId), ["good"]);
});
