/**
 * What other servers get wrong, or do on purpose. Each test says what is right by the spec: server-server API, "Checks
 * performed on receipt of a PDU", and the size limits of the client-server API.
 */
import assert from "node:assert/strict";
import type { Pdu, RoomEvent } from "../../src/protocol/event.ts";
import type { EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { hashAndSignEvent } from "../../src/protocol/signatures.ts";
import { parsePdu } from "../../src/protocol/event_format.ts";
import type { StoredEvent } from "../../src/rooms/types.ts";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { complete, enc, type Resident, startResident } from "./resident.ts";
import { sql } from "../../src/storage/sql.ts";
import { make, openRoom, send, wire } from "./sending.ts";

async function stored({ hs }: Resident, eventId: string): Promise<StoredEvent | null> {
  return await hs.parts.rooms.events.getById(eventId as EventId);
}

async function verdict(resident: Resident, { eventId }: RoomEvent): Promise<string> {
  const found = await stored(resident, eventId);
  if (found === null) return "unknown";
  if (found.isRejected) return "rejected";
  return found.isSoftFailed ? "soft-failed" : found.isOutlier ? "outlier" : "accepted";
}

async function shown(alice: TestClient, roomId: string): Promise<string[]> {
  const page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100 });
  return page.chunk.flatMap(({ content }: { content: { body?: string } }) => content.body ?? []).reverse();
}

/** Changes an event and signs it again. */
function forge({ signer }: Resident, { event, change }: { event: RoomEvent; change: (pdu: Pdu) => void }): RoomEvent {
  const { signatures: _s, hashes: _h, ...rest } = structuredClone(wire(event));
  change(rest as unknown as Pdu);
  const parsed = parsePdu(hashAndSignEvent(rest as unknown as Pdu, { ...signer, rules: event.rules }), event.rules);
  assert(parsed.ok, parsed.ok ? "" : parsed.reason);
  return parsed.event;
}

/** Lets the peer answer some requests; the others go on as they did. */
function answerWith({ peer }: Resident, answers: Readonly<Record<string, JsonObject>>): string[] {
  const others = peer.handler;
  const asked: string[] = [];
  peer.handler = (request) => {
    for (const [part, json] of Object.entries(answers)) {
      if (!request.url.includes(part)) continue;
      asked.push(part);
      return { json };
    }
    return others(request);
  };
  return asked;
}

testEachServer("auth events that are missing are fetched, and without them an event is not taken", async (database) => {
  await using resident = await startResident(database);
  const { roomId } = await openRoom(resident);
  const userId = `@carol:${resident.signer.serverName}`;
  // The join is hidden from us, and the message is authorized by it.
  const join = await make(resident, {
    ...{ roomId, type: "m.room.member", stateKey: userId, sender: userId, content: { membership: "join" } },
  });
  const message = await make(resident, { roomId, content: { body: "hello" }, sender: userId });
  const built = forge(resident, {
    event: message,
    change: (pdu) => void (pdu["auth_events"] = [...message.authEvents, join.eventId]),
  });
  const refused = await send(resident, { pdus: [wire(built)] });
  // Not an error to the sender: the answer says that we need not get it again by a transaction.
  assert.deepEqual(refused, { [built.eventId]: {} });
  assert.equal(await verdict(resident, built), "unknown");
  const asked = answerWith(resident, { "/event_auth/": { auth_chain: [wire(join)] } });
  assert.deepEqual(await send(resident, { pdus: [wire(built)] }), { [built.eventId]: {} });
  assert.deepEqual(asked, ["/event_auth/"]);
  // By its auth events it would be allowed, by the state before it not: nobody has joined there.
  assert.equal(await verdict(resident, built), "rejected");
  assert.equal(await verdict(resident, join), "outlier");
});

