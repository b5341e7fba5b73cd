/** Policy servers: what they sign goes on, what they do not sign is not seen. */
import assert from "node:assert/strict";
import { pduJson } from "../../src/protocol/event_format.ts";
import type { Pdu, RoomEvent } from "../../src/protocol/event.ts";
import type { EventId } from "../../src/protocol/ids.ts";
import { getRoomVersion } from "../../src/protocol/room_versions.ts";
import { type Signer, signEvent, signingKeyFromSeed } from "../../src/protocol/signatures.ts";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import type { PeerAnswer, SeenRequest } from "./peer.ts";
import { type Resident, startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

const VERSION = "11";
const RULES = getRoomVersion(VERSION);
assert(RULES !== null);
const rules = RULES;

interface Room {
  readonly resident: Resident;
  readonly roomId: string;
  readonly alice: TestClient;
  readonly policy: Signer;
  /** What the policy server was asked to sign. */
  readonly asked: Pdu[];
}

const SPAM = { status: 400, json: { errcode: "M_FORBIDDEN", error: "It looks like spam", "org.example.score": 9 } };

/** Makes a room in which the peer is the policy server: it signs all but messages that say "spam". */
async function openPoliced(resident: Resident): Promise<Room> {
  const { roomId, alice } = await openRoom(resident);
  const key = signingKeyFromSeed("policy_server", new Uint8Array(32).fill(3));
  const policy = { serverName: resident.signer.serverName, key };
  const room = { resident, roomId, alice, policy, asked: [] };
  answerSign(room, (pdu) => String(pdu.content["body"]).includes("spam") ? SPAM : signature(pdu, policy));
  await setPolicy(room);
  return room;
}

function signature(pdu: Pdu, policy: Signer): PeerAnswer {
  const signed = signEvent({ ...pdu, signatures: {} }, { ...policy, rules });
  return { json: signed.signatures };
}

function answerSign({ resident: { peer }, asked }: Room, answer: (pdu: Pdu, request: SeenRequest) => PeerAnswer): void {
  const others = peer.handler;
  peer.handler = (request) => {
    if (request.url !== "/_matrix/policy/v1/sign") return others(request);
    assert.equal(request.method, "POST");
    assert.match(request.headers["authorization"] ?? "", /^X-Matrix /);
    const pdu = JSON.parse(request.body) as Pdu;
    asked.push(pdu);
    return answer(pdu, request);
  };
}

async function setPolicy({ alice, roomId, policy }: Room, content: Record<string, unknown> = {}): Promise<void> {
  const ed25519 = policy.key.verifyKey.base64;
  const usual = { via: policy.serverName, public_keys: { ed25519 } };
  await alice.setState(roomId, { type: "m.room.policy", content: { ...usual, ...content } });
}

/** Returns who signed a stored event with which keys. */
async function signersOf({ resident }: Room, eventId: string): Promise<Record<string, string[]>> {
  const stored = await resident.hs.parts.rooms.events.getById(eventId as EventId);
  assert(stored !== null);
  const { signatures } = JSON.parse(stored.json) as Pdu;
  return Object.fromEntries(
    Object.entries(signatures ?? {}).map(([server, keys]) => [server, Object.keys(keys ?? {})]),
  );
}

async function bodies({ alice, roomId }: Room): Promise<string[]> {
  const page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 50 });
  return page.chunk.flatMap(({ content }: { content: { body?: string } }) => content.body ?? []).reverse();
}

testEachServer("an event of ours is signed by the policy server before anybody sees it", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  const { alice, roomId, policy } = room;
  assert.equal(room.asked.length, 0, "the event that names the policy server is not shown to it");
  const [first, second] = await Promise.all([alice.sendText(roomId, "one"), alice.sendText(roomId, "two")]);
  for (const eventId of [first, second]) {
    assert.deepEqual((await signersOf(room, eventId ?? ""))[policy.serverName], ["ed25519:policy_server"]);
  }
  const name = await alice.setState(roomId, { type: "m.room.name", content: { name: "Policed" } });
  assert.deepEqual((await signersOf(room, name))[policy.serverName], ["ed25519:policy_server"]);
  await alice.put(path`/rooms/${roomId}/redact/${first ?? ""}/${"r"}`, { reason: "no more" });
  await alice.post(path`/rooms/${roomId}/leave`);
  assert.deepEqual(room.asked.map(({ type }) => type).sort(), [
    ...["m.room.member", "m.room.message", "m.room.message", "m.room.name", "m.room.redaction"],
  ]);
});

testEachServer("what the policy server refuses is not sent, and the client hears its words", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  const { alice, roomId } = room;
  const body = { msgtype: "m.text", body: "spam" };
  const target = path`/rooms/${roomId}/send/m.room.message/${"same"}`;
  const answer = await alice.fails("PUT", target, { body, status: 400, errcode: "M_FORBIDDEN" });
  assert.deepEqual(answer, SPAM.json);
  assert.equal(await alice.sendText(roomId, "fine") !== "", true);
  assert.deepEqual(await bodies(room), ["fine"]);
  // The same request is good once the policy server has changed its mind.
  answerSign(room, (pdu) => signature(pdu, room.policy));
  const sent = await alice.put(target, body);
  assert.equal((await alice.put(target, body)).event_id, sent.event_id);
  assert.deepEqual(await bodies(room), ["fine", "spam"]);
});

