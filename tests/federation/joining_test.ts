/**
 * Joining through servers that cheat, or are not there: what one of them makes up is refused, and the next one is asked.
 * Spec: server-server API, "Joining Rooms".
 */
import assert from "node:assert/strict";
import { buildEvent } from "../../src/protocol/event_builder.ts";
import { pduJson } from "../../src/protocol/event_format.ts";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { getRoomVersion } from "../../src/protocol/room_versions.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { keyDocument, peerSigner } from "./inbound.ts";
import { testNetwork } from "./network.ts";
import { startPeer } from "./peer.ts";
import { enc, type Resident, startResident } from "./resident.ts";

const DAY = 86_400_000;
const VERSION = "11";
const RULES = getRoomVersion(VERSION);

/** A room that the peer made, as it would show it. */
interface Room {
  readonly roomId: RoomId;
  readonly create: RoomEvent;
  readonly creator: RoomEvent;
  readonly levels: RoomEvent;
  readonly joinRules: RoomEvent;
}

let rooms = 0;

function makeRoom(signer: Signer, createContent: JsonObject = { room_version: VERSION }): Room {
  assert(RULES !== null);
  const roomId = `!made${++rooms}:${signer.serverName}` as RoomId;
  const sender = `@eve:${signer.serverName}` as UserId;
  const made: RoomEvent[] = [];
  const add = (type: string, { stateKey = "", content }: { stateKey?: string; content: JsonObject }) => {
    const event = buildEvent({
      ...{ rules: RULES, roomId, sender, type, stateKey, content, depth: made.length + 1, ...signer },
      prevEvents: made.slice(-1).map(({ eventId }) => eventId),
      authEvents: made.map(({ eventId }) => eventId),
      originServerTs: Date.now(),
    }).event;
    made.push(event);
    return event;
  };
  return {
    roomId,
    create: add("m.room.create", { content: createContent }),
    creator: add("m.room.member", { stateKey: sender, content: { membership: "join" } }),
    levels: add("m.room.power_levels", { content: { users: { [sender]: 100 } } }),
    joinRules: add("m.room.join_rules", { content: { join_rule: "public" } }),
  };
}

function json(...events: readonly RoomEvent[]): JsonObject[] {
  return events.map((event) => JSON.parse(pduJson(event)));
}

function templateFor({ roomId, create, levels, joinRules }: Room, userId: string): JsonObject {
  return {
    ...{ type: "m.room.member", room_id: roomId, sender: userId, state_key: userId, content: { membership: "join" } },
    ...{ depth: 5, prev_events: [joinRules.eventId], origin_server_ts: 1, hashes: {}, signatures: {} },
    auth_events: [create.eventId, levels.eventId, joinRules.eventId],
  };
}

/** What the peer gives away about a room. */
interface Lie {
  readonly template: unknown;
  readonly answer: unknown;
}

function lieWith({ peer, signer }: Pick<Resident, "peer" | "signer">, { template, answer }: Lie): void {
  peer.handler = ({ url }) => {
    if (url.includes("/make_join/")) return { json: template };
    if (url.includes("/send_join/")) return { json: answer };
    return { json: keyDocument(signer, { validUntilTs: Date.now() + DAY }) };
  };
}

async function tryJoin(
  user: TestClient,
  { roomId, via }: { roomId: string; via: readonly string[] },
): Promise<{ status: number; body: Json }> {
  const query = via.map((server) => `via=${enc(server)}`).join("&");
  return await user.request("POST", `${path`/join/${roomId}`}?${query}`, { body: {} });
}

