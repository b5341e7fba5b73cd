/** Pushers whose gateway fails. Spec: Push Gateway API; the waiting times are Synapse's. */
import assert from "node:assert/strict";
import type { UserId } from "../../src/protocol/ids.ts";
import { selectPushers } from "../../src/storage/pushers.ts";
import type { TestClient } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { PushGateway } from "../harness/push_gateway.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const HOUR_MS = 3_600_000;

async function start(
  { database, clock, gateway, push = {} }: {
    database: Parameters<typeof TestServer.start>[0]["database"];
    clock: FakeClock;
    gateway: PushGateway;
    push?: Record<string, unknown>;
  },
): Promise<{ hs: TestServer; alice: TestClient; bob: TestClient; roomId: string }> {
  const hs = await TestServer.start({ database, clock, config: { ip_range_blacklist: [], push } });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.post("/pushers/set", {
    ...{ kind: "http", app_id: "app", app_display_name: "App", device_display_name: "Phone" },
    ...{ pushkey: "key", lang: "en", data: { url: gateway.url } },
  });
  return { hs, alice, bob, roomId };
}

/** Waits until the pusher has failed so many times, and returns when it is tried again. */
async function failures(hs: TestServer, { userId, count }: { userId: string; count: number }): Promise<number | null> {
  while (true) {
    const [pusher] = await selectPushers(hs.parts.core.db, userId as UserId);
    assert.ok(pusher);
    if (pusher.failures === count) return pusher.retryTs;
    await new Promise((resolve) => setTimeout(resolve));
  }
}

testEachServer("attempts are put off further each time, across a restart", async (database) => {
  await using gateway = new PushGateway();
  const clock = new FakeClock();
  const { hs, alice, bob, roomId } = await start({ database, clock, gateway });
  await using _hs = hs;
  gateway.answer = () => ({ status: 503 });
  const eventId = await alice.sendText(roomId, "one");
  for (const [index, seconds] of [1, 2, 4, 8].entries()) {
    const retryTs = await failures(hs, { userId: bob.userId, count: index + 1 });
    assert.equal(retryTs, clock.now() + seconds * 1_000);
    assert.equal(gateway.notifications.length, index + 1);
    if (seconds < 8) clock.advance(seconds * 1_000);
  }
  await hs.restart();
  await hs.again(alice).sendText(roomId, "two");
  assert.equal(gateway.notifications.length, 4);
  gateway.answer = () => ({});
  clock.advance(8_000);
  await gateway.find((n) => n.content?.body === "two");
  assert.deepEqual(gateway.notifications.slice(4).map((n) => n.content.body), ["one", "two"]);
  assert.equal(gateway.notifications[4].event_id, eventId);
  assert.equal(await failures(hs, { userId: bob.userId, count: 0 }), null);
});

testEachServer("after a day a notification is given up", async (database) => {
  await using gateway = new PushGateway();
  const clock = new FakeClock();
  const { hs, alice, bob, roomId } = await start({ database, clock, gateway });
  await using _hs = hs;
  gateway.answer = () => ({ status: 503 });
  await alice.sendText(roomId, "old");
  await failures(hs, { userId: bob.userId, count: 1 });
  clock.advance(25 * HOUR_MS);
  assert.equal(await failures(hs, { userId: bob.userId, count: 0 }), null);
  gateway.answer = () => ({});
  gateway.notifications.length = 0;
  const eventId = await alice.sendText(roomId, "new");
  await gateway.find((n) => n.event_id === eventId);
  assert.equal(gateway.notifications.length, 1);
});

testEachServer("push.jitter_delay puts pushes off for no longer than it says", async (database) => {
  await using gateway = new PushGateway();
  const clock = new FakeClock();
  const { hs, alice, roomId } = await start({ database, clock, gateway, push: { jitter_delay: "10s" } });
  await using _hs = hs;
  const eventId = await alice.sendText(roomId, "one");
  const sent = clock.now();
  while (gateway.notifications.length === 0) {
    if (clock.now() < sent + 10_000) clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.equal(gateway.notifications[0].event_id, eventId);
});

testEachServer("an answer that is no JSON is a failure", async (database) => {
  await using gateway = new PushGateway();
  const clock = new FakeClock();
  const { hs, alice, bob, roomId } = await start({ database, clock, gateway });
  await using _hs = hs;
  gateway.answer = () => ({ text: "<html>" });
  await alice.sendText(roomId, "one");
  await failures(hs, { userId: bob.userId, count: 1 });
});
