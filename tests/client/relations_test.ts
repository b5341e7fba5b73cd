// deno-lint-ignore-file synapse-ts/max-positional -- the helpers read like the requests they make
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_matrix/client/v1";

function relation(relType: string, eventId: string, extra: Json = {}): Json {
  return { "m.relates_to": { rel_type: relType, event_id: eventId, ...extra } };
}

function text(body: string, extra: Json = {}): { type: string; content: Json } {
  return { type: "m.room.message", content: { msgtype: "m.text", body, ...extra } };
}

async function edit(client: TestClient, roomId: string, { of, body }: { of: string; body: string }): Promise<string> {
  const content = { "m.new_content": { msgtype: "m.text", body }, ...relation("m.replace", of) };
  return await client.send(roomId, text(`* ${body}`, content));
}

async function reply(
  client: TestClient,
  roomId: string,
  { root, body }: { root: string; body: string },
): Promise<string> {
  return await client.send(roomId, text(body, relation("m.thread", root)));
}

async function bundle(client: TestClient, roomId: string, eventId: string): Promise<Json> {
  const event = await client.get(path`/rooms/${roomId}/event/${eventId}`);
  return event.unsigned["m.relations"];
}

async function roomOfTwo(database: Parameters<typeof TestServer.start>[0]["database"]): Promise<{
  hs: TestServer;
  alice: TestClient;
  bob: TestClient;
  roomId: string;
}> {
  const hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  return { hs, alice, bob, roomId };
}

testEachServer("the latest edit by the sender is bundled, everywhere the event is shown", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const eventId = await alice.sendText(roomId, "one");
  assert.equal(await bundle(alice, roomId, eventId), undefined);
  await edit(alice, roomId, { of: eventId, body: "two" });
  const last = await edit(alice, roomId, { of: eventId, body: "three" });
  await edit(bob, roomId, { of: eventId, body: "not mine" });
  const bundled = await bundle(bob, roomId, eventId);
  assert.equal(bundled["m.replace"].event_id, last);
  assert.equal(bundled["m.replace"].content["m.new_content"].body, "three");
  assert.equal(bundled["m.replace"].sender, alice.userId);
  const messages = await bob.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 20 });
  const shown = messages.chunk.find((event: Json) => event.event_id === eventId);
  assert.equal(shown.content.body, "one");
  assert.equal(shown.unsigned["m.relations"]["m.replace"].event_id, last);
  const context = await bob.get(path`/rooms/${roomId}/context/${eventId}`);
  assert.equal(context.event.unsigned["m.relations"]["m.replace"].event_id, last);
  const synced = await bob.get("/sync", { filter: JSON.stringify({ room: { timeline: { limit: 5 } } }) });
  const inSync = synced.rooms.join[roomId].timeline.events.find((event: Json) => event.event_id === eventId);
  assert.equal(inSync.unsigned["m.relations"]["m.replace"].event_id, last);
});

testEachServer("a redacted edit gives way to the one before it, and a redacted event has none", async (database) => {
  const { hs, alice, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const eventId = await alice.sendText(roomId, "one");
  const first = await edit(alice, roomId, { of: eventId, body: "two" });
  const second = await edit(alice, roomId, { of: eventId, body: "three" });
  assert.equal((await bundle(alice, roomId, eventId))["m.replace"].event_id, second);
  await alice.put(path`/rooms/${roomId}/redact/${second}/r1`);
  assert.equal((await bundle(alice, roomId, eventId))["m.replace"].event_id, first);
  await alice.put(path`/rooms/${roomId}/redact/${eventId}/r2`);
  assert.equal(await bundle(alice, roomId, eventId), undefined);
});

testEachServer("a thread is summed up with its root", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const root = await alice.sendText(roomId, "root");
  await reply(bob, roomId, { root, body: "r1" });
  const second = await reply(bob, roomId, { root, body: "r2" });
  const edited = await edit(bob, roomId, { of: second, body: "r2 again" });
  const thread = (await bundle(alice, roomId, root))["m.thread"];
  assert.equal(thread.count, 2);
  assert.equal(thread.latest_event.event_id, second);
  assert.equal(thread.latest_event.unsigned["m.relations"]["m.replace"].event_id, edited);
  assert.equal(thread.current_user_participated, true);
  const [carol] = await hs.register("carol");
  await carol.join(roomId);
  assert.equal((await bundle(carol, roomId, root))["m.thread"].current_user_participated, false);
  await bob.put(path`/rooms/${roomId}/redact/${second}/r1`);
  const left = (await bundle(alice, roomId, root))["m.thread"];
  assert.equal(left.count, 1);
  assert.equal(left.latest_event.content.body, "r1");
});

