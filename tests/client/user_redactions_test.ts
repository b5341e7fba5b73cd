/** Kicks and bans that redact what their target has said (MSC4293). */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const FLAG = "org.matrix.msc4293.redact_events";

interface Place {
  readonly roomId: string;
  readonly eventId: string;
}

async function content(client: TestClient, { roomId, eventId }: Place): Promise<Json> {
  return (await client.get(path`/rooms/${roomId}/event/${eventId}`)).content;
}

/** Reads an event until it is redacted, and returns it. */
async function redacted(client: TestClient, { roomId, eventId }: Place): Promise<Json> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const event = await client.get(path`/rooms/${roomId}/event/${eventId}`);
    if (event.unsigned.redacted_because !== undefined) return event;
    assert.ok(performance.now() < deadline, `${eventId} is not redacted`);
  }
}

testEachServer("a ban redacts what its target said in their last stay", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const earlier = await bob.sendText(roomId, "a stay before");
  await bob.leave(roomId);
  await bob.join(roomId);
  const hers = await alice.sendText(roomId, "needle of hers");
  const spam = await bob.sendText(roomId, "needle of spam");
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Robert" });
  await hs.parts.accounts.userRooms.settle();
  const reply = { "m.relates_to": { rel_type: "m.thread", event_id: hers } };
  const threaded = await bob.send(roomId, {
    type: "m.room.message",
    content: { msgtype: "m.text", body: "x", ...reply },
  });
  const last = await bob.sendText(roomId, "more needle spam");
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: bob.userId, reason: "spam", [FLAG]: true });
  const state = await alice.get(path`/rooms/${roomId}/state`);
  const member = state.find((event: Json) => event.type === "m.room.member" && event.state_key === bob.userId);
  assert.deepEqual(member.content, { membership: "ban", reason: "spam", [FLAG]: true });
  // The newest go first.
  const event = await redacted(alice, { roomId, eventId: spam });
  assert.deepEqual(event.content, {});
  assert.equal(event.unsigned.redacted_because.event_id, member.event_id);
  assert.equal(event.unsigned.redacted_because.content.reason, "spam");
  for (const gone of [threaded, last]) assert.deepEqual((await redacted(alice, { roomId, eventId: gone })).content, {});
  assert.equal((await content(alice, { roomId, eventId: earlier })).body, "a stay before");
  const { chunk: threads } = await alice.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/threads`);
  assert.deepEqual(threads, []);
  const search = { search_categories: { room_events: { search_term: "needle" } } };
  const found = (await alice.post("/search", search)).search_categories.room_events.results;
  assert.deepEqual(found.map(({ result }: Json) => result.event_id), [hers]);
  await hs.restart();
  assert.deepEqual(await content(hs.again(alice), { roomId, eventId: last }), {});
});

testEachServer("a kick redacts by a PUT of the member event too, also what is a long history", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const first = await bob.sendText(roomId, "first");
  // More than one span.
  for (let batch = 0; batch < 12; batch++) {
    await Promise.all(Array.from({ length: 100 }, (_, index) => alice.sendText(roomId, `${batch} ${index}`)));
  }
  await alice.setState(roomId, {
    type: "m.room.member",
    stateKey: bob.userId,
    content: { membership: "leave", redact_events: true },
  });
  assert.deepEqual((await redacted(alice, { roomId, eventId: first })).content, {});
});

testEachServer("nothing is redacted without the power, by leaving, or without the flag", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol, dora, last] = await hs.register("alice", "bob", "carol", "dora", "last");
  const roomId = await alice.createRoom({
    preset: "public_chat",
    power_level_content_override: { kick: 10, ban: 10, users: { [dora.userId]: 10 } },
  });
  for (const user of [bob, carol, dora, last]) await user.join(roomId);
  const bobs = await bob.sendText(roomId, "of bob");
  const carols = await carol.sendText(roomId, "of carol");
  const own = await dora.sendText(roomId, "of dora");
  // Dora may kick, not redact.
  await dora.post(path`/rooms/${roomId}/kick`, { user_id: bob.userId, [FLAG]: true });
  await dora.setState(roomId, {
    type: "m.room.member",
    stateKey: dora.userId,
    content: { membership: "leave", [FLAG]: true },
  });
  await alice.post(path`/rooms/${roomId}/ban`, { user_id: carol.userId, [FLAG]: false });
  // They are worked off in their order: once this one is done, the others were looked at.
  const lasts = await last.sendText(roomId, "of last");
  await alice.post(path`/rooms/${roomId}/kick`, { user_id: last.userId, [FLAG]: true });
  await redacted(alice, { roomId, eventId: lasts });
  assert.equal((await content(alice, { roomId, eventId: bobs })).body, "of bob");
  assert.equal((await content(alice, { roomId, eventId: carols })).body, "of carol");
  assert.equal((await content(alice, { roomId, eventId: own })).body, "of dora");
  const body = { user_id: dora.userId, [FLAG]: "yes" };
  await alice.fails("POST", path`/rooms/${roomId}/ban`, { body, status: 400, errcode: "M_BAD_JSON" });
});
