/** Receipts and read markers. Spec: client-server API, "Receipts", "Fully read markers", "Threaded read receipts". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

interface Read {
  readonly roomId: string;
  readonly eventId: string;
  readonly type?: string;
  readonly threadId?: string;
}

async function read(client: TestClient, { roomId, eventId, type = "m.read", threadId }: Read): Promise<void> {
  await client.post(
    path`/rooms/${roomId}/receipt/${type}/${eventId}`,
    threadId === undefined ? {} : { thread_id: threadId },
  );
}

/** Returns the receipts of a response as `event type user thread`, sorted. */
function receiptsIn(response: Json, roomId: string): string[] {
  const found: string[] = [];
  for (const event of response.rooms?.join?.[roomId]?.ephemeral?.events ?? []) {
    if (event.type !== "m.receipt") continue;
    assert.equal(event.room_id, undefined);
    for (const [eventId, types] of Object.entries<Json>(event.content)) {
      for (const [type, users] of Object.entries<Json>(types)) {
        for (const [user, { ts, thread_id }] of Object.entries<Json>(users)) {
          assert.equal(typeof ts, "number");
          found.push([eventId, type, user, ...thread_id === undefined ? [] : [thread_id]].join(" "));
        }
      }
    }
  }
  return found.sort();
}

async function room(alice: TestClient, bob: TestClient): Promise<{ roomId: string; events: [string, string, string] }> {
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const say = (text: string) => alice.sendText(roomId, text);
  return { roomId, events: [await say("one"), await say("two"), await say("three")] };
}

testEachServer("a receipt reaches the members, moves forward only and survives a restart", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const { roomId, events: [one, two, three] } = await room(alice, bob);
  await alice.sync();
  await read(bob, { roomId, eventId: two });
  const expected = [`${two} m.read ${bob.userId}`];
  const response = await alice.syncUntil((response) => receiptsIn(response, roomId).length > 0);
  assert.deepEqual(receiptsIn(response, roomId), expected);
  await read(bob, { roomId, eventId: one });
  assert.deepEqual(receiptsIn(await alice.sync(), roomId), []);
  await hs.restart();
  const [again, bobAgain] = [hs.again(alice), hs.again(bob)];
  again.since = null;
  assert.deepEqual(receiptsIn(await again.sync(), roomId), expected);
  await read(bobAgain, { roomId, eventId: three });
  assert.deepEqual(receiptsIn(await again.sync({ timeout: 10_000 }), roomId), [`${three} m.read ${bob.userId}`]);
});

testEachServer("reading clears the unread counts; a private receipt is shown to its maker alone", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const { roomId, events: [, two, three] } = await room(alice, bob);
  const phone = await bob.anotherDevice();
  const unread = (response: Json) => response.rooms.join[roomId].unread_notifications.notification_count;
  assert.equal(unread(await bob.sync()), 3);
  await phone.sync();
  await alice.sync();
  await read(bob, { roomId, eventId: two, type: "m.read.private" });
  for (const client of [bob, phone]) {
    const response = await client.sync({ timeout: 10_000 });
    assert.equal(unread(response), 1);
    assert.deepEqual(receiptsIn(response, roomId), [`${two} m.read.private ${bob.userId}`]);
  }
  await read(bob, { roomId, eventId: three });
  const seen = await alice.syncUntil((response) => receiptsIn(response, roomId).length > 0);
  assert.deepEqual(receiptsIn(seen, roomId), [`${three} m.read ${bob.userId}`]);
  alice.since = null;
  assert.deepEqual(receiptsIn(await alice.sync(), roomId), [`${three} m.read ${bob.userId}`]);
  assert.equal(unread(await bob.sync()), 0);
});

testEachServer(
  "receipts in threads stand beside those outside; of two for one event the one outside counts",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    const { roomId, events: [root, , last] } = await room(alice, bob);
    const relates = (event_id: string, rel_type: string) => ({
      type: "m.room.message",
      content: { msgtype: "m.text", body: "x", "m.relates_to": { rel_type, event_id, key: "x" } },
    });
    const inThread = await alice.send(roomId, relates(root, "m.thread"));
    const reaction = await alice.send(roomId, relates(inThread, "m.annotation"));
    const reference = await alice.send(roomId, relates(root, "m.reference"));
    await alice.sync();
    await read(bob, { roomId, eventId: last, threadId: "main" });
    await read(bob, { roomId, eventId: inThread, threadId: root });
    await read(bob, { roomId, eventId: inThread });
    await read(bob, { roomId, eventId: inThread, threadId: root });
    alice.since = null;
    assert.deepEqual(
      receiptsIn(await alice.sync(), roomId),
      [`${inThread} m.read ${bob.userId}`, `${last} m.read ${bob.userId} main`].sort(),
    );
    for (
      const [eventId, threadId] of [[root, root], [root, "main"], [reaction, root], [reference, root], [
        reference,
        "main",
      ]]
    ) {
      await read(bob, { roomId, eventId: eventId ?? "", threadId: threadId ?? "" });
    }
    const wrong = { status: 400, errcode: "M_INVALID_PARAM" };
    for (
      const [eventId, threadId] of [[inThread, "main"], [reaction, "main"], [last, root], [inThread, last], [
        last,
        "$x",
      ]]
    ) {
      const target = path`/rooms/${roomId}/receipt/m.read/${eventId ?? ""}`;
      await bob.fails("POST", target, { body: { thread_id: threadId }, ...wrong });
    }
  },
);