testEachServer("an event whose auth events were rejected is rejected, and so on", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const bob = `@bob:${resident.signer.serverName}`;
  const levels = await alice.state(roomId, { type: "m.room.power_levels" });
  const content = { ...levels, users: { ...levels.users, [bob]: 100 } };
  const coup = await make(resident, { roomId, type: "m.room.power_levels", stateKey: "", content });
  const name = await make(resident, { roomId, type: "m.room.name", stateKey: "", content: { name: "Bob's" } });
  const others: EventId[] = [];
  for (const id of name.authEvents) {
    if ((await stored(resident, id))?.event.type !== "m.room.power_levels") others.push(id);
  }
  const follow = forge(resident, {
    event: name,
    change: (pdu) => void (pdu["auth_events"] = [...others, coup.eventId]),
  });
  assert.deepEqual(await send(resident, { pdus: [wire(coup), wire(follow)] }), {
    [coup.eventId]: {},
    [follow.eventId]: {},
  });
  assert.deepEqual([await verdict(resident, coup), await verdict(resident, follow)], ["rejected", "rejected"]);
  assert.deepEqual((await alice.state(roomId, { type: "m.room.power_levels" })).users, levels.users);
  // A message on top of the rejected events is fine: their state is that of before.
  const late = await make(resident, { roomId, content: { body: "still here" }, prev: [follow.eventId] });
  assert.deepEqual(await send(resident, { pdus: [wire(late)] }), { [late.eventId]: {} });
  assert.equal(await verdict(resident, late), "accepted");
});

testEachServer("auth events that do not belong there, twice or of another room, reject an event", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const other = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  await resident.join(other);
  const message = await make(resident, { roomId, content: { body: "x" } });
  const foreign = await make(resident, { roomId: other, content: { body: "x" } });
  const [first] = message.authEvents;
  assert(first !== undefined);
  const topic = await alice.setState(roomId, { type: "m.room.topic", content: { topic: "t" } });
  const changes: Record<string, readonly string[]> = {
    twice: [...message.authEvents, first],
    foreign: foreign.authEvents,
    unrelated: [...message.authEvents, topic],
    none: [],
  };
  for (const [name, authEvents] of Object.entries(changes)) {
    const event = forge(resident, { event: message, change: (pdu) => void (pdu["auth_events"] = [...authEvents]) });
    await send(resident, { pdus: [wire(event)] });
    assert.equal(await verdict(resident, event), "rejected", name);
  }
  assert.deepEqual(await shown(alice, roomId), []);
});

testEachServer("parents of another room, or none at all, reject an event", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const other = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  const sent = await alice.sendText(other, "elsewhere") as EventId;
  const wrong = await make(resident, { roomId, content: { body: "x" }, prev: [sent] });
  const orphan = await make(resident, { roomId, content: { body: "x" }, prev: [] });
  await send(resident, { pdus: [wire(wrong), wire(orphan)] });
  assert.deepEqual(await shown(alice, roomId), []);
  const head = await resident.hs.parts.rooms.engine.head(roomId as RoomId);
  assert.equal(head?.extremities.length, 1);
  const second = await make(resident, { roomId, content: {}, type: "m.room.create", stateKey: "", prev: [] });
  await send(resident, { pdus: [wire(second)] });
  assert.notEqual(await verdict(resident, second), "accepted");
});

testEachServer(
  "events that are too large, too deep or malformed are dropped, and those beside them not",
  async (database) => {
    await using resident = await startResident(database);
    const { roomId, alice } = await openRoom(resident);
    const good = await make(resident, { roomId, content: { body: "good" } });
    const big = await make(resident, { roomId, content: { body: "big" } });
    const nested = JSON.parse(`${'{"a":'.repeat(90)}1${"}".repeat(90)}`);
    const bad: JsonObject[] = [
      { ...wire(big), content: { body: "x".repeat(70_000) } },
      { ...wire(big), depth: -1 },
      { ...wire(big), depth: 1.5 },
      { ...wire(big), depth: 2 ** 60 },
      { ...wire(big), depth: "7" },
      { ...wire(big), origin_server_ts: null },
      { ...wire(big), type: "t".repeat(1_100) },
      { ...wire(big), state_key: "k".repeat(1_100) },
      { ...wire(big), state_key: 5 },
      { ...wire(big), sender: "nobody" },
      { ...wire(big), content: [] },
      { ...wire(big), prev_events: Array(21).fill(big.eventId) },
      { ...wire(big), auth_events: Array(11).fill(big.eventId) },
      { ...wire(big), prev_events: [[big.eventId, {}]] },
      { ...wire(big), hashes: {} },
      { ...wire(big), signatures: [] },
      { ...wire(big), room_id: "!unknown:elsewhere.test" },
      { ...wire(big), room_id: roomId.toUpperCase() },
      { ...wire(big), content: nested },
    ];
    const results = await send(resident, { pdus: [...bad, wire(good)] });
    assert.deepEqual(results[good.eventId], {});
    assert.deepEqual(await shown(alice, roomId), ["good"]);
    const tooDeep = await resident.fetch(`/_matrix/federation/v1/send/deep`, {
      ...{ method: "PUT", body: `{"pdus":${"[".repeat(5_000)}${"]".repeat(5_000)}}` },
      headers: { authorization: `X-Matrix origin="${resident.signer.serverName}",key="ed25519:1",sig="AAAA"` },
    });
    assert.equal(tooDeep.status, 400);
  },
);

