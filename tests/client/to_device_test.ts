/** Messages from device to device. Spec: client-server API, "Send-to-Device messaging". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const TYPE = "org.example.request";
const TO_DEVICE_LIMIT = 100;

function target(txnId: string, type = TYPE): string {
  return path`/sendToDevice/${type}/${txnId}`;
}

function to({ userId, deviceId }: Pick<TestClient, "userId" | "deviceId">, content: Json): Json {
  return { messages: { [userId]: { [deviceId]: content } } };
}

function contents(response: Json): Json[] {
  return (response.to_device?.events ?? []).map((event: Json) => event.content);
}

testEachServer("a message wakes its device, comes until it is acknowledged, and then no more", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const other = await bob.anotherDevice();
  await bob.sync();
  await other.sync();
  const waiting = bob.sync({ timeout: 15_000 });
  const before = bob.since;
  await alice.put(target("1"), to(bob, { text: "ключ 🔑 \u0000" }));
  const response = await waiting;
  assert.deepEqual(response.to_device.events, [
    { type: TYPE, sender: alice.userId, content: { text: "ключ 🔑 \u0000" } },
  ]);
  // The answer was lost: the client asks again from where it was.
  await hs.restart();
  const again = hs.again(bob);
  again.since = before;
  assert.deepEqual(contents(await again.sync()), [{ text: "ключ 🔑 \u0000" }]);
  assert.deepEqual(contents(await again.sync()), []);
  await hs.restart();
  const last = hs.again(bob);
  last.since = before;
  assert.deepEqual(contents(await last.sync()), []);
  assert.deepEqual(contents(await hs.again(other).sync()), []);
});

testEachServer("a transaction id counts once for each device and type, also after a restart", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const phone = await alice.anotherDevice();
  await alice.put(target("same/id"), to(bob, { n: 1 }));
  await alice.put(target("same/id"), to(bob, { n: 2 }));
  await phone.put(target("same/id"), to(bob, { n: 3 }));
  await alice.put(target("same/id", "org.example.other"), to(bob, { n: 4 }));
  await hs.restart();
  await hs.again(alice).put(target("same/id"), to(bob, { n: 5 }));
  assert.deepEqual(contents(await hs.again(bob).sync()), [{ n: 1 }, { n: 3 }, { n: 4 }]);
});

testEachServer("* reaches every device of a user; unknown users and devices none", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const phone = await bob.anotherDevice();
  const { messages } = to({ userId: bob.userId, deviceId: "*" }, { all: true });
  await alice.put(target("1"), {
    messages: { ...messages, "@nobody:hs.test": { "*": {} }, "@x:other.test": { A: {} } },
  });
  await alice.put(target("2"), to({ userId: bob.userId, deviceId: "NOSUCHDEVICE" }, {}));
  await alice.put(target("3"), { messages: {} });
  for (const client of [bob, phone]) assert.deepEqual(contents(await client.sync()), [{ all: true }]);
  assert.deepEqual(contents(await alice.sync()), []);
});

testEachServer("many messages come in order, a page at a time", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const total = TO_DEVICE_LIMIT * 2 + 1;
  for (let n = 0; n < total; n++) await alice.put(target(`t${n}`), to(bob, { n }));
  const got: number[] = [];
  for (let page = 0; page < 3; page++) got.push(...contents(await bob.sync()).map(({ n }) => n));
  assert.deepEqual(got, Array.from({ length: total }, (_, n) => n));
});

testEachServer("the inbox of a device goes with the device", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const phone = await bob.anotherDevice("PHONE");
  await alice.put(target("1"), to(phone, { secret: true }));
  await phone.post("/logout");
  const again = await bob.anotherDevice("PHONE");
  assert.deepEqual(contents(await again.sync()), []);
});

testEachServer("messages to devices are checked and bounded", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await hs.anyone.fails("PUT", target("1"), { body: to(bob, {}), status: 401, errcode: "M_MISSING_TOKEN" });
  const bad: [Json, string][] = [
    ["{", "M_NOT_JSON"],
    [{}, "M_MISSING_PARAM"],
    [{ messages: [] }, "M_BAD_JSON"],
    [{ messages: { [bob.userId]: [] } }, "M_BAD_JSON"],
    [{ messages: { [bob.userId]: { A: "text" } } }, "M_BAD_JSON"],
    [{ messages: { nonsense: {} } }, "M_BAD_JSON"],
    [{ messages: { "@a\u0000:hs.test": {} } }, "M_BAD_JSON"],
  ];
  for (const [body, errcode] of bad) await alice.fails("PUT", target("1"), { body, status: 400, errcode });
  await alice.fails("PUT", target("a\u0000"), { body: to(bob, {}), status: 400, errcode: "M_INVALID_PARAM" });
  const large = to({ userId: bob.userId, deviceId: "*" }, { text: "x".repeat(65_536) });
  await alice.fails("PUT", target("1"), { body: large, status: 413, errcode: "M_TOO_LARGE" });
  await alice.put(target("1"), to(bob, { fine: true }));
  assert.deepEqual(contents(await bob.sync()), [{ fine: true }]);
});
