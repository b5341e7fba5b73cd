/** Joining, leaving and knocking at a room of ours, and reading it, as another server does. */
import assert from "node:assert/strict";
import { pduJson } from "../../src/protocol/event_format.ts";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { listRoomVersions } from "../../src/protocol/room_versions.ts";
import { signatureKeyIds } from "../../src/protocol/signatures.ts";
import { SERVER_NAME, testEachServer } from "../harness/server.ts";
import { server, signerOf } from "./environment.ts";
import { ALL_VERSIONS, complete, enc, startResident } from "./resident.ts";

// deno-lint-ignore no-explicit-any
type Json = any;
const json = (event: RoomEvent): JsonObject => JSON.parse(pduJson(event));

for (const { id } of listRoomVersions()) {
  testEachServer(`a user of another server joins a room of version ${id}`, async (database) => {
    await using resident = await startResident(database);
    const [alice] = await resident.hs.register("alice");
    const roomId = await alice.createRoom({ preset: "public_chat", room_version: id });
    const { event, answer } = await resident.join(roomId);
    const types = answer.body.state.map(({ type }: Json) => type);
    assert(types.includes("m.room.create") && types.includes("m.room.power_levels"));
    assert(!answer.body.state.some((pdu: Json) => pdu.state_key === event.sender), "the state is that before the join");
    assert(answer.body.auth_chain.some(({ type }: Json) => type === "m.room.create"));
    assert.deepEqual(answer.body.servers_in_room, [SERVER_NAME], "as of before the join");
    assert.deepEqual([answer.body.origin, answer.body.members_omitted], [SERVER_NAME, false]);
    const members = await alice.ok("GET", `/rooms/${enc(roomId)}/joined_members`);
    assert.deepEqual(Object.keys(members.joined).sort(), [alice.userId, event.sender].sort());
    const again = await resident.ask(`/v2/send_join/${enc(roomId)}/${enc(event.eventId)}`, json(event));
    assert.deepEqual(
      [again.status, again.body.state.length],
      [200, answer.body.state.length],
      "repeating changes nothing",
    );
  });
}

testEachServer("make_join refuses what cannot be joined", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer, ask } = resident;
  const [alice] = await hs.register("alice");
  const open = await alice.createRoom({ preset: "public_chat", room_version: "10" });
  const closed = await alice.createRoom({ preset: "private_chat" });
  const bob = `@bob:${signer.serverName}`;
  const make = async (roomId: string, userId = bob, versions = ALL_VERSIONS) => {
    const { status, body } = await ask(`/v1/make_join/${enc(roomId)}/${enc(userId)}?${versions}`);
    return [status, body.errcode, body.room_version];
  };
  assert.deepEqual(await make(open, "@bob:other.test"), [403, "M_FORBIDDEN", undefined]);
  assert.deepEqual(await make(open, bob, "ver=9&ver=11"), [400, "M_INCOMPATIBLE_ROOM_VERSION", "10"]);
  assert.deepEqual(await make(open, bob, ""), [400, "M_INCOMPATIBLE_ROOM_VERSION", "10"]);
  assert.deepEqual(await make(closed), [403, "M_FORBIDDEN", undefined]);
  assert.deepEqual(await make("!unknown:x.test"), [404, "M_NOT_FOUND", undefined]);
  assert.deepEqual(await make("nonsense"), [400, "M_INVALID_PARAM", undefined]);
  await alice.ok("PUT", `/rooms/${enc(open)}/state/m.room.server_acl/`, { body: { allow: ["*"], deny: ["peer.*"] } });
  assert.deepEqual(await make(open), [403, "M_FORBIDDEN", undefined]);
});