testEachServer("the greatest depth there may be does not end a room", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const deep = await make(resident, { roomId, content: { body: "deep" }, depth: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(await send(resident, { pdus: [wire(deep)] }), { [deep.eventId]: {} });
  await alice.sendText(roomId, "after");
  const reply = await make(resident, { roomId, content: { body: "and back" }, depth: 1 });
  assert.deepEqual(await send(resident, { pdus: [wire(reply)] }), { [reply.eventId]: {} });
  // Pages of history go by depth, which is the senders' claim.
  assert.deepEqual(await shown(alice, roomId), ["and back", "deep", "after"]);
});

testEachServer("one event many times over is one event, also where its id is made up", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const event = await make(resident, { roomId, content: { body: "once" } });
  assert.deepEqual(await send(resident, { pdus: Array(20).fill(wire(event)) }), { [event.eventId]: {} });
  assert.deepEqual(await shown(alice, roomId), ["once"]);

  const old = await alice.createRoom({ preset: "public_chat", room_version: "1" });
  await resident.join(old);
  const first = await makeOld(resident, { roomId: old, id: "$same", body: "first" });
  const second = await makeOld(resident, { roomId: old, id: "$same", body: "second" });
  assert.equal(first.eventId, second.eventId);
  const results = await send(resident, { pdus: [wire(first), wire(second)] });
  assert.deepEqual(results, { [first.eventId]: {} });
  assert.deepEqual(await shown(alice, old), ["first"]);
});

/** Makes an event of a room of version 1, in which servers make up the ids. */
async function makeOld(
  resident: Resident,
  { roomId, id, body, parents }: { roomId: string; id: string; body: string; parents?: readonly string[] },
): Promise<RoomEvent> {
  const { signer } = resident;
  const userId = `@bob:${signer.serverName}` as UserId;
  const left = await resident.ask(`/v1/make_leave/${enc(roomId)}/${enc(userId)}`);
  const { state_key: _, ...template } = left.body.event;
  const event = complete({
    event: {
      ...{ ...template, type: "m.room.message", content: { body } },
      ...(parents === undefined ? {} : { prev_events: parents.map((parent) => [parent, { sha256: "x" }]) }),
    },
    room_version: "1",
  }, signer);
  return forge(resident, {
    event,
    change: (pdu) => {
      pdu["event_id"] = `${id}:${signer.serverName}`;
      delete pdu["state_key"];
    },
  });
}

testEachServer("events that claim to be their own ancestors are not taken and hold up nothing", async (database) => {
  await using resident = await startResident(database);
  const { alice } = await openRoom(resident);
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "1" });
  await resident.join(roomId);
  const id = (name: string) => `${name}:${resident.signer.serverName}`;
  const own = await makeOld(resident, { roomId, id: "$own", body: "own", parents: [id("$own")] });
  const one = await makeOld(resident, { roomId, id: "$one", body: "one", parents: [id("$two")] });
  const two = await makeOld(resident, { roomId, id: "$two", body: "two", parents: [id("$one")] });
  const good = await makeOld(resident, { roomId, id: "$good", body: "good" });
  answerWith(resident, { "/get_missing_events/": { events: [wire(one), wire(two), wire(own)] } });
  const results = await send(resident, { pdus: [wire(own), wire(one), wire(two), wire(good)] });
  assert.deepEqual(results[good.eventId], {});
  for (const event of [own, one, two]) {
    assert.equal(await verdict(resident, event), "unknown");
  }
  assert.deepEqual(await shown(alice, roomId), ["good"]);
});

