/** What people do in rooms that both servers are in: talking, typing, reading, being there, showing pictures. */
import assert from "node:assert/strict";
import { WIDE_PNG } from "../fixtures/images.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { openRoom, type SidedCheck, type Sides } from "./check.ts";
import { sendMany, until, untilEvent, untilHas, untilMember, untilSameState } from "./until.ts";

const MESSAGES = 200;

/** The checks. */
export const MESSAGES_AND_MORE: Readonly<Record<string, SidedCheck>> = {
  "200 messages each way at once": talkAtOnce,
  "state set by both at once": setStateAtOnce,
  "a redaction": redact,
  "typing": type,
  "receipts": read,
  "presence": bePresent,
  "a change of the profile": changeProfile,
  "media and thumbnails": showPicture,
};

async function talkAtOnce(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  const [one, two] = await Promise.all([
    sendMany(alice, { roomId, count: MESSAGES }),
    sendMany(bob, { roomId, count: MESSAGES }),
  ]);
  for (const user of [alice, bob]) await untilHas(user, { roomId, eventIds: [...one, ...two] });
}

async function setStateAtOnce(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides, { room_version: "10" });
  const levels = await alice.state(roomId, { type: "m.room.power_levels" });
  const users = { ...levels.users, [bob.userId]: 100 };
  const eventId = await alice.setState(roomId, { type: "m.room.power_levels", content: { ...levels, users } });
  await untilEvent(bob, { roomId, eventId });
  for (let round = 0; round < 10; round++) {
    const name = (user: TestClient) => ({ type: "m.room.name", content: { name: `${user.userId} ${round}` } });
    await Promise.all([alice, bob].map((user) => user.setState(roomId, name(user))));
  }
  // A last word on top of both branches.
  await untilSameState({ roomId, users: [alice, bob] });
}

async function redact(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  const eventId = await bob.sendText(roomId, "mistake");
  await untilEvent(alice, { roomId, eventId });
  await bob.put(path`/rooms/${roomId}/redact/${eventId}/1`, { reason: "a mistake" });
  await until("the redaction", async () => {
    const event = await alice.get(path`/rooms/${roomId}/event/${eventId}`);
    return Object.keys(event.content).length === 0;
  });
}

async function type(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  for (const [typist, watcher] of [[alice, bob], [bob, alice]] as const) {
    const isShown = (response: Json, isTyping: boolean) =>
      ephemeral(response, roomId).some(({ type, content }) =>
        type === "m.typing" && content.user_ids.includes(typist.userId) === isTyping
      );
    for (const typing of [true, false]) {
      // Clients say it again and again while somebody types: nobody keeps it for those who come later.
      await until(`typing=${typing} of ${typist.userId}`, async () => {
        await typist.put(path`/rooms/${roomId}/typing/${typist.userId}`, { typing, timeout: 20_000 });
        return isShown(await watcher.sync({ timeout: 1_000 }), typing);
      });
    }
  }
}

async function read(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  for (const [author, reader] of [[alice, bob], [bob, alice]] as const) {
    const eventId = await author.sendText(roomId, "read this");
    await untilEvent(reader, { roomId, eventId });
    const thread = { thread_id: "main" };
    await reader.post(path`/rooms/${roomId}/receipt/m.read/${eventId}`, thread);
    const { rooms } = await author.syncUntil((response) =>
      ephemeral(response, roomId).some(({ content }) => content[eventId]?.["m.read"]?.[reader.userId] !== undefined)
    );
    const receipts = rooms.join[roomId].ephemeral.events.filter(({ type }: Json) => type === "m.receipt");
    const [receipt] = receipts.flatMap(({ content }: Json) => content[eventId]?.["m.read"]?.[reader.userId] ?? []);
    assert.equal(receipt.thread_id, "main");
  }
}

async function bePresent(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  for (const [one, other] of [[alice, bob], [bob, alice]] as const) {
    const message = `status of ${one.userId}`;
    await one.put(path`/presence/${one.userId}/status`, { presence: "online", status_msg: message });
    await other.syncUntil((response) =>
      (response.presence?.events ?? []).some(({ sender, content }: Json) =>
        sender === one.userId && content.status_msg === message && content.presence === "online"
      )
    );
  }
}

async function changeProfile(sides: Sides): Promise<void> {
  const { roomId, alice, bob } = await openRoom(sides);
  await untilMember(alice, { roomId, userId: bob.userId, membership: "join" });
  for (const [one, other] of [[alice, bob], [bob, alice]] as const) {
    await one.put(path`/profile/${one.userId}/displayname`, { displayname: "Another Name" });
    await until("the new name in the room", async () => {
      const member = await other.state(roomId, { type: "m.room.member", stateKey: one.userId });
      return member.displayname === "Another Name";
    });
    assert.equal((await other.get(path`/profile/${one.userId}`)).displayname, "Another Name");
  }
}

async function showPicture({ host, guest }: Sides): Promise<void> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const uploaded = await alice.ok("POST", "/_matrix/media/v3/upload?filename=a.png", {
    body: WIDE_PNG,
    headers: { "content-type": "image/png" },
  });
  const mediaId = uploaded.content_uri.split("/").pop();
  const place = path`${host.name}/${mediaId}`;
  const file = await download(bob, `/_matrix/client/v1/media/download/${place}`);
  assert.equal(file.type, "image/png");
  assert.deepEqual(file.bytes, WIDE_PNG);
  const query = "width=32&height=32&method=crop";
  const thumbnail = await download(bob, `/_matrix/client/v1/media/thumbnail/${place}?${query}`);
  assert.match(thumbnail.type, /^image\//);
  const gone = `/_matrix/client/v1/media/download/${path`${host.name}/${"nothing"}`}`;
  await bob.fails("GET", gone, { status: 404, errcode: "M_NOT_FOUND" });
}

async function download(
  { base, accessToken }: TestClient,
  target: string,
): Promise<{ bytes: Uint8Array; type: string }> {
  const response = await fetch(base + target, { headers: { authorization: `Bearer ${accessToken}` } });
  const bytes = new Uint8Array(await response.arrayBuffer());
  assert.equal(response.status, 200, new TextDecoder().decode(bytes));
  return { bytes, type: response.headers.get("content-type") ?? "" };
}

function ephemeral(response: Json, roomId: string): Json[] {
  return response.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
}