testEachServer("send_join and its kin refuse other events", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer, ask } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const bob = `@bob:${signer.serverName}`;
  const made = (await ask(`/v1/make_join/${enc(roomId)}/${enc(bob)}?${ALL_VERSIONS}`)).body;
  const send = async (change: JsonObject, { by = signer, path = "" } = {}) => {
    const event = complete({ ...made, event: { ...made.event, ...change } }, by);
    const answer = await ask(`/v2/send_join/${enc(roomId)}/${enc(path || event.eventId)}`, json(event));
    return [answer.status, answer.body.errcode];
  };
  const bad = [400, "M_BAD_JSON"];
  assert.deepEqual(await send({ type: "m.room.message" }), bad);
  assert.deepEqual(await send({ content: { membership: "leave" } }), bad);
  assert.deepEqual(await send({ content: { membership: "knock" } }), bad);
  assert.deepEqual(await send({ content: { body: "x" } }), bad);
  assert.deepEqual(await send({ state_key: `@doris:${signer.serverName}` }), bad);
  assert.deepEqual(await send({ room_id: `!${"x".repeat(43)}` }), bad);
  assert.deepEqual(await send({}, { path: "$other" }), bad);
  assert.deepEqual(await send({ sender: "@bob:other.test", state_key: "@bob:other.test" }), [403, "M_FORBIDDEN"]);
  const stranger = { ...signerOf("x.test"), serverName: signer.serverName };
  assert.deepEqual(await send({}, { by: stranger }), [403, "M_FORBIDDEN"]);
  assert.deepEqual(await send({ prev_events: ["$unknown"] }), [400, "M_INVALID_PARAM"]);
  assert.deepEqual(await send({ auth_events: [] }), [403, "M_FORBIDDEN"]);
  const event = complete(made, signer);
  const tampered = { ...json(event), content: { membership: "join", displayname: "x" } };
  assert.equal((await ask(`/v2/send_join/${enc(roomId)}/${enc(event.eventId)}`, tampered)).status, 400);
  const malformed = { ...json(event), depth: -1 };
  assert.equal((await ask(`/v2/send_join/${enc(roomId)}/${enc(event.eventId)}`, malformed)).body.errcode, "M_BAD_JSON");
  const members = await alice.ok("GET", `/rooms/${enc(roomId)}/joined_members`);
  assert.deepEqual(Object.keys(members.joined), [alice.userId]);
});

testEachServer("a member leaves, and a banned one does not come back", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer, ask } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const { event: { sender: bob } } = await resident.join(roomId);
  const made = await ask(`/v1/make_leave/${enc(roomId)}/${enc(bob)}`);
  assert.equal(made.status, 200);
  const leave = complete(made.body, signer);
  assert.deepEqual(await ask(`/v2/send_leave/${enc(roomId)}/${enc(leave.eventId)}`, json(leave)), {
    status: 200,
    body: {},
  });
  assert.equal((await ask(`/v1/event/${enc(leave.eventId)}`)).status, 403, "it is out");
  const joining = await ask(`/v1/make_join/${enc(roomId)}/${enc(bob)}?${ALL_VERSIONS}`);
  await alice.ok("POST", `/rooms/${enc(roomId)}/ban`, { body: { user_id: bob } });
  const join = complete(joining.body, signer);
  const answer = await ask(`/v2/send_join/${enc(roomId)}/${enc(join.eventId)}`, json(join));
  assert.deepEqual([answer.status, answer.body.errcode], [403, "M_FORBIDDEN"], "the join is of before the ban");
  assert.equal((await ask(`/v1/make_join/${enc(roomId)}/${enc(bob)}?${ALL_VERSIONS}`)).status, 403);
});

testEachServer("a user of another server knocks", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer, ask } = resident;
  const [alice] = await hs.register("alice");
  const initial_state = [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }];
  const roomId = await alice.createRoom({ preset: "private_chat", name: "Quiet", initial_state });
  const bob = `@bob:${signer.serverName}`;
  const made = await ask(`/v1/make_knock/${enc(roomId)}/${enc(bob)}?${ALL_VERSIONS}`);
  const knock = complete(made.body, signer);
  const { status, body } = await ask(`/v1/send_knock/${enc(roomId)}/${enc(knock.eventId)}`, json(knock));
  assert.equal(status, 200, JSON.stringify(body));
  const name = body.knock_room_state.find(({ type }: Json) => type === "m.room.name");
  assert.equal(name.content.name, "Quiet");
  const old = await alice.createRoom({ preset: "public_chat", room_version: "6" });
  const refused = await ask(`/v1/make_knock/${enc(old)}/${enc(bob)}?${ALL_VERSIONS}`);
  assert.deepEqual([refused.status, refused.body.errcode], [400, "M_INCOMPATIBLE_ROOM_VERSION"]);
});