testEachServer(
  "read markers set all three at once; m.fully_read is account data and moves forward only",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    const { roomId, events: [one, two, three] } = await room(alice, bob);
    await bob.sync();
    const markers = path`/rooms/${roomId}/read_markers`;
    await bob.post(markers, { "m.fully_read": two, "m.read": two, "m.read.private": three });
    const marker = (response: Json) =>
      response.rooms?.join?.[roomId]?.account_data?.events.find((event: Json) => event.type === "m.fully_read")
        ?.content;
    const response = await bob.sync({ timeout: 10_000 });
    assert.deepEqual(marker(response), { event_id: two });
    assert.deepEqual(
      receiptsIn(response, roomId),
      [`${two} m.read ${bob.userId}`, `${three} m.read.private ${bob.userId}`].sort(),
    );
    await bob.post(markers, { "m.fully_read": one });
    const stored = path`/user/${bob.userId}/rooms/${roomId}/account_data/m.fully_read`;
    assert.deepEqual(await bob.get(stored), { event_id: two });
    await read(bob, { roomId, eventId: three, type: "m.fully_read" });
    assert.deepEqual(await bob.get(stored), { event_id: three });
    await bob.post(markers);
  },
);

testEachServer("receipts are refused to strangers, for unknown events and in wrong shapes", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const { roomId, events: [one] } = await room(alice, bob);
  const elsewhere = await room(alice, bob);
  const target = path`/rooms/${roomId}/receipt/m.read/${one}`;
  const markers = path`/rooms/${roomId}/read_markers`;
  const noToken = { body: {}, status: 401, errcode: "M_MISSING_TOKEN" };
  for (const url of [target, markers]) {
    await hs.anyone.fails("POST", url, noToken);
    await carol.fails("POST", url, { body: {}, status: 403, errcode: "M_FORBIDDEN" });
    await bob.fails("POST", url, { body: "{", status: 400, errcode: "M_NOT_JSON" });
    await bob.fails("POST", url, { body: [], status: 400, errcode: "M_BAD_JSON" });
  }
  const wrong = { status: 400, errcode: "M_INVALID_PARAM" };
  for (const thread_id of ["", 1, null, {}, "a\u0000b", "x".repeat(256)]) {
    await bob.fails("POST", target, { body: { thread_id }, ...wrong });
  }
  await bob.fails("POST", path`/rooms/${roomId}/receipt/m.unread/${one}`, { body: {}, ...wrong });
  await bob.fails("POST", path`/rooms/${roomId}/receipt/m.fully_read/${one}`, {
    body: { thread_id: "main" },
    ...wrong,
  });
  await bob.fails("POST", path`/rooms/${roomId}/receipt/m.read/nonsense`, { body: {}, ...wrong });
  await bob.fails("POST", markers, { body: { "m.read": "nonsense" }, ...wrong });
  await bob.fails("POST", markers, { body: { "m.fully_read": 1 }, status: 400, errcode: "M_BAD_JSON" });
  const unknown = { status: 404, errcode: "M_NOT_FOUND" };
  await bob.fails("POST", path`/rooms/${roomId}/receipt/m.read/${elsewhere.events[0]}`, { body: {}, ...unknown });
  await bob.fails("POST", markers, { body: { "m.read": one, "m.fully_read": "$unknown" }, ...unknown });
  assert.deepEqual(receiptsIn(await bob.sync(), roomId), []);
});

testEachServer("the fully read marker goes back where the client says so (MSC4446)", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const [one, two] = [await alice.sendText(roomId, "one"), await alice.sendText(roomId, "two")];
  const stored = path`/user/${alice.userId}/rooms/${roomId}/account_data/m.fully_read`;
  const markers = path`/rooms/${roomId}/read_markers`;
  const receipt = (type: string, eventId: string) => path`/rooms/${roomId}/receipt/${type}/${eventId}`;
  const marker = async () => (await alice.get(stored)).event_id;
  await alice.post(markers, { "m.fully_read": two });
  await alice.post(markers, { "m.fully_read": one, "com.beeper.allow_backward": false });
  assert.equal(await marker(), two);
  await alice.post(markers, { "m.fully_read": one, "com.beeper.allow_backward": true });
  assert.equal(await marker(), one);
  await alice.post(receipt("m.fully_read", two), {});
  await alice.post(receipt("m.fully_read", one), { "com.beeper.allow_backward": true });
  assert.equal(await marker(), one);
  const invalid = { status: 400, errcode: "M_INVALID_PARAM" };
  for (const [type, allow] of [["m.read", true], ["m.fully_read", "yes"]] as const) {
    await alice.fails("POST", receipt(type, one), { body: { "com.beeper.allow_backward": allow }, ...invalid });
  }
  const body = { "m.fully_read": two, "com.beeper.allow_backward": 1 };
  await alice.fails("POST", markers, { body, status: 400, errcode: "M_BAD_JSON" });
  assert.equal(await marker(), one);
});