testEachServer("thousands of ends are merged, and the room goes on", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const { engine } = resident.hs.parts.rooms;
  const [start] = (await engine.head(roomId as RoomId))?.extremities ?? [];
  assert(start !== undefined);
  const ENDS = 1_000;
  for (let sent = 0; sent < ENDS; sent += 50) {
    const events = [];
    for (let index = 0; index < 50; index++) {
      events.push(
        await make(resident, { roomId, content: { body: `end ${sent + index}` }, prev: [start.eventId], depth: 9 }),
      );
    }
    const results = await send(resident, { pdus: events.map(wire) });
    assert.equal(Object.values(results).filter((result) => JSON.stringify(result) === "{}").length, 50);
    const head = await engine.head(roomId as RoomId);
    assert(head !== null && head.extremities.length <= 20, `${head?.extremities.length} ends`);
  }
  const eventId = await alice.sendText(roomId, "after all");
  assert.equal(await verdict(resident, { eventId } as RoomEvent), "accepted");
});

testEachServer("what a banned user sends behind the ban is soft-failed, and followed by nobody", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const bob = `@bob:${resident.signer.serverName}`;
  const { engine } = resident.hs.parts.rooms;
  const before = (await engine.head(roomId as RoomId))?.extremities.map(({ eventId }) => eventId) ?? [];
  const spam: RoomEvent[] = [];
  for (let index = 0; index < 30; index++) {
    const prev = index % 2 === 0 ? before : [spam[index - 1]?.eventId as EventId];
    spam.push(await make(resident, { roomId, content: { body: `spam ${index}` }, prev, depth: 20 + index }));
  }
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: bob });
  const results = await send(resident, { pdus: spam.map(wire) });
  assert.deepEqual(results, Object.fromEntries(spam.map(({ eventId }) => [eventId, {}])));
  for (const event of spam) assert.equal(await verdict(resident, event), "soft-failed");
  const head = await engine.head(roomId as RoomId);
  assert.equal(head?.extremities.length, 1, "soft-failed events are no ends");
  assert.deepEqual(await shown(alice, roomId), []);
  const eventId = await alice.sendText(roomId, "quiet again");
  const mine = await stored(resident, eventId);
  assert(mine !== null && mine.event.prevEvents.every((id) => !spam.some((event) => event.eventId === id)));
  const response = await alice.sync();
  assert(!JSON.stringify(response).includes("spam"));
});

testEachServer(
  "state from far in the past takes part in resolution and changes nothing that came since",
  async (database) => {
    await using resident = await startResident(database);
    const { roomId, alice } = await openRoom(resident);
    const bob = `@bob:${resident.signer.serverName}`;
    const { engine } = resident.hs.parts.rooms;
    const levels = await alice.state(roomId, { type: "m.room.power_levels" });
    const raise = (level: number) => ({ ...levels, users: { ...levels.users, [bob]: level } });
    await alice.setState(roomId, { type: "m.room.power_levels", content: raise(50) });
    await alice.setState(roomId, { type: "m.room.name", content: { name: "First" } });
    const then = (await engine.head(roomId as RoomId))?.extremities.map(({ eventId }) => eventId) ?? [];
    // Made while bob might, but sent when he may not any more.
    const name = await make(resident, {
      roomId,
      type: "m.room.name",
      stateKey: "",
      content: { name: "Bob's" },
      prev: then,
    });
    const topic = await make(resident, {
      roomId,
      type: "m.room.topic",
      stateKey: "",
      content: { topic: "Bob's" },
      prev: then,
    });
    for (let index = 0; index < 30; index++) await alice.sendText(roomId, `${index}`);
    await alice.setState(roomId, { type: "m.room.power_levels", content: raise(0) });
    await alice.setState(roomId, { type: "m.room.name", content: { name: "Second" } });
    await send(resident, { pdus: [wire(name), wire(topic)] });
    assert.deepEqual([await verdict(resident, name), await verdict(resident, topic)], ["soft-failed", "soft-failed"]);
    assert.equal((await alice.state(roomId, { type: "m.room.name" })).name, "Second");
    await alice.fails("GET", path`/rooms/${roomId}/state/m.room.topic`, { status: 404, errcode: "M_NOT_FOUND" });
    // One that everybody may send is taken, but the newer state stands.
    const carol = `@carol:${resident.signer.serverName}`;
    const late = await make(resident, { roomId, content: { body: "late" }, prev: then, depth: 5 });
    assert.deepEqual(await send(resident, { pdus: [wire(late)] }), { [late.eventId]: {} });
    assert.equal(await verdict(resident, late), "accepted");
    assert.equal((await alice.state(roomId, { type: "m.room.name" })).name, "Second");
    assert.equal((await alice.state(roomId, { type: "m.room.power_levels" })).users[bob], 0);
    await alice.fails("GET", path`/rooms/${roomId}/state/m.room.member/${carol}`, {
      status: 404,
      errcode: "M_NOT_FOUND",
    });
  },
);