testEachServer("a restricted join is authorized and signed by us", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer, ask } = resident;
  const [alice] = await hs.register("alice");
  const space = await alice.createRoom({ preset: "public_chat" });
  const allow = (room_id: string) => [{ type: "m.room_membership", room_id }];
  const restricted = async (room_id: string) =>
    await alice.createRoom({
      preset: "private_chat",
      room_version: "10",
      initial_state: [{
        ...{ type: "m.room.join_rules", state_key: "" },
        content: { join_rule: "restricted", allow: allow(room_id) },
      }],
    });
  const roomId = await restricted(space);
  const bob = `@bob:${signer.serverName}`;
  const make = (room: string) => ask(`/v1/make_join/${enc(room)}/${enc(bob)}?${ALL_VERSIONS}`);
  const outside = await make(roomId);
  assert.deepEqual([outside.status, outside.body.errcode], [403, "M_FORBIDDEN"]);
  const elsewhere = await make(await restricted("!elsewhere:x.test"));
  assert.deepEqual([elsewhere.status, elsewhere.body.errcode], [400, "M_UNABLE_TO_AUTHORISE_JOIN"]);

  await resident.join(space);
  const made = await make(roomId);
  assert.equal(made.body.event.content.join_authorised_via_users_server, alice.userId);
  const join = complete(made.body, signer);
  const { status, body } = await ask(`/v2/send_join/${enc(roomId)}/${enc(join.eventId)}`, json(join));
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(signatureKeyIds(body.event, SERVER_NAME).length, 1);
  const foreign = { membership: "join", join_authorised_via_users_server: "@x:third.test" };
  const other = complete({ ...made.body, event: { ...made.body.event, content: foreign } }, signer);
  const refused = await ask(`/v2/send_join/${enc(roomId)}/${enc(other.eventId)}`, json(other));
  assert.deepEqual([refused.status, refused.body.errcode], [400, "M_UNABLE_TO_AUTHORISE_JOIN"]);
});

testEachServer("send_join leaves memberships out where it is asked to", async (database) => {
  await using resident = await startResident(database);
  const { hs, signer, ask } = resident;
  const users = await hs.register("alice", "carl", "dora");
  const named = await users[0].createRoom({ preset: "public_chat", name: "Named" });
  const nameless = await users[0].createRoom({ preset: "public_chat" });
  for (const user of users.slice(1)) for (const room of [named, nameless]) await user.join(room);
  const bob = `@bob:${signer.serverName}`;
  const join = async (roomId: string) => {
    const made = await ask(`/v1/make_join/${enc(roomId)}/${enc(bob)}?${ALL_VERSIONS}`);
    const event = complete(made.body, signer);
    return (await ask(`/v2/send_join/${enc(roomId)}/${enc(event.eventId)}?omit_members=true`, json(event))).body;
  };
  const members = (list: Json) =>
    list.filter(({ type }: Json) => type === "m.room.member").map((pdu: Json) => pdu.state_key);
  const partial = await join(named);
  assert.equal(partial.members_omitted, true);
  assert.deepEqual(members(partial.state), []);
  assert(members(partial.auth_chain).includes(users[0].userId), "what the state rests on is there");
  assert(!partial.auth_chain.some(({ type }: Json) => type === "m.room.create"), "and nothing twice");
  assert.deepEqual(members((await join(nameless)).state).sort(), users.map(({ userId }) => userId).sort());
});

testEachServer("servers in the room read its events, state and what they rest on", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  const secret = await alice.createRoom({ preset: "public_chat" });
  const { event: join } = await resident.join(roomId);
  const hello = await alice.sendText(roomId, "hello");
  const hidden = await alice.sendText(secret, "hidden");

  const one = await ask(`/v1/event/${enc(hello)}`);
  assert.deepEqual([one.status, one.body.pdus[0].content.body, one.body.origin], [200, "hello", SERVER_NAME]);
  assert.equal((await ask(`/v1/event/${enc(hidden)}`)).status, 403);
  assert.equal((await ask(`/v1/event/${enc("$unknown")}`)).status, 404);

  const state = await ask(`/v1/state/${enc(roomId)}?event_id=${enc(join.eventId)}`);
  const ids = await ask(`/v1/state_ids/${enc(roomId)}?event_id=${enc(join.eventId)}`);
  assert.equal(state.body.pdus.length, ids.body.pdu_ids.length);
  assert.equal(state.body.auth_chain.length, ids.body.auth_chain_ids.length);
  assert(!ids.body.pdu_ids.includes(join.eventId), "the state is that before the event");
  const after = await ask(`/v1/state_ids/${enc(roomId)}?event_id=${enc(hello)}`);
  assert(after.body.pdu_ids.includes(join.eventId));
  const foreign = await ask(`/v1/state_ids/${enc(roomId)}?event_id=${enc(hidden)}`);
  assert.deepEqual([foreign.status, foreign.body.errcode], [404, "M_NOT_FOUND"]);
  assert.equal((await ask(`/v1/state_ids/${enc(roomId)}`)).status, 400);
  assert.equal((await ask(`/v1/state_ids/${enc(secret)}?event_id=${enc(hidden)}`)).status, 403);

  const chain = await ask(`/v1/event_auth/${enc(roomId)}/${enc(hello)}`);
  const types = chain.body.auth_chain.map(({ type }: Json) => type);
  assert(types.includes("m.room.create") && types.includes("m.room.member") && types.includes("m.room.power_levels"));
  assert(!types.includes("m.room.message"));
});