testEachServer("what a server makes up about a room to join is refused", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer } = resident;
  const [alice] = await hs.register("alice");
  const via = [signer.serverName];
  const honest = (room: Room): Lie => {
    const state = json(room.create, room.creator, room.levels, room.joinRules);
    const template = { room_version: VERSION, event: templateFor(room, alice.userId) };
    return { template, answer: { state, auth_chain: state, origin: signer.serverName } };
  };
  const withEvent = (room: Room, change: JsonObject): Lie => ({
    ...honest(room),
    template: { room_version: VERSION, event: { ...templateFor(room, alice.userId), ...change } },
  });
  const withState = (room: Room, state: unknown, chain: unknown = state): Lie => ({
    ...honest(room),
    answer: { state, auth_chain: chain },
  });
  const tampered = (event: RoomEvent): JsonObject[] => json(event).map((pdu) => ({ ...pdu, origin_server_ts: 2 }));
  const lies: Record<string, (room: Room) => Lie> = {
    "another room": (room) => withEvent(room, { room_id: `!other:${signer.serverName}` }),
    "another user": (room) => withEvent(room, { state_key: `@eve:${signer.serverName}` }),
    "another sender": (room) => withEvent(room, { sender: `@eve:${signer.serverName}` }),
    "another type": (room) => withEvent(room, { type: "m.room.message" }),
    "another membership": (room) => withEvent(room, { content: { membership: "invite" } }),
    "a depth that is none": (room) => withEvent(room, { depth: -1 }),
    "parents that are none": (room) => withEvent(room, { prev_events: [{}] }),
    "no template": (room) => ({ ...honest(room), template: { room_version: VERSION } }),
    "no state": (room) => withState(room, undefined),
    "an empty state": (room) => withState(room, []),
    "a state that is no list": (room) => withState(room, {}),
    "things that are no events": (room) => withState(room, [null, 1, "x", {}, []]),
    "no create event": (room) => withState(room, json(room.creator, room.levels, room.joinRules)),
    "a create event with a wrong signature": (room) =>
      withState(room, [...tampered(room.create), ...json(room.creator, room.levels, room.joinRules)]),
    "the state of another room": (room) => ({ ...honest(makeRoom(signer)), template: honest(room).template }),
    "a room of another version": () => honest(makeRoom(signer, { room_version: "10" })),
    "a state that lets nobody in": (room) => withState(room, json(room.create, room.creator, room.levels)),
  };
  for (const [name, lie] of Object.entries(lies)) {
    const room = makeRoom(signer);
    const told = lie(room);
    lieWith(resident, told);
    const { event } = told.template as { event?: JsonObject };
    const roomId = name === "another room" ? room.roomId : String(event?.room_id ?? room.roomId);
    const { status, body } = await tryJoin(alice, { roomId, via });
    assert(status >= 400 && status !== 500 && typeof body.errcode === "string", `${name}: ${status} ${body.error}`);
    const sync = await alice.get("/sync", { timeout: 0 });
    assert.equal(sync.rooms?.join?.[roomId], undefined, name);
  }
  const room = makeRoom(signer);
  lieWith(resident, honest(room));
  assert.deepEqual((await tryJoin(alice, { roomId: room.roomId, via })).status, 200, "the truth is believed");
  assert.equal((await alice.state(room.roomId, { type: "m.room.join_rules" })).join_rule, "public");
});

testNetwork(
  "servers that are dead, cheat or cannot let anybody in are passed over",
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const roomId = await bob.createRoom({ preset: "public_chat", room_version: VERSION });
    await using cheat = await startPeer();
    const signer = peerSigner(cheat.port);
    const asked: string[] = [];
    const made = makeRoom(signer);
    cheat.handler = ({ url }) => {
      asked.push(url.split("/")[4] ?? "");
      if (url.includes("/make_join/")) {
        const event = { ...templateFor(made, alice.userId), room_id: roomId };
        return { json: { room_version: VERSION, event } };
      }
      if (url.includes("/send_join/")) return { json: { state: json(made.create), auth_chain: json(made.create) } };
      return { json: keyDocument(signer, { validUntilTs: Date.now() + DAY }) };
    };
    await using full = await startPeer();
    full.handler = () => ({
      ...{ status: 400, json: { errcode: "M_UNABLE_TO_AUTHORISE_JOIN", error: "Nobody here may" } },
    });
    await using broken = await startPeer();
    broken.handler = () => ({ status: 502, text: "<html>" });
    const names = [full, broken, cheat].map(({ port }) => `peer.test:${port}`);
    const { status, body } = await tryJoin(alice, { roomId, via: ["dead.test:1", ...names, two.name] });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(asked.filter((name) => name.endsWith("_join")), ["make_join", "send_join"]);
    assert.equal(full.requests.length, 1);
    assert.equal(broken.requests.length, 1);
    await alice.sendText(roomId, "here I am");
    await bob.syncUntil((response) => JSON.stringify(response.rooms ?? {}).includes("here I am"));
    // Where nobody helps, the last of them says why.
    const elsewhere = await tryJoin(alice, { roomId: `!none:${names[0]}`, via: names.slice(0, 1) });
    assert.deepEqual([elsewhere.status, elsewhere.body.errcode], [400, "M_UNABLE_TO_AUTHORISE_JOIN"]);
  },
);
