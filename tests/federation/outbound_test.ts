/** What is ours reaches the other servers: in order, once, and also after they were away. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../src/protocol/json.ts";
import { path, type TestClient } from "../harness/client.ts";
import type { TestDatabase } from "../harness/databases.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { CA_PATH } from "./certificates.ts";
import { testDns } from "./environment.ts";
import { Receiver } from "./receiver.ts";

/** Failures are not tried again within seconds, so that each is one attempt. */
const CONFIG = {
  federation_custom_ca_list: [CA_PATH],
  ip_range_blacklist: [],
  trusted_key_servers: [],
  federation: { max_long_retries: 0, destination_min_retry_interval: "1h", destination_max_retry_interval: "2h" },
};

async function startSender(database: TestDatabase): Promise<TestServer> {
  return await TestServer.start({ database, dns: testDns(), config: CONFIG });
}

async function openRoom(
  { alice, hs }: { alice: TestClient; hs: TestServer },
  ...receivers: Receiver[]
): Promise<string> {
  const roomId = await alice.createRoom({ preset: "public_chat" });
  for (const receiver of receivers) await receiver.join(hs.base, roomId);
  return roomId;
}

function hold(receiver: Receiver): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  receiver.gate = promise;
  return () => {
    receiver.gate = null;
    resolve();
  };
}