testEachServer("backfill and get_missing_events walk back in order, within their bounds", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  await resident.join(roomId);
  const ids: string[] = [];
  for (let i = 0; i < 30; i++) ids.push(await alice.sendText(roomId, `m${i}`));
  const bodies = (list: Json) => list.map((pdu: Json) => pdu.content.body);
  const back = await ask(`/v1/backfill/${enc(roomId)}?v=${enc(ids[20] ?? "")}&limit=3`);
  assert.deepEqual(bodies(back.body.pdus), ["m20", "m19", "m18"]);
  const all = await ask(`/v1/backfill/${enc(roomId)}?v=${enc(ids[29] ?? "")}&limit=1000`);
  assert.equal(all.body.pdus.at(-1).type, "m.room.create", "at most a hundred, and the whole of a small room");
  assert.equal((await ask(`/v1/backfill/${enc(roomId)}`)).body.errcode, "M_MISSING_PARAM");
  assert.equal((await ask(`/v1/backfill/${enc(roomId)}?v=x`)).body.errcode, "M_INVALID_PARAM");

  const missing = async (gap: JsonObject) => {
    const { status, body } = await ask(`/v1/get_missing_events/${enc(roomId)}`, gap, { method: "POST" });
    return status === 200 ? bodies(body.events) : body.errcode;
  };
  const gap = { earliest_events: [ids[5] ?? ""], latest_events: [ids[9] ?? ""] };
  assert.deepEqual(await missing(gap), ["m6", "m7", "m8"]);
  assert.deepEqual(await missing({ ...gap, limit: 2 }), ["m7", "m8"]);
  assert.equal((await missing({ earliest_events: [], latest_events: [ids[29] ?? ""], limit: 1000 })).length, 20);
  const depth = (await ask(`/v1/event/${enc(ids[8] ?? "")}`)).body.pdus[0].depth;
  assert.deepEqual(await missing({ ...gap, min_depth: depth }), ["m8"]);
  assert.equal(await missing({ earliest_events: [], latest_events: ["nonsense"] }), "M_BAD_JSON");
  assert.equal(await missing({ latest_events: [] }), "M_MISSING_PARAM");
});

testEachServer("what a server may not see it gets redacted", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  const visibility = async (room: string, history_visibility: string) =>
    await alice.ok("PUT", `/rooms/${enc(room)}/state/m.room.history_visibility/`, { body: { history_visibility } });
  const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  const shared = await alice.sendText(roomId, "shared");
  await visibility(roomId, "joined");
  const before = await alice.sendText(roomId, "before");
  await resident.join(roomId);
  const after = await alice.sendText(roomId, "after");
  const redacted = await alice.sendText(roomId, "to be redacted");
  await alice.ok("PUT", `/rooms/${enc(roomId)}/redact/${enc(redacted)}/1`, { body: {} });
  const body = async (eventId: string) => (await ask(`/v1/event/${enc(eventId)}`)).body.pdus[0].content.body;
  assert.deepEqual([await body(shared), await body(before), await body(after)], ["shared", undefined, "after"]);
  assert.equal(await body(redacted), undefined);
  const back = await ask(`/v1/backfill/${enc(roomId)}?v=${enc(after)}&limit=100`);
  const hidden = back.body.pdus.find((pdu: Json) => pdu.type === "m.room.message" && pdu.content.body === undefined);
  assert(hidden !== undefined, "hidden events are still part of the graph");
  const gap = { earliest_events: [shared], latest_events: [after] };
  const missing = await ask(`/v1/get_missing_events/${enc(roomId)}`, gap, { method: "POST" });
  const messages = missing.body.events.filter(({ type }: Json) => type === "m.room.message");
  assert.deepEqual(messages.map(({ content }: Json) => content), [{}], "in a gap too");
});

