/** The server is killed in the middle of sending, again and again: what it acknowledged arrives, and nothing twice. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { JsonObject } from "../../src/protocol/json.ts";
import { type Account, Caller, path, TestClient } from "../harness/client.ts";
import { RunningProcess } from "../harness/process.ts";
import { testEachServer } from "../harness/server.ts";
import { CA_PATH } from "./certificates.ts";
import { enc } from "./resident.ts";
import { Receiver } from "./receiver.ts";

const ROUNDS = 6;
const MESSAGES = 40;
const CHILD = new URL("sender_child.ts", import.meta.url).pathname;

interface Started {
  readonly child: RunningProcess;
  readonly base: string;
}

async function start(args: readonly string[]): Promise<Started> {
  const child = new RunningProcess(Deno.execPath(), { args: ["run", "--no-check", "-A", "--quiet", CHILD, ...args] });
  const [, base = ""] = await child.waitFor(/listens on (\S+)/, { timeoutMs: 60_000 });
  return { child, base };
}

testEachServer("a server that is killed while it sends loses and doubles nothing", async (database) => {
  await using bob = await Receiver.start();
  const folder = await Deno.makeTempDir({ prefix: "synapse-ts-kill-" });
  const key = `ed25519 a_test ${randomBytes(32).toString("base64").replace(/=+$/, "")}`;
  const args = [JSON.stringify(database.options), key, folder, CA_PATH];
  using http = Deno.createHttpClient({});
  let running = await start(args);
  try {
    const account = await register(running.base, http);
    const alice = () => new TestClient(running.base, { http, account });
    const roomId = await alice().createRoom({ preset: "public_chat" });
    await bob.join(running.base, roomId);
    const acknowledged = new Map<string, string>();
    const delivered = new Set<number>();
    for (let round = 0; round < ROUNDS; round++) {
      const client = alice();
      const work = Array.from({ length: MESSAGES }, async (_, index) => {
        const number = round * MESSAGES + index;
        acknowledged.set(await client.sendText(roomId, `message ${number}`), `message ${number}`);
        const messages = { [bob.userId]: { DEVICE: { number } } };
        await client.put(path`/sendToDevice/org.example.test/${`t${number}`}`, { messages });
        delivered.add(number);
      });
      // A different moment each time: at once, in the middle, when all is acknowledged and some of it under way.
      const enough = Math.floor((MESSAGES * (round + 1)) / ROUNDS);
      const { promise, resolve } = Promise.withResolvers<void>();
      let done = 0;
      const settled = Promise.all(work.map((one) => one.catch(() => {}).finally(() => ++done >= enough && resolve())));
      await promise;
      await running.child.kill();
      await settled;
      running = await start(args);
    }
    await alice().sendText(roomId, "the end");
    await bob.until("the end", () => bob.texts.includes("the end"));
    await bob.until("all messages to devices", () => [...delivered].every((number) => numbersOf(bob).has(number)));
    const seen = checkEvents(bob);
    for (const [eventId, text] of acknowledged) {
      if (seen.has(text)) continue;
      // A restart sends the latest event of a room first; those before it are there to be asked for.
      const { status } = await bob.ask(running.base, `/v1/event/${enc(eventId)}`);
      assert.equal(status, 200, `"${text}" was acknowledged and is gone`);
    }
    checkMessages(bob);
  } finally {
    await running.child.kill();
    await Deno.remove(folder, { recursive: true });
  }
});

async function register(base: string, http: Deno.HttpClient): Promise<Account> {
  const password = "correct horse battery staple";
  const body = { username: "alice", password, auth: { type: "m.login.dummy" } };
  const session = await new Caller(base, { http, accessToken: null }).ok("POST", "/register", { body });
  const { user_id: userId, device_id: deviceId, access_token: accessToken } = session;
  return { userId, deviceId, accessToken, password };
}

/**
 * Returns the texts of the messages that came. They came in order, and each is one event: it may come twice, with the same
 * id, where the answer was lost.
 */
function checkEvents(bob: Receiver): ReadonlySet<string> {
  const bodies = bob.taken.flatMap(({ pdus }) => pdus).filter(({ type }) => type === "m.room.message");
  const depths = new Map(bodies.map((pdu) => [JSON.stringify(pdu), Number(pdu.depth)]));
  const texts = [...depths.keys()].map((text) => JSON.parse(text).content.body as string);
  assert.equal(new Set(texts).size, texts.length, "one message became two events");
  const inOrder = [...depths.values()];
  assert.deepEqual(inOrder, inOrder.toSorted((a, b) => a - b), "events came out of order");
  return new Set(texts);
}

function numbersOf(bob: Receiver): Map<number, Set<string>> {
  const found = new Map<number, Set<string>>();
  for (const { edu_type: type, content } of bob.taken.flatMap(({ edus }) => edus)) {
    if (type !== "m.direct_to_device") continue;
    const { message_id: id, messages } = content as JsonObject;
    const number = (messages as Record<string, Record<string, JsonObject>>)[bob.userId]?.DEVICE?.number as number;
    found.set(number, (found.get(number) ?? new Set()).add(String(id)));
  }
  return found;
}

function checkMessages(bob: Receiver): void {
  for (const [number, ids] of numbersOf(bob)) assert.equal(ids.size, 1, `message ${number} has ${ids.size} ids`);
}