/** Waits until the failure of a server is on record. */
async function isLeftAlone(hs: TestServer, { signer }: Receiver): Promise<void> {
  const end = performance.now() + 20_000;
  while (await hs.parts.federation.backoff.waitMs(signer.serverName) === 0) {
    assert(performance.now() < end, "The server was not given up");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function names(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${name} ${index}`);
}

testEachServer(
  "events go out in order, at most 50 and 100 EDUs at a time, one transaction after another",
  async (database) => {
    await using hs = await startSender(database);
    await using bob = await Receiver.start();
    const [alice] = await hs.register("alice");
    const roomId = await openRoom({ alice, hs }, bob);
    const release = hold(bob);
    for (const text of names("message", 130)) await alice.sendText(roomId, text);
    for (let index = 0; index < 150; index++) {
      const messages = { [bob.userId]: { DEVICE: { n: index } } };
      await alice.put(path`/sendToDevice/org.example.test/${`t${index}`}`, { messages });
    }
    release();
    const numbers = () =>
      bob.taken.flatMap(({ edus }) => edus).filter(({ edu_type: type }) => type === "m.direct_to_device").map((edu) =>
        ((edu.content as JsonObject).messages as Record<string, Record<string, JsonObject>>)[bob.userId]?.DEVICE?.n
      );
    await bob.until("everything", () => bob.texts.length >= 130 && numbers().length >= 150);
    assert.deepEqual(bob.texts, names("message", 130));
    assert.deepEqual(numbers(), Array.from({ length: 150 }, (_, index) => index));
    assert.equal(bob.overlaps, 0);
    for (const { pdus, edus } of bob.taken) assert(pdus.length <= 50 && edus.length <= 100);
    assert.equal(new Set(bob.taken.map(({ txnId }) => txnId)).size, bob.taken.length);
  },
);

for (const mood of ["drops", "fails"] as const) {
  testEachServer(
    `a server that ${mood} is left alone, and gets the last of each room when it speaks`,
    async (database) => {
      await using hs = await startSender(database);
      await using bob = await Receiver.start();
      await using carol = await Receiver.start();
      const [alice] = await hs.register("alice");
      const first = await openRoom({ alice, hs }, bob, carol);
      const second = await openRoom({ alice, hs }, bob, carol);
      await carol.until("the joins", () => carol.texts.includes("m.room.member") || carol.texts.length === 0);
      bob.mood = mood;
      const sent = [...names("first", 5), ...names("second", 5), ...names("last", 5)];
      for (const text of sent) await alice.sendText(text.startsWith("second") ? second : first, text);
      await carol.until("all", () => carol.texts.filter((text) => sent.includes(text)).length === sent.length);
      await isLeftAlone(hs, bob);
      const { attempts } = bob;
      await alice.put(path`/sendToDevice/org.example.test/${"one"}`, { messages: { [bob.userId]: { D: { n: 1 } } } });
      for (const text of names("more", 3)) await alice.sendText(second, text);
      await carol.until("more", () => carol.texts.includes("more 2"));
      assert.equal(bob.attempts, attempts, "a server that is away costs no requests");

      bob.mood = "takes";
      bob.taken.length = 0;
      assert.equal((await bob.ask(hs.base, "/v1/query/profile?user_id=@alice:hs.test")).status, 200);
      await bob.until("the last events", () => bob.texts.length >= 2 && bob.taken.some(({ edus }) => edus.length > 0));
      assert.deepEqual(bob.texts, ["last 4", "more 2"]);
      assert.deepEqual(
        bob.taken.flatMap(({ edus }) => edus.map((edu) => edu.edu_type)).filter((type) =>
          type === "m.direct_to_device"
        ),
        ["m.direct_to_device"],
      );
      await alice.sendText(first, "live again");
      await bob.until("the next", () => bob.texts.includes("live again"));
      assert.deepEqual(bob.texts, ["last 4", "more 2", "live again"]);
    },
  );
}

testEachServer(
  "who was away before a restart is left alone after it, and still gets what it is owed",
  async (database) => {
    await using hs = await startSender(database);
    await using bob = await Receiver.start();
    await using carol = await Receiver.start();
    const [alice] = await hs.register("alice");
    const roomId = await openRoom({ alice, hs }, bob, carol);
    bob.mood = "drops";
    await alice.sendText(roomId, "lost");
    await carol.until("it", () => carol.texts.includes("lost"));
    await isLeftAlone(hs, bob);
    const { attempts } = bob;
    bob.mood = "takes";
    await hs.restart();
    const again = hs.again(alice);
    await again.sendText(roomId, "after the restart");
    await carol.until("it", () => carol.texts.includes("after the restart"));
    assert.equal(bob.attempts, attempts, "the pause outlives the process");
    assert.equal((await bob.ask(hs.base, "/v1/query/profile?user_id=@alice:hs.test")).status, 200);
    await bob.until("the last event", () => bob.texts.includes("after the restart"));
    assert(!bob.texts.includes("lost"), "only the latest is sent; what lies between can be asked for");
  },
);

testEachServer("what was not answered before a restart is sent after it", async (database) => {
  await using hs = await startSender(database);
  await using bob = await Receiver.start();
  const [alice] = await hs.register("alice");
  const roomId = await openRoom({ alice, hs }, bob);
  const release = hold(bob);
  await alice.sendText(roomId, "in flight");
  await bob.until("an attempt", () => true);
  const stopped = hs.restart();
  bob.mood = "drops";
  release();
  await stopped;
  bob.mood = "takes";
  await bob.ask(hs.base, "/v1/query/profile?user_id=@alice:hs.test");
  await bob.until("it", () => bob.texts.includes("in flight"));
  assert.equal(bob.texts.filter((text) => text === "in flight").length, 1);
});

testEachServer(
  "a server that is not in the room any more gets the event that says so and no other",
  async (database) => {
    await using hs = await startSender(database);
    await using bob = await Receiver.start();
    const [alice] = await hs.register("alice");
    const roomId = await openRoom({ alice, hs }, bob);
    const other = await openRoom({ alice, hs }, bob);
    await alice.post(path`/rooms/${roomId}/ban`, { user_id: bob.userId });
    await alice.sendText(roomId, "secret");
    await alice.sendText(other, "for all");
    await bob.until("the other room's", () => bob.texts.includes("for all"));
    const bans = bob.taken.flatMap(({ pdus }) => pdus).filter(({ type, content }) =>
      type === "m.room.member" && (content as JsonObject).membership === "ban"
    );
    assert.equal(bans.length, 1);
    assert(!bob.texts.includes("secret"));
  },
);

testEachServer("a room of exclude_rooms_from_presence tells no server who is online", async (database) => {
  await using hs = await startSender(database);
  await using bob = await Receiver.start();
  await using carol = await Receiver.start();
  const [first] = await hs.register("alice");
  const excluded = await openRoom({ alice: first, hs }, bob);
  await openRoom({ alice: first, hs }, carol);
  await hs.restart({ exclude_rooms_from_presence: [excluded] });
  const alice = hs.again(first);
  const told = ({ taken }: Receiver) =>
    taken.some(({ edus }) => edus.some(({ edu_type: type }) => type === "m.presence"));
  await alice.put(path`/presence/${alice.userId}/status`, { presence: "online" });
  await carol.until("the presence", () => told(carol));
  // What would have gone to the other server was to be sent no later than that.
  await alice.sendText(excluded, "after it");
  await bob.until("the message", () => bob.texts.includes("after it"));
  assert.equal(told(bob), false);
});