testEachServer("without a usable answer nothing is sent, but the policy can be taken away", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  const { alice, roomId } = room;
  const other = { ...room.policy, key: signingKeyFromSeed("policy_server", new Uint8Array(32).fill(9)) };
  const useless: ((pdu: Pdu) => PeerAnswer)[] = [
    () => ({ drop: true }),
    () => ({ json: {} }),
    () => ({ text: "nonsense" }),
    () => ({ status: 500, json: { errcode: "M_UNKNOWN" } }),
    (pdu) => signature(pdu, other),
  ];
  for (const answer of useless) {
    answerSign(room, answer);
    const body = { msgtype: "m.text", body: "lost" };
    await alice.fails("POST", path`/rooms/${roomId}/invite`, {
      ...{ body: { user_id: "@nobody:hs.test" }, status: 502, errcode: "M_UNKNOWN" },
    });
    await alice.fails("PUT", path`/rooms/${roomId}/send/m.room.message/${"x"}`, {
      body,
      status: 502,
      errcode: "M_UNKNOWN",
    });
  }
  await alice.setState(roomId, { type: "m.room.policy", content: {} });
  const before = room.asked.length;
  await alice.sendText(roomId, "free");
  assert.deepEqual([await bodies(room), room.asked.length], [["free"], before]);
});

testEachServer("a room without a whole policy, or whose policy server is not in it, uses none", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  const { alice, roomId, policy } = room;
  const keys = { ed25519: policy.key.verifyKey.base64 };
  for (const content of [{ via: 5 }, { via: "not a name" }, { public_keys: {} }, { public_keys: "x" }]) {
    await setPolicy(room, content);
    await alice.sendText(roomId, "unseen");
  }
  await setPolicy(room, { via: "absent.test", public_keys: keys });
  await alice.sendText(roomId, "unseen");
  await alice.setState(roomId, { type: "m.room.policy", stateKey: "other", content: { via: policy.serverName } });
  assert.equal(room.asked.length, 0);
  await setPolicy(room);
  await alice.sendText(roomId, "seen");
  assert.equal(room.asked.length, 1);
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: `@bob:${resident.signer.serverName}` });
  await alice.sendText(roomId, "unseen again");
  assert.deepEqual(room.asked.map(({ type }) => type), ["m.room.message", "m.room.member"]);
});

testEachServer("events of others are soft-failed where the policy server does not sign them", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  const { roomId, policy } = room;
  const events: RoomEvent[] = [];
  for (const body of ["first", "spam", "last"]) {
    const prev = events.length === 0 ? {} : { prev: [events[events.length - 1]?.eventId as EventId] };
    events.push(await make(resident, { roomId, content: { body }, depth: 50 + events.length, ...prev }));
  }
  const results = await send(resident, { pdus: events.map(wire) });
  assert.deepEqual(results, Object.fromEntries(events.map(({ eventId }) => [eventId, {}])));
  assert.deepEqual(await bodies(room), ["first", "last"]);
  const [first, spam] = events;
  const stored = await resident.hs.parts.rooms.events.getById(spam?.eventId as EventId);
  assert.deepEqual([stored?.isSoftFailed, stored?.isRejected], [true, false]);
  assert.deepEqual((await signersOf(room, first?.eventId ?? ""))[policy.serverName], [
    "ed25519:1",
    "ed25519:policy_server",
  ]);
  assert.equal(room.asked.length, 3);
});

testEachServer("a signature that comes with the event is enough, and one by an old key is not", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  const { roomId, policy } = room;
  const event = await make(resident, { roomId, content: { body: "signed" } });
  const signed = JSON.parse(pduJson({ ...event, pdu: signEvent(event.pdu, { ...policy, rules }) }));
  assert.deepEqual(await send(resident, { pdus: [signed] }), { [event.eventId]: {} });
  assert.deepEqual([room.asked.length, await bodies(room)], [0, ["signed"]]);
  // The room takes another key: the old signature says nothing any more, and a new one is asked for.
  const next = { ...room, policy: { ...policy, key: signingKeyFromSeed("policy_server", new Uint8Array(32).fill(4)) } };
  await setPolicy(next);
  const late = await make(resident, { roomId, content: { body: "late" } });
  const old = JSON.parse(pduJson({ ...late, pdu: signEvent(late.pdu, { ...policy, rules }) }));
  await send(resident, { pdus: [old] });
  assert.deepEqual([room.asked.length, await bodies(room)], [1, ["signed"]]);
  answerSign(next, (pdu) => signature(pdu, next.policy));
  const fresh = await make(resident, { roomId, content: { body: "fresh" } });
  await send(resident, { pdus: [wire(fresh)] });
  assert.deepEqual(await bodies(room), ["signed", "fresh"]);
});

testEachServer("a join that the policy server refuses is refused to the server that asks for it", async (database) => {
  await using resident = await startResident(database);
  const room = await openPoliced(resident);
  answerSign(room, ({ type }) => type === "m.room.member" ? SPAM : { json: {} });
  await assert.rejects(resident.join(room.roomId, "carol"), /does not recommend/);
  answerSign(room, (pdu) => signature(pdu, room.policy));
  const { answer } = await resident.join(room.roomId, "dave");
  assert.deepEqual(Object.keys(answer.body.event.signatures[room.policy.serverName]).sort(), [
    ...["ed25519:1", "ed25519:policy_server"],
  ]);
});