testEachServer("what ignored users wrote is not bundled", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const root = await alice.sendText(roomId, "root");
  await reply(alice, roomId, { root, body: "mine" });
  await reply(bob, roomId, { root, body: "noise" });
  await alice.put(path`/user/${alice.userId}/account_data/m.ignored_user_list`, {
    ignored_users: { [bob.userId]: {} },
  });
  const thread = (await bundle(alice, roomId, root))["m.thread"];
  assert.equal(thread.count, 1);
  assert.equal(thread.latest_event.content.body, "mine");
  const { chunk } = await alice.get(`${V1}${path`/rooms/${roomId}/relations/${root}`}`);
  assert.deepEqual(chunk.map((event: Json) => event.content.body), ["mine"]);
});

testEachServer("references are listed by id", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const eventId = await alice.sendText(roomId, "one");
  const reference = await bob.send(roomId, text("see", relation("m.reference", eventId)));
  assert.deepEqual((await bundle(alice, roomId, eventId))["m.reference"], { chunk: [{ event_id: reference }] });
});

testEachServer("GET /relations pages both ways, filters, and follows relations of relations", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const root = await alice.sendText(roomId, "root");
  const ids: string[] = [];
  for (let n = 0; n < 5; n++) ids.push(await reply(bob, roomId, { root, body: `r${n}` }));
  const reaction = await alice.send(roomId, {
    type: "m.reaction",
    content: relation("m.annotation", root, { key: "👍" }),
  });
  const nested = await alice.send(roomId, {
    type: "m.reaction",
    content: relation("m.annotation", ids[0] ?? "", { key: "👍" }),
  });
  const list = async (tail: string, query: Json): Promise<Json> =>
    await alice.get(`${V1}${path`/rooms/${roomId}/relations/${root}`}${tail}`, query);
  const idsOf = ({ chunk }: Json) => chunk.map((event: Json) => event.event_id);

  assert.deepEqual(idsOf(await list("", { limit: 100 })), [reaction, ...[...ids].reverse()]);
  const first = await list("/m.thread", { limit: 2, dir: "f" });
  assert.deepEqual(idsOf(first), ids.slice(0, 2));
  const second = await list("/m.thread", { limit: 2, dir: "f", from: first.next_batch });
  assert.deepEqual(idsOf(second), ids.slice(2, 4));
  const third = await list("/m.thread", { limit: 2, dir: "f", from: second.next_batch });
  assert.deepEqual([idsOf(third), third.next_batch], [ids.slice(4), undefined]);
  const back = await list("/m.thread/m.room.message", { limit: 3 });
  assert.deepEqual(idsOf(await list("/m.thread/m.room.message", { from: back.next_batch })), [ids[1], ids[0]]);
  assert.deepEqual(idsOf(await list("/m.annotation/m.reaction", {})), [reaction]);
  assert.deepEqual(idsOf(await list("/m.annotation/m.room.message", {})), []);
  const all = await list("/m.annotation", { recurse: true });
  assert.deepEqual(idsOf(all), [nested, reaction]);
  assert.equal(all.recursion_depth, 3);
});

