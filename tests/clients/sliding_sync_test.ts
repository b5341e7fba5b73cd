/** Two real clients that sync by sliding windows: encrypted chat, invitations, receipts, typing. */
import assert from "node:assert/strict";
import { type MatrixClient, Preset } from "matrix-js-sdk";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";
import { testEachServer, TestServer } from "../harness/server.ts";
import { SdkUser } from "./sdk_client.ts";

const STATE = [
  ["m.room.create", ""],
  ["m.room.encryption", ""],
  ["m.room.name", ""],
  ["m.room.join_rules", ""],
  ["m.room.history_visibility", ""],
  ["m.room.power_levels", ""],
  ["m.room.member", "$LAZY"],
  ["m.room.member", "$ME"],
];

function sliding(baseUrl: string): (client: MatrixClient) => SlidingSync {
  const config = { timeline_limit: 20, required_state: STATE };
  return (client) =>
    new SlidingSync(baseUrl, new Map([["all", { ...config, ranges: [[0, 19]] }]]), config, client, 10_000);
}

testEachServer("matrix-js-sdk chats over sliding sync", async (database) => {
  await using hs = await TestServer.start({ database });
  await using alice = await SdkUser.register(hs.base, "alice", { sliding: sliding(hs.base) });
  await using bob = await SdkUser.register(hs.base, "bob", { sliding: sliding(hs.base) });
  const { room_id: roomId } = await alice.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    name: "Sliding",
    invite: [bob.id],
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  });
  await bob.until("the invitation", () => bob.client.getRoom(roomId)?.getMyMembership() === "invite");
  await bob.client.joinRoom(roomId);
  await alice.until("bob to join", () => alice.client.getRoom(roomId)?.getMember(bob.id)?.membership === "join");
  await bob.until("the room", () => bob.client.getRoom(roomId)?.getMyMembership() === "join");
  await bob.until("its encryption", () => bob.client.getRoom(roomId)?.hasEncryptionStateEvent());
  assert.equal(bob.room(roomId).name, "Sliding");
  for (const [index, user] of [alice, bob, alice, bob].entries()) {
    const body = `message ${index}`;
    const { event_id: eventId } = await user.client.sendTextMessage(roomId, body);
    for (const reader of [alice, bob]) await reader.until(body, () => reader.texts(roomId).includes(body));
    const other = user === alice ? bob : alice;
    const event = other.room(roomId).findEventById(eventId);
    await other.client.sendReadReceipt(event ?? null);
    await user.until("the receipt", () => user.room(roomId).getEventReadUpTo(other.id) === eventId);
  }
  await bob.client.sendTyping(roomId, true, 30_000);
  await alice.until("typing", () => alice.room(roomId).getMember(bob.id)?.typing);
  const expected = [0, 1, 2, 3].map((index) => `message ${index}`);
  assert.deepEqual(bob.texts(roomId).filter((body) => body.startsWith("message")), expected);
});
