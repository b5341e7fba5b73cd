/** Joins without members (MSC3706, MSC3902): the room is usable at once, and whole after a restart in the middle. */
import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { MatrixError } from "../../src/protocol/errors.ts";
import { type NetworkServer, testNetwork } from "./network.ts";

// deno-lint-ignore no-explicit-any -- answers are checked where they are used
type Json = any;

const LAZY = JSON.stringify({
  room: { state: { lazy_load_members: true }, timeline: { lazy_load_members: true } },
});

/** Lets a server refuse to tell states until `allow` is called; `asked` resolves when it was asked for one. */
function refuseStates({ hs }: NetworkServer): { asked: Promise<void>; allow: () => void } {
  const { reads } = hs.parts.federationRooms;
  const original = reads.stateIds;
  const asked = Promise.withResolvers<void>();
  reads.stateIds = () => {
    asked.resolve();
    return Promise.reject(new MatrixError(503, "M_UNKNOWN", "Not now"));
  };
  return { asked: asked.promise, allow: () => (reads.stateIds = original) };
}

async function stateOf({ hs }: NetworkServer, roomId: string): Promise<Map<string, string>> {
  const head = await hs.parts.rooms.engine.head(roomId as never);
  const entries = await hs.parts.rooms.state.entries(head?.stateRoot ?? 0);
  return new Map(entries.map(({ event }) => [`${event.type}|${event.stateKey}`, event.eventId]));
}

testNetwork("a room joined without members is usable at once, and whole after a restart", async ({ servers }) => {
  const [one, two] = servers;
  const [alice, dave] = await one.hs.register("alice", "dave");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Fast" });
  await dave.post(path`/join/${roomId}`);
  const { asked, allow } = refuseStates(one);
  await bob.post(path`/join/${roomId}?via=${one.name}`);
  await asked;
  const eager = await bob.get("/sync") as Json;
  assert.equal(eager.rooms?.join?.[roomId], undefined, "a client that wants all members does not see the room yet");
  const lazy = await bob.get("/sync", { filter: LAZY }) as Json;
  assert.notEqual(lazy.rooms?.join?.[roomId], undefined, "a client that loads members lazily does");
  assert.equal((await stateOf(two, roomId)).has(`m.room.member|${dave.userId}`), false);
  await bob.sendText(roomId, "early");
  await alice.syncUntil((sync: Json) =>
    sync.rooms?.join?.[roomId]?.timeline.events.some((event: Json) => event.content.body === "early")
  );
  await dave.sendText(roomId, "from someone not known yet");
  await bob.syncUntil(
    (sync: Json) =>
      sync.rooms?.join?.[roomId]?.timeline.events.some((event: Json) => event.sender === dave.userId) === true,
    { filter: LAZY },
  );
  allow();
  await two.restart();
  const again = two.hs.again(bob);
  const members = await again.get(path`/rooms/${roomId}/members`) as Json;
  const users = members.chunk.map((event: Json) => event.state_key).sort();
  assert.deepEqual(users, [alice.userId, bob.userId, dave.userId].sort());
  assert.deepEqual(await stateOf(two, roomId), await stateOf(one, roomId));
  const seen = await again.get("/sync", { since: eager.next_batch }) as Json;
  const shown = [
    ...seen.rooms.join[roomId].state.events,
    ...seen.rooms.join[roomId].timeline.events,
  ].filter((event: Json) => event.type === "m.room.member").map((event: Json) => event.state_key);
  assert.ok(shown.includes(dave.userId), "the room is shown whole to who asks for all members");
});