testEachServer("GET /relations refuses strangers, bad tokens and unknown events", async (database) => {
  const { hs, alice, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const [carol] = await hs.register("carol");
  const secret = await alice.createRoom({ preset: "private_chat" });
  const eventId = await alice.sendText(secret, "hidden");
  const target = `${V1}${path`/rooms/${secret}/relations/${eventId}`}`;
  await carol.fails("GET", target, { status: 403, errcode: "M_FORBIDDEN" });
  await carol.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN", token: null });
  await alice.fails("GET", `${target}?from=x`, { status: 400, errcode: "M_INVALID_PARAM" });
  await alice.fails("GET", `${target}?dir=x`, { status: 400, errcode: "M_INVALID_PARAM" });
  const wrongRoom = `${V1}${path`/rooms/${roomId}/relations/${eventId}`}`;
  await alice.fails("GET", wrongRoom, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("GET /threads lists the latest first, all or those one takes part in", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const roots: string[] = [];
  for (let n = 0; n < 3; n++) {
    const root = await alice.sendText(roomId, `root ${n}`);
    await reply(alice, roomId, { root, body: "reply" });
    roots.push(root);
  }
  const [a = "", b = "", c = ""] = roots;
  await reply(bob, roomId, { root: a, body: "late" });
  const target = `${V1}${path`/rooms/${roomId}/threads`}`;
  const idsOf = ({ chunk }: Json) => chunk.map((event: Json) => event.event_id);
  const all = await bob.get(target);
  assert.deepEqual([idsOf(all), all.next_batch], [[a, c, b], undefined]);
  assert.equal(all.chunk[0].unsigned["m.relations"]["m.thread"].count, 2);
  assert.deepEqual(idsOf(await bob.get(target, { include: "participated" })), [a]);
  const first = await bob.get(target, { limit: 2 });
  assert.deepEqual(idsOf(first), [a, c]);
  assert.deepEqual(idsOf(await bob.get(target, { limit: 2, from: first.next_batch })), [b]);
  await bob.fails("GET", `${target}?include=some`, { status: 400, errcode: "M_INVALID_PARAM" });
  const [carol] = await hs.register("carol");
  const secret = await alice.createRoom();
  await carol.fails("GET", `${V1}${path`/rooms/${secret}/threads`}`, { status: 403, errcode: "M_FORBIDDEN" });
});

testEachServer("a thread whose replies are all redacted is listed no more", async (database) => {
  const { hs, alice, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const root = await alice.sendText(roomId, "root");
  const only = await reply(alice, roomId, { root, body: "reply" });
  await alice.put(path`/rooms/${roomId}/redact/${only}/r1`);
  assert.deepEqual((await alice.get(`${V1}${path`/rooms/${roomId}/threads`}`)).chunk, []);
});

testEachServer("the same reaction twice is refused, but a repeated request is not", async (database) => {
  const { hs, alice, bob, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const eventId = await alice.sendText(roomId, "one");
  const body = relation("m.annotation", eventId, { key: "👍" });
  const put = (client: TestClient, txn: string) =>
    client.request("PUT", path`/rooms/${roomId}/send/m.reaction/${txn}`, { body });
  const first = await put(alice, "a");
  assert.equal(first.status, 200);
  assert.deepEqual((await put(alice, "a")).body, first.body);
  const second = await put(alice, "b");
  assert.deepEqual([second.status, second.body.errcode], [400, "M_DUPLICATE_ANNOTATION"]);
  assert.equal((await put(bob, "a")).status, 200);
  await alice.put(path`/rooms/${roomId}/redact/${first.body.event_id}/r`);
  assert.equal((await put(alice, "c")).status, 200);
  const noKey = { body: relation("m.annotation", eventId), status: 400, errcode: "M_BAD_JSON" };
  await alice.fails("PUT", path`/rooms/${roomId}/send/m.reaction/d`, noKey);
});

testEachServer("relations across rooms and threads within threads are refused", async (database) => {
  const { hs, alice, roomId } = await roomOfTwo(database);
  await using _ = hs;
  const other = await alice.createRoom();
  const elsewhere = await alice.sendText(other, "elsewhere");
  const root = await alice.sendText(roomId, "root");
  const inThread = await reply(alice, roomId, { root, body: "reply" });
  const send = async (content: Json) =>
    (await alice.request("PUT", path`/rooms/${roomId}/send/m.room.message/${crypto.randomUUID()}`, { body: content }))
      .status;
  assert.equal(await send(relation("m.reference", elsewhere)), 400);
  assert.equal(await send(relation("m.thread", inThread)), 400);
  assert.equal(await send(relation("m.thread", "$unknown")), 200);
});
