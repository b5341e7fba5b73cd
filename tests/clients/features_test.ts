/** Two real clients use what people use besides talking: threads, edits, polls, search, spaces. */
import assert from "node:assert/strict";
import { type MatrixEvent, Preset } from "matrix-js-sdk";
import { M_POLL_KIND_DISCLOSED, M_POLL_START } from "matrix-js-sdk/lib/@types/polls.js";
import { PollEndEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollEndEvent.js";
import { PollResponseEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollResponseEvent.js";
import { PollStartEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollStartEvent.js";
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import { testEachServer, TestServer } from "../harness/server.ts";
import { SdkUser } from "./sdk_client.ts";

interface Pair {
  readonly alice: SdkUser;
  readonly bob: SdkUser;
  readonly roomId: string;
}

/** Runs `body` with two users in a room. */
function testPair(name: string, body: (pair: Pair) => Promise<void>): void {
  testEachServer(name, async (database) => {
    await using hs = await TestServer.start({ database });
    await using alice = await SdkUser.register(hs.base, "alice", { threads: true });
    await using bob = await SdkUser.register(hs.base, "bob", { threads: true });
    const { room_id: roomId } = await alice.client.createRoom({ preset: Preset.PublicChat, name: "Garden" });
    await bob.client.joinRoom(roomId);
    for (const user of [alice, bob]) {
      await user.until("both to be in", () => user.client.getRoom(roomId)?.getJoinedMemberCount() === 2);
    }
    await body({ alice, bob, roomId });
  });
}

async function say(user: SdkUser, { roomId, body }: { roomId: string; body: string }): Promise<string> {
  return (await user.client.sendTextMessage(roomId, body)).event_id;
}

async function send(user: SdkUser, { roomId, event }: { roomId: string; event: unknown }): Promise<string> {
  const { type, content } = event as { type: string; content: object };
  return (await user.client.sendEvent(roomId, type as never, content as never)).event_id;
}

testPair("matrix-js-sdk lists threads, reads them and edits what is in them", async ({ alice, bob, roomId }) => {
  const root = await say(alice, { roomId, body: "What shall we plant?" });
  await bob.until("the root", () => bob.room(roomId).findEventById(root));
  const { event_id: first } = await bob.client.sendTextMessage(roomId, root, "Leeks");
  await bob.client.sendTextMessage(roomId, root, "And beans");
  await alice.client.sendTextMessage(roomId, root, "Fine");
  for (const user of [alice, bob]) {
    await user.until("the replies", () => user.room(roomId).getThread(root)?.length === 3);
    assert.deepEqual(user.texts(roomId), ["What shall we plant?"]);
  }
  const edited = { msgtype: "m.text", body: "Radishes" };
  const relation = { rel_type: "m.replace", event_id: first };
  await bob.client.sendMessage(roomId, root, { ...edited, "m.new_content": edited, "m.relates_to": relation } as never);
  await alice.until("the edit", () => alice.room(roomId).findEventById(first)?.getContent().body === "Radishes");
  const second = await say(bob, { roomId, body: "Another root" });
  await bob.client.sendTextMessage(roomId, second, "Another reply");
  const { chunk } = await alice.client.createThreadListMessagesRequest(roomId, null, 10);
  // The SDK turns the answer round.
  assert.deepEqual(chunk.map(({ event_id }) => event_id), [root, second]);
  const bundled = chunk[0]?.unsigned?.["m.relations"]?.["m.thread"] as { count: number; latest_event: MatrixEvent };
  assert.equal(bundled.count, 3);
  // Unread counts go by thread.
  await alice.until("the count", () => alice.room(roomId).getThreadUnreadNotificationCount(second) === 1);
  const last = alice.room(roomId).getThread(second)?.replyToEvent ?? null;
  await alice.client.sendReadReceipt(last);
  await alice.until("the count to fall", () => alice.room(roomId).getThreadUnreadNotificationCount(second) === 0);
});

testPair("matrix-js-sdk runs a poll", async ({ alice, bob, roomId }) => {
  const start = PollStartEvent.from("Tea or coffee?", ["Tea", "Coffee"], M_POLL_KIND_DISCLOSED);
  const pollId = await send(alice, { roomId, event: start.serialize() });
  const [tea, coffee] = start.answers.map(({ id }) => id);
  assert.ok(tea !== undefined && coffee !== undefined);
  for (const user of [alice, bob]) await user.until("the poll", () => user.room(roomId).polls.has(pollId));
  // Who changes their mind counts once.
  for (const answer of [tea, coffee]) {
    await send(bob, { roomId, event: PollResponseEvent.from([answer], pollId).serialize() });
  }
  await send(alice, { roomId, event: PollResponseEvent.from([tea], pollId).serialize() });
  const poll = alice.room(roomId).polls.get(pollId);
  assert.ok(poll !== undefined);
  const relations = async () => (await poll.getResponses()).getRelations();
  await alice.until("three votes", async () => (await relations()).length === 3);
  const votes = new Map<string | undefined, string>();
  const order = alice.events(roomId).map((event) => event.getId());
  const place = (event: MatrixEvent) => order.indexOf(event.getId());
  for (const event of (await relations()).sort((a, b) => place(a) - place(b))) {
    votes.set(event.getSender(), event.getContent()["org.matrix.msc3381.poll.response"].answers[0]);
  }
  assert.deepEqual(votes, new Map([[bob.id, coffee], [alice.id, tea]]));
  await send(alice, { roomId, event: PollEndEvent.from(pollId, "Over").serialize() });
  const theirs = bob.room(roomId).polls.get(pollId);
  await theirs?.getResponses();
  await bob.until("the end", () => theirs?.isEnded);
  assert.equal(bob.room(roomId).findEventById(pollId)?.getType(), M_POLL_START.name);
});

testPair("matrix-js-sdk finds messages, people and rooms", async ({ alice, bob, roomId }) => {
  for (let index = 0; index < 25; index++) await say(bob, { roomId, body: `needle number ${index}` });
  await say(bob, { roomId, body: "hay" });
  const found = await alice.client.searchRoomEvents({ term: "needle" });
  assert.equal(found.count, 25);
  while (found.next_batch !== undefined) await alice.client.backPaginateRoomEventsSearch(found);
  const texts = found.results.map(({ context }) => String(context.getEvent().getContent().body));
  assert.deepEqual(texts, Array.from({ length: 25 }, (_, index) => `needle number ${24 - index}`));
  const people = await alice.client.searchUserDirectory({ term: "bob" });
  assert.deepEqual(people.results.map(({ user_id }) => user_id), [bob.id]);
  await alice.client.setRoomDirectoryVisibility(roomId, "public" as never);
  const rooms = await bob.client.publicRooms({ filter: { generic_search_term: "gard" } });
  assert.deepEqual(rooms.chunk.map(({ room_id }) => room_id), [roomId]);
});

testPair("matrix-js-sdk walks a space", async ({ alice, bob, roomId }) => {
  const { room_id: spaceId } = await alice.client.createRoom({
    preset: Preset.PublicChat,
    name: "Allotments",
    creation_content: { type: "m.space" },
  });
  const inside = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: spaceId }] };
  const { room_id: restricted } = await alice.client.createRoom({
    name: "Shed",
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: inside }],
  });
  for (const [order, child] of [roomId, restricted].entries()) {
    const content = { via: ["hs.test"], order: String(order), suggested: order === 0 };
    await alice.client.sendStateEvent(spaceId, "m.space.child" as never, content as never, child);
  }
  await bob.client.joinRoom(spaceId);
  await bob.until("the space", () => bob.client.getRoom(spaceId)?.isSpaceRoom());
  const hierarchy = new RoomHierarchy(bob.room(spaceId), 1);
  while (hierarchy.canLoadMore) await hierarchy.load();
  assert.deepEqual(hierarchy.rooms?.map(({ name }) => name), ["Allotments", "Garden", "Shed"]);
  assert.equal(hierarchy.isSuggested(spaceId, roomId), true);
  // Being in the space lets them into its rooms.
  await bob.client.joinRoom(restricted);
  await bob.until("the room", () => bob.client.getRoom(restricted)?.getMyMembership() === "join");
});