testEachServer("a room of an unknown version is neither joined nor invited to", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const userId = `@carol:${resident.signer.serverName}`;
  const made = await resident.ask(`/v1/make_join/${enc(roomId)}/${enc(userId)}?ver=org.example.future`);
  assert.deepEqual([made.status, made.body.errcode], [400, "M_INCOMPATIBLE_ROOM_VERSION"]);
  const invite = { room_version: "org.example.future", event: {}, invite_room_state: [] };
  const invited = await resident.ask(`/v2/invite/${enc("!new:peer.test")}/${enc("$event")}`, invite);
  assert.deepEqual([invited.status, invited.body.errcode], [400, "M_INCOMPATIBLE_ROOM_VERSION"]);
  answerWith(resident, { "/make_join/": { room_version: "org.example.future", event: { type: "m.room.member" } } });
  const elsewhere = `!future:${resident.signer.serverName}`;
  const via = { query: { via: resident.signer.serverName } };
  const body = { body: {}, status: 400, errcode: "M_INCOMPATIBLE_ROOM_VERSION" };
  await alice.fails("POST", path`/join/${elsewhere}`, { ...via, ...body });
});

testEachServer("EDUs that are made up or malformed leave nothing behind", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const { signer, hs } = resident;
  const bob = `@bob:${signer.serverName}`;
  const strangers = Array.from({ length: 200 }, (_, index) => ({
    ...{ user_id: `@made-up-${index}:${signer.serverName}`, presence: "online", last_active_ago: 1 },
  }));
  const threads = Array.from({ length: 50 }, (_, index) => `$thread${index}`);
  const read = (threadId: string) => ({
    edu_type: "m.receipt",
    content: { [roomId]: { "m.read": { [bob]: { data: { ts: 1, thread_id: threadId }, event_ids: ["$none"] } } } },
  });
  const bad: JsonObject[] = [
    { edu_type: "m.presence", content: { push: [...strangers, { user_id: bob, presence: "dancing" }, 5] } },
    { edu_type: "m.presence", content: { push: "all" } },
    { edu_type: "m.typing", content: { room_id: roomId, user_id: `@ghost:${signer.serverName}`, typing: true } },
    { edu_type: "m.typing", content: { room_id: "!unknown:hs.test", user_id: bob, typing: true } },
    { edu_type: "m.receipt", content: { [roomId]: { "m.read": { [bob]: { event_ids: [] } } } } },
    { edu_type: "m.receipt", content: { [roomId]: [] } },
    {
      edu_type: "m.device_list_update",
      content: { user_id: `@ghost:${signer.serverName}`, device_id: "D", stream_id: 1 },
    },
    { edu_type: "m.signing_key_update", content: { user_id: `@ghost:${signer.serverName}`, master_key: { a: 1 } } },
    { edu_type: "m.direct_to_device", content: { sender: bob, type: "t", message_id: "m", messages: { "@x:y": 5 } } },
    { edu_type: 5, content: {} },
    ...threads.map(read),
  ];
  await send(resident, { edus: bad });
  const { db } = hs.parts.core;
  const count = async (text: TemplateStringsArray) => (await db.get<{ n: number }>(sql(text)))?.n;
  assert.equal(await count`SELECT COUNT(*) AS n FROM presence WHERE user_id LIKE '%made-up%'`, 0);
  assert.equal(await count`SELECT COUNT(*) AS n FROM receipts WHERE thread_id <> ''`, 0);
  assert.equal(await count`SELECT COUNT(*) AS n FROM cross_signing_keys WHERE user_id LIKE '@ghost%'`, 0);
  assert.deepEqual(hs.parts.userData.typing.typingIn(roomId as RoomId), []);
  await alice.sync();
  const fine = { edu_type: "m.typing", content: { room_id: roomId, user_id: bob, typing: true } };
  await send(resident, { edus: [...bad.slice(0, 5), fine] });
  assert.deepEqual(hs.parts.userData.typing.typingIn(roomId as RoomId), [bob]);
});
