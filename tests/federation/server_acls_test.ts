/** What a server that a room shuts out can still do there: nothing. Spec: server-server API, "Server Access Control Lists". */
import assert from "node:assert/strict";
import type { RoomId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { type Json, path } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { complete, enc, startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

const ALLOWED = { allow: ["*"], deny: [] };
const SHUT_OUT = { allow: ["*"], deny: ["peer.*"] };

testEachServer("each endpoint that the specification names is closed to a server shut out", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const { ask, signer } = resident;
  const userId = (name: string) => `@${name}:${signer.serverName}`;
  const setAcl = (content: JsonObject) => alice.setState(roomId, { type: "m.room.server_acl", content });
  await setAcl(ALLOWED);
  const known = await alice.sendText(roomId, "known");
  const room = enc(roomId);
  const template = async (membership: string, user: string) => {
    const made = await ask(`/v1/make_${membership}/${room}/${enc(userId(user))}?ver=11`);
    assert.equal(made.status, 200, JSON.stringify(made.body));
    return complete(made.body, signer);
  };
  const join = await template("join", "carol");
  const leave = await template("leave", "bob");
  const [dave] = await resident.hs.register("dave");
  const membership = (stateKey: string, content: JsonObject) =>
    make(resident, { roomId, type: "m.room.member", stateKey, content });
  const invite = await membership(dave?.userId ?? "", { membership: "invite" });
  const knock = await make(resident, {
    ...{ roomId, type: "m.room.member", stateKey: userId("erin"), sender: userId("erin") },
    content: { membership: "knock" },
  });
  const invitation = { room_version: "11", event: wire(invite), invite_room_state: [] };
  const missing = { earliest_events: [], latest_events: [known], limit: 10 };
  const place = (event: { eventId: string }) => `${room}/${enc(event.eventId)}`;
  const requests: Record<string, () => ReturnType<typeof ask>> = {
    make_join: () => ask(`/v1/make_join/${room}/${enc(userId("carol"))}?ver=11`),
    make_leave: () => ask(`/v1/make_leave/${room}/${enc(userId("bob"))}`),
    make_knock: () => ask(`/v1/make_knock/${room}/${enc(userId("erin"))}?ver=11`),
    send_join_1: () => ask(`/v1/send_join/${place(join)}`, wire(join)),
    send_join_2: () => ask(`/v2/send_join/${place(join)}`, wire(join)),
    send_leave_1: () => ask(`/v1/send_leave/${place(leave)}`, wire(leave)),
    send_leave_2: () => ask(`/v2/send_leave/${place(leave)}`, wire(leave)),
    send_knock: () => ask(`/v1/send_knock/${place(knock)}`, wire(knock)),
    invite_1: () => ask(`/v1/invite/${place(invite)}`, wire(invite)),
    invite_2: () => ask(`/v2/invite/${place(invite)}`, invitation),
    state: () => ask(`/v1/state/${room}?event_id=${enc(known)}`),
    state_ids: () => ask(`/v1/state_ids/${room}?event_id=${enc(known)}`),
    backfill: () => ask(`/v1/backfill/${room}?v=${enc(known)}&limit=10`),
    event_auth: () => ask(`/v1/event_auth/${room}/${enc(known)}`),
    get_missing_events: () => ask(`/v1/get_missing_events/${room}`, missing, { method: "POST" }),
  };
  const readable = ["state", "state_ids", "backfill", "event_auth", "get_missing_events"];
  for (const name of readable) assert.equal((await requests[name]?.())?.status, 200, `${name}, let in`);
  await setAcl(SHUT_OUT);
  const stateIds = async () =>
    (await alice.get(path`/rooms/${roomId}/state`)).map(({ event_id: id }: Json) => id).sort();
  const before = await stateIds();
  for (const [name, request] of Object.entries(requests)) {
    const { status, body } = await request();
    assert.deepEqual([status, body.errcode, body.error], [403, "M_FORBIDDEN", "Server is banned from room"], name);
  }
  assert.deepEqual(await stateIds(), before);
  assert.equal((await dave?.sync())?.rooms?.invite?.[roomId], undefined);
  await setAcl(ALLOWED);
  assert.equal((await requests["send_join_2"]?.())?.status, 200, "let in again");
});

testEachServer(
  "events, typing and receipts of a server shut out are passed over, those of other rooms not",
  async (database) => {
    await using resident = await startResident(database);
    const { roomId, alice } = await openRoom(resident);
    const other = await alice.createRoom({ preset: "public_chat", room_version: "11" });
    await resident.join(other);
    const bob = `@bob:${resident.signer.serverName}`;
    const events = [
      await make(resident, { roomId, content: { body: "closed" } }),
      await make(resident, { roomId: other, content: { body: "open" } }),
    ];
    const read = await alice.sendText(other, "read this");
    const unread = await alice.sendText(roomId, "and not this");
    await alice.setState(roomId, { type: "m.room.server_acl", content: SHUT_OUT });
    const receiptOf = (eventId: string) => ({ "m.read": { [bob]: { data: { ts: 1 }, event_ids: [eventId] } } });
    const typing = (room: string) => ({ edu_type: "m.typing", content: { room_id: room, user_id: bob, typing: true } });
    const results = await send(resident, {
      pdus: events.map(wire),
      edus: [
        ...[typing(roomId), typing(other)],
        { edu_type: "m.receipt", content: { [roomId]: receiptOf(unread), [other]: receiptOf(read) } },
      ],
    });
    const [closed, open] = events;
    assert.match(results[closed?.eventId ?? ""].error, /banned/);
    assert.deepEqual(results[open?.eventId ?? ""], {});
    const { typing: typists } = resident.hs.parts.userData;
    assert.deepEqual([typists.typingIn(roomId as RoomId), typists.typingIn(other as RoomId)], [[], [bob]]);
    const { rooms } = await alice.sync();
    const shown = (room: string) => JSON.stringify(rooms.join[room].ephemeral.events);
    assert(!shown(roomId).includes(bob));
    assert(shown(other).includes(read));
  },
);