testEachServer(
  "a server that is shut out of a room reads nothing of it and gets nobody in or out",
  async (database) => {
    await using resident = await startResident(database);
    const { hs, ask, signer } = resident;
    const [alice] = await hs.register("alice");
    const roomId = await alice.createRoom({ preset: "public_chat", room_version: "11" });
    const { event: join } = await resident.join(roomId);
    const eventId = await alice.sendText(roomId, "hello");
    const gap = { earliest_events: [join.eventId], latest_events: [eventId] };
    const [room, at, bob] = [enc(roomId), enc(eventId), enc(`@bob:${signer.serverName}`)];
    const statuses = async () => {
      const found: Record<string, number> = {};
      const paths = [
        ...[`/v1/event/${at}`, `/v1/state/${room}?event_id=${at}`, `/v1/state_ids/${room}?event_id=${at}`],
        ...[`/v1/event_auth/${room}/${at}`, `/v1/backfill/${room}?v=${at}&limit=5`],
        ...[`/v1/timestamp_to_event/${room}?ts=1&dir=f`, `/unstable/rooms/${room}/complexity`],
        ...[`/v1/make_join/${room}/${bob}?${ALL_VERSIONS}`, `/v1/make_leave/${room}/${bob}`],
      ];
      for (const path of paths) found[path.split("/")[2] ?? ""] = (await ask(path)).status;
      found.missing = (await ask(`/v1/get_missing_events/${room}`, gap, { method: "POST" })).status;
      const wire: JsonObject = JSON.parse(pduJson(join));
      found.send_join = (await ask(`/v2/send_join/${room}/${enc(join.eventId)}`, wire)).status;
      return found;
    };
    const before = await statuses();
    for (const [name, status] of Object.entries(before)) assert.equal(status, 200, name);
    await alice.setState(roomId, { type: "m.room.server_acl", content: { allow: ["*"], deny: ["peer.*"] } });
    for (const [name, status] of Object.entries(await statuses())) assert.equal(status, 403, name);
  },
);

testEachServer("timestamp_to_event finds what a server may see", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const { event } = await resident.join(roomId);
  const found = await ask(`/v1/timestamp_to_event/${enc(roomId)}?ts=${event.originServerTs + 1e6}&dir=b`);
  assert.equal(found.body.event_id, event.eventId);
  const none = await ask(`/v1/timestamp_to_event/${enc(roomId)}?ts=${event.originServerTs + 1e6}&dir=f`);
  assert.deepEqual([none.status, none.body.errcode], [404, "M_NOT_FOUND"]);
  assert.equal((await ask(`/v1/timestamp_to_event/${enc(roomId)}?ts=x`)).status, 400);
});

testEachServer("the servers of a room are counted as members come and go", async (database) => {
  await using resident = await startResident(database);
  const { hs, rooms: { hosts }, signer, ask } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const counts = async () => Object.fromEntries(await hosts.inRoom(roomId as never));
  assert.deepEqual(await counts(), { [SERVER_NAME]: 1 });
  await resident.join(roomId, "bob");
  const { event: { sender } } = await resident.join(roomId, "carl");
  assert.deepEqual(await counts(), { [SERVER_NAME]: 1, [signer.serverName]: 2 });
  const leave = complete((await ask(`/v1/make_leave/${enc(roomId)}/${enc(sender)}`)).body, signer);
  await ask(`/v2/send_leave/${enc(roomId)}/${enc(leave.eventId)}`, json(leave));
  assert.deepEqual(await counts(), { [SERVER_NAME]: 1, [signer.serverName]: 1 });
  await alice.ok("POST", `/rooms/${enc(roomId)}/kick`, { body: { user_id: `@bob:${signer.serverName}` } });
  assert.deepEqual(await counts(), { [SERVER_NAME]: 1 });
  assert.equal(await hosts.isInRoom(roomId as never, server(SERVER_NAME)), true);
});
